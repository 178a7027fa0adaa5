"""One measurement at a time, whoever measures, and whatever others have put into the temporary folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

import planted_results as planted
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.system.machine_lock import FileLock, MachineLock
from pytest_tfserving.system.private_folder import private_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from harness import Project

UID = os.getuid()
SHARED = "pytest-tfserving.lock"
OWN = f"pytest-tfserving-of-{UID}"
# Names that earlier versions wrote to.
EARLIER = (f"pytest-tfserving-{UID}.lock", f"pytest-tfserving-{UID}.holder")
# Takes the lock as another user's measurement would, until it is killed.
_HOLD = """
import sys, time
from pathlib import Path
from pytest_tfserving.system.machine_lock import FileLock
assert FileLock(Path(sys.argv[1])).take()
print("taken", flush=True)
time.sleep(600)
"""


def link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def dangling_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim.with_name("nowhere"))


def link_to_a_folder(path: Path, victim: Path) -> None:
    path.symlink_to(victim.parent)


def link_to_itself(path: Path, _: Path) -> None:
    path.symlink_to(path)


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path, 0o666)


def folder(path: Path, _: Path) -> None:
    path.mkdir()


def file(path: Path, _: Path) -> None:
    path.touch()


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder that `project` has as the temporary one."""
    return tmp_path


@pytest.fixture
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file that nobody may touch, alone in its folder."""
    path = tmp_path_factory.mktemp("victim") / "file"
    path.write_text("precious")
    yield path
    assert path.read_text() == "precious"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("put", [link, dangling_link, link_to_a_folder, link_to_itself, fifo, folder])
def test_what_is_in_place_of_the_shared_lock_is_left_alone_with_a_warning(
    project: Project, temporary: Path, victim: Path, put: Callable[[Path, Path], None]
) -> None:
    planted.instead_of_load(project)
    put(temporary / SHARED, victim)

    run = project.run()

    run.assert_outcomes(passed=1, warnings=1)
    run.stdout.fnmatch_lines([f"*measurements of other users are not waited for: */{SHARED}: *"])


def test_that_warning_is_one_sentence_where_warnings_are_errors(
    project: Project, temporary: Path, victim: Path
) -> None:
    planted.instead_of_load(project)
    link(temporary / SHARED, victim)

    run = project.run("-W", "error")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([f"measurements of other users are not waited for: */{SHARED}: it is a link"])
    run.stdout.no_fnmatch_line("*machine_lock.py*")


@pytest.mark.parametrize(
    ("put", "problem"),
    [
        (link, "is not a folder"),
        (dangling_link, "is not a folder"),
        (link_to_a_folder, "is a link"),
        (link_to_itself, "is not a folder"),
        (fifo, "is not a folder"),
        (file, "is not a folder"),
        (folder, "can be entered by other users"),
    ],
)
@pytest.mark.parametrize("test", ["load().check()", "serving"])
def test_what_is_in_place_of_the_users_own_folder_is_one_sentence(  # noqa: PLR0913, PLR0917 - two tables
    project: Project,
    temporary: Path,
    victim: Path,
    put: Callable[[Path, Path], None],
    problem: str,
    test: str,
) -> None:
    planted.instead_of_load(project)
    put(temporary / OWN, victim)
    if put is folder:
        (temporary / OWN).chmod(0o755)
    fixture = "load" if "load" in test else "serving"
    project.write(tests=f"def test_gate({fixture}):\n    {test}\n")

    run = project.run()

    outcomes = run.parseoutcomes()
    assert outcomes.get("failed", 0) + outcomes.get("errors", 0) == 1
    run.stdout.fnmatch_lines(
        [f"*/{OWN} {problem}, so this user's measurements cannot wait for each other; *"]
    )
    run.stdout.no_fnmatch_line("*Traceback*")
    run.stdout.no_fnmatch_line("*private_folder.py*")


@pytest.mark.parametrize("name", EARLIER)
@pytest.mark.parametrize("put", [link, fifo, folder])
def test_names_that_others_can_guess_are_not_used(
    project: Project, temporary: Path, victim: Path, name: str, put: Callable[[Path, Path], None]
) -> None:
    planted.instead_of_load(project)
    put(temporary / name, victim)

    project.run().assert_outcomes(passed=1)


def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: UID + 1)

    with pytest.raises(ConfigurationError, match="belongs to another user"):
        private_folder(tmp_path)


def test_the_folder_is_this_users_alone(tmp_path: Path) -> None:
    with MachineLock(tmp_path).turn("mine", pytest.fail):
        pass

    assert (tmp_path / OWN).stat().st_mode & 0o777 == 0o700
    assert (tmp_path / SHARED).stat().st_mode & 0o777 == 0o444
    assert (tmp_path / SHARED).read_bytes() == b""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process have the lock."""
    command = [sys.executable, "-c", _HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "taken\n"
        yield process
        process.kill()


def test_who_waits_for_another_user_says_for_whom(tmp_path: Path) -> None:
    said = []
    with held(tmp_path / SHARED) as other:

        def say(text: str) -> None:
            said.append(text)
            other.kill()
            other.wait()

        with MachineLock(tmp_path).turn("mine", say):
            assert other.poll() is not None

    user = psutil.Process().username()
    assert said == [f"mine waits for its turn on this machine: process {other.pid} of user {user} has it"]


def test_who_waits_for_a_run_of_their_own_says_for_which(tmp_path: Path) -> None:
    said = []
    own = private_folder(tmp_path)
    (own / "holder.json").write_text('{"pid": 7, "purpose": "theirs"}')
    with held(own / "lock") as other:

        def say(text: str) -> None:
            said.append(text)
            other.kill()
            other.wait()

        with MachineLock(tmp_path).turn("mine", say):
            pass

    assert said == ["mine waits for its turn on this machine: process 7 is measuring theirs"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[1]",
        b"7",
        b"null",
        b'"pid"',
        b'{"pid": 7, "purp',
        b'{"pid": 7}',
        b'{"pid": "7", "purpose": "theirs"}',
        b'{"pid": 7, "purpose": ["theirs"]}',
        b'{"pid": {"pid": 7}, "purpose": "theirs"}',
        b"[" * 50_000,
        b"9" * 5_000,
        b"\xff\xfe",
        b'{"pid": 7, "purpose": "' + b"x" * 100_000 + b'"}',
    ],
    ids=lambda content: content[:40].decode("latin-1"),
)
def test_a_holder_file_with_anything_in_it_is_of_somebody(tmp_path: Path, content: bytes) -> None:
    assert waits_for(tmp_path, content) == "another measurement is running"


@pytest.mark.parametrize("until", ["soon", [1], True, float("inf"), float("nan"), 10**400, -1.0])
def test_an_end_that_is_no_time_is_not_said(tmp_path: Path, until: object) -> None:
    content = json.dumps({"pid": 7, "purpose": "theirs", "until": until}).encode()

    assert waits_for(tmp_path, content) == "process 7 is measuring theirs"


def test_control_codes_of_a_purpose_are_not_said(tmp_path: Path) -> None:
    content = json.dumps({"pid": 7, "purpose": "\x1b[31mtheirs\n\u202eand more"}).encode()

    assert waits_for(tmp_path, content) == "process 7 is measuring theirs and more"


def waits_for(temporary: Path, holder: bytes) -> str:
    """Return the holder that a waiting session reports for this content of the holder file."""
    said: list[str] = []
    own = private_folder(temporary)
    (own / "holder.json").write_bytes(holder)
    other = FileLock(own / "lock")
    assert other.take()

    def say(text: str) -> None:
        said.append(text)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), MachineLock(temporary).turn("mine", say):
        pass
    other.release()
    return said[0].removeprefix("mine waits for its turn on this machine: ")


def test_who_waits_says_for_how_long(tmp_path: Path) -> None:
    said = []
    own = private_folder(tmp_path)
    until = time.time() + 5000
    (own / "holder.json").write_text(json.dumps({"pid": 7, "purpose": "theirs", "until": until}))
    with held(own / "lock") as other:

        def say(text: str) -> None:
            said.append(text)
            other.kill()
            other.wait()

        with MachineLock(tmp_path).turn("mine", say, 60.0):
            holder = json.loads((own / "holder.json").read_text())

    assert re.search(r": process 7 is measuring theirs, for about \d{4} s more$", said[0])
    assert (holder["pid"], holder["purpose"]) == (os.getpid(), "mine")
    assert 0 < holder["until"] - time.time() <= 60


def test_an_interrupted_wait_gives_back_what_was_taken(tmp_path: Path) -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    machine_lock = MachineLock(tmp_path)
    with held(tmp_path / SHARED), pytest.raises(KeyboardInterrupt), machine_lock.turn("mine", interrupt):
        pass

    assert FileLock(private_folder(tmp_path) / "lock").take()


def test_a_turn_within_a_turn_is_free_and_ends_with_the_outer_one(tmp_path: Path) -> None:
    machine_lock, other = MachineLock(tmp_path), FileLock(tmp_path / SHARED)

    with machine_lock.turn("mine", pytest.fail):
        with machine_lock.turn("mine", pytest.fail):
            assert not other.take()
        assert not other.take()

    assert other.take()


def test_a_lock_file_that_was_deleted_is_made_anew(tmp_path: Path) -> None:
    machine_lock = MachineLock(tmp_path)
    with machine_lock.turn("mine", pytest.fail):
        (tmp_path / SHARED).unlink()

    with machine_lock.turn("mine", pytest.fail):
        assert not FileLock(tmp_path / SHARED).take()
