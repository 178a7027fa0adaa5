"""The command that runs all benchmarks, and the file of runs that are made in pieces."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from _kept import Kept

from server_process import Server

RUN = Path(__file__).parents[1] / "benchmarks" / "run"
BENCHMARK = """
import json, pathlib, sys
quick, file = sys.argv[1], pathlib.Path(sys.argv[2].removeprefix("--json="))
assert quick == "--quick"
targets = {targets}
file.write_text(json.dumps({{"targets": targets}}))
sys.exit(not all(target["met"] for target in targets))
"""
MET = {"text": "seconds", "value": 1.0, "limit": 2.0, "met": True}
MISSED = {"text": "wrong verdicts, %", "value": 3.25, "limit": 1.0, "met": False}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The command, in a folder with two good benchmarks."""
    for name in ("_shared", "one", "two"):
        (tmp_path / f"{name}.py").write_text(BENCHMARK.format(targets=[MET, MET]), encoding="utf-8")
    return Path(shutil.copy(RUN, tmp_path))


def ended(run: Path, *names: str) -> tuple[int, pytest.LineMatcher]:
    done = subprocess.run(
        [sys.executable, run, "--quick", *names], capture_output=True, text=True, check=False
    )
    return done.returncode, pytest.LineMatcher([*done.stdout.splitlines(), *done.stderr.splitlines()])


def test_all_are_run_and_counted(run: Path) -> None:
    status, said = ended(run)

    assert status == 0
    said.fnmatch_lines(["=== 1 of 2: one", "=== 2 of 2: two", "benchmark *", "one *2 of 2", "two *2 of 2"])
    said.no_fnmatch_line("*_shared*")


def test_what_was_missed_or_failed_is_told_at_the_end(run: Path) -> None:
    run.with_name("one.py").write_text(BENCHMARK.format(targets=[MET, MISSED]), encoding="utf-8")
    run.with_name("two.py").write_text("raise SystemExit(3)", encoding="utf-8")

    status, said = ended(run)

    assert status == 1
    said.fnmatch_lines(
        [
            "one * 1 of 2  wrong verdicts, %: 3.25, target 1",
            "two * 0 of 0  ended with exit code 3, without figures",
        ]
    )


def test_a_benchmark_that_is_not_there_is_named(run: Path) -> None:
    status, said = ended(run, "two", "three")

    assert status == 2
    said.fnmatch_lines(["*error: no benchmark three; valid: one, two"])


def test_runs_of_several_pieces_add_up_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    for part, number in (("real", 1), ("planted", 2), ("real", 3)):
        Kept(path).add({"part": part, "number": number})

    assert [run["number"] for run in Kept(path).of("real")] == [1, 3]
    assert [run["number"] for run in Kept(path).of("planted")] == [2]


def test_a_piece_that_is_ended_while_it_writes_loses_no_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.json"
    kept = Kept(path)
    kept.add({"part": "real", "number": 1})

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", ended)
    with pytest.raises(KeyboardInterrupt):
        kept.add({"part": "real", "number": 2})

    assert [run["number"] for run in Kept(path).of("real")] == [1]


def test_the_slower_server_computes_longer_in_each_call(
    half_plus_two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXTRA_CPU_S", "0.05")
    server = Server("half_plus_two", half_plus_two)
    server.command[1:3] = [str(RUN.with_name("_slower_server.py"))]

    with server:
        took_s = [server.predict({"instances": [1.0]}).elapsed.total_seconds() for _ in range(3)]

    assert min(took_s) >= 0.05
