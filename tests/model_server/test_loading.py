"""Loading that yields to requests: threads of low priority, and graphs ready for the first client."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from harness import until
from pytest_tfserving.model_server.manager import LoadOptions, Manager
from pytest_tfserving.model_server.quiet_threads import quiet_threads
from pytest_tfserving.model_server.servable import Runnable
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_tfserving.model_server.servable import RunTensors

# Each optimisation of a graph is a line of TensorFlow's own log.
PREPARED = """
import sys
from pathlib import Path
import numpy as np
from pytest_tfserving.model_server.servable import Servable
def step(text):
    print(text, file=sys.stderr, flush=True)
folder = Path(sys.argv[1])
old = Servable.load(folder)
delta = {"delta": np.array(2, np.float32)}
step("old")
old.run("incr_counter_by", delta)
new = Servable.load(folder, inline=True)
step("prepare")
new.prepare([*old.ran, (("delta:0",), ("nowhere:0",)), ((), ("nowhere:0",))])
step("run")
total = new.run("incr_counter_by", delta)["output"]
step("end")
print(float(total))
"""
OPTIMISES = "Starting optimization for grappler item"


def test_a_graph_is_prepared_without_a_run(models: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREPARED, str(models / "counter" / "123")],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "meta_optimizer=1"},
        capture_output=True,
        text=True,
        check=True,
    )
    log = done.stderr
    steps = ("old\n", "prepare\n", "run\n", "end\n")
    places = [log.index(step) for step in steps]
    counts = [log[start:end].count(OPTIMISES) > 0 for start, end in pairwise(places)]

    assert counts == [True, True, False]
    assert done.stdout == "2.0\n"


@pytest.mark.needs("linux")
@pytest.mark.parametrize(
    ("session", "lower_by", "quiet"),
    [("", 14, 1), ("", 3, 1), ("use_per_session_threads: true", 14, 0)],
    ids=["shared", "another priority", "own threads"],
)
def test_only_the_loading_threads_have_a_low_priority(
    models: Path, tmp_path: Path, session: str, lower_by: int, quiet: int
) -> None:
    """Threads that a session starts for its requests would have the priority of the loading thread."""
    base, config = tmp_path / "base", tmp_path / "session.txt"
    base.mkdir()
    shutil.copytree(models / "numbered" / "1", base / "1")
    config.write_text(session)
    flags = [f"--tensorflow_session_config_file={config}"] if session else []
    flags += [] if lower_by == 14 else [f"--load_niceness={lower_by}"]
    with Server("a", base, *flags) as server:
        assert server.predict({"instances": [0]}).json() == {"predictions": [1.0]}
        own = os.getpriority(os.PRIO_PROCESS, server.process.pid)
        before = niceness(server)
        for version in ("2", "3"):
            shutil.copytree(models / "numbered" / version, tmp_path / version)
            (tmp_path / version).rename(base / version)
            until(lambda version=version: server.states().get(version) == "AVAILABLE", "the version")  # type: ignore[misc] # mypy infers no defaults of lambdas
        assert server.predict({"instances": [0]}).json() == {"predictions": [3.0]}
        after = niceness(server)

    lower = min(own + lower_by, 19)
    assert set(before) == {own}
    assert (set(after) - {lower}, after.count(lower)) == ({own}, quiet)


def niceness(server: Server) -> list[int]:
    """The niceness of each thread of a server."""
    tasks = Path(f"/proc/{server.process.pid}/task").iterdir()
    return [os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in tasks]


@pytest.mark.needs("linux")
def test_quiet_threads_stop_at_the_lowest_priority() -> None:
    def lowered() -> int:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        with quiet_threads(1, 10) as quiet:
            return quiet.submit(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).result()

    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(lowered()))
    thread.start()
    thread.join()

    assert found == [19]


def test_a_priority_that_cannot_be_changed_changes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refused)
    with quiet_threads(1, 10) as quiet:
        assert quiet.submit(lambda: 1).result() == 1


class Version(Runnable):
    """A version that ran one combination of tensors."""

    may_wait = False

    def __init__(self, number: int) -> None:
        self.signatures, self.signature_defs = {}, {}
        self._number = number

    @property
    def ran(self) -> Collection[RunTensors]:
        return [(("x:0",), (f"y:{self._number}",))]

    def run_tensors(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError

    def close(self) -> None:
        pass


def test_a_version_is_loaded_for_the_runs_of_those_that_are_served(tmp_path: Path) -> None:
    asked: list[tuple[str, int, set[RunTensors] | None]] = []

    def load(name: str, number: int, _path: Path, ran: Collection[RunTensors] | None) -> Runnable:
        asked.append((name, number, None if ran is None else set(ran)))
        return Version(number)

    manager = Manager(load, LoadOptions())
    try:
        manager.aspire("a", {1: tmp_path})
        assert manager.settled(["a"], 60)
        manager.started()
        manager.aspire("a", {1: tmp_path, 2: tmp_path})
        until(lambda: manager.is_available("a", 2), "version 2")
        manager.aspire("b", {1: tmp_path})
        assert manager.settled(["b"], 60)
        manager.aspire("a", {3: tmp_path})
        until(lambda: manager.is_available("a", 3), "version 3")
    finally:
        manager.stop()

    runs = [(("x:0",), (f"y:{number}",)) for number in (1, 2)]
    assert asked == [("a", 1, None), ("a", 2, {runs[0]}), ("b", 1, set()), ("a", 3, set(runs))]
