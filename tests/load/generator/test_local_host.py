"""Load processes on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from harness import until
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.load.generator.local_host import started_ahead

if TYPE_CHECKING:
    from pathlib import Path


def load_processes() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "worker.py" in " ".join(each.cmdline())]


def only_load_process() -> psutil.Process:
    """The load process, which has no command line while it is being started."""
    until(lambda: len(load_processes()) == 1, "a load process")
    return load_processes()[0]


def test_a_load_process_that_was_started_ahead_is_used_once(tmp_path: Path) -> None:
    with started_ahead(tmp_path):
        ahead = only_load_process()
        with LoadGenerator(tmp_path / "first") as first:
            assert first.pids == [ahead.pid]
            first.wait_until_ready()
            with LoadGenerator(tmp_path / "second") as second:
                assert second.pids != [ahead.pid]

    until(lambda: not load_processes(), "the end of all load processes")


def test_one_that_no_load_uses_ends(tmp_path: Path) -> None:
    users = tmp_path / "users.py"
    users.write_text(
        "from locust import User, task\n\nclass Mine(User):\n    @task\n    def ask(self): ...\n"
    )

    with started_ahead(tmp_path):
        ahead = only_load_process()
        with LoadGenerator(tmp_path / "load", 1, users) as generator:
            assert generator.pids != [ahead.pid]

    assert not ahead.is_running()
