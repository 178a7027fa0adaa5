"""``pytest-tfserving cleanup``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from command_line import command

if TYPE_CHECKING:
    import pytest


def test_cleanup_says_where_it_could_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/engine.sock")

    everywhere, there = command("cleanup"), command("cleanup", "--target", "docker")

    assert everywhere.returncode == 0
    assert "docker: not looked at: no container engine answers at unix:///no/engine.sock" in everywhere.stdout
    assert (there.returncode, there.stdout) == (2, "")
    assert there.stderr.startswith("pytest-tfserving: no container engine answers at unix:///no/engine.sock")


def test_there_is_nothing_to_clean_up_on_this_machine_alone() -> None:
    done = command("cleanup", "--target", "local")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
