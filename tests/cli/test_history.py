"""`pytest-tfserving history`: the page of a metric over stored runs, and exports."""

from __future__ import annotations

import copy
import csv
import io
import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_tfserving.cli import main
from stored_sessions import content

if TYPE_CHECKING:
    from pathlib import Path

NAME = "2cpu-4gb-8n-interop2"


def write_runs(folder: Path, factors: list[float], **changes: object) -> None:
    """Write a stored run for each factor of its latencies, an hour apart; ``changes`` are of its result."""
    folder.mkdir(exist_ok=True)
    base = json.loads(json.dumps(content()))
    for number, factor in enumerate(factors):
        run = copy.deepcopy(base)
        day, hour = number // 24 + 1, number % 24
        run |= {"commit": f"{number:07x}", "saved_at": f"2026-01-{day:02}T{hour:02}:00:00+00:00"}
        (result,) = run["results"]
        result |= changes
        for name, value in result["metrics"].items():
            if name.endswith("_ms") and value is not None:
                result["metrics"][name] = value * factor
        path = folder / f"202601{day:02}-{hour:02}0000-main.json"
        path.write_text(json.dumps(run), encoding="utf-8")


def noisy(count: int, step: float = 1.0, at: int = 0) -> list[float]:
    """Return factors of a history with a step."""
    factors = np.exp(np.random.default_rng(1).normal(0, 0.02, count))
    factors[at:] *= step
    return [float(each) for each in factors]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of stored runs of a project in which the test is."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".tfserving"


def test_a_step_in_200_stored_runs_is_shown_with_its_commit(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_runs(folder, noisy(200, 1.05, at=120))

    assert main(["history", "p95"]) == 0

    shown = capsys.readouterr().out
    found = re.search(r"p95 \+(\d\.\d) % at run (\d+) of 200: main, 2026-01-0\d, commit (\w+)\n", shown)
    assert found, shown
    assert 4 < float(found[1]) < 6
    assert abs(int(found[2]) - 121) <= 3
    assert int(found[3], 16) == int(found[2]) - 1
    page = (folder.parent / "history.html").read_text(encoding="utf-8")
    assert "<h1>History of p95</h1>" in page
    assert f"at run {found[2]} of 200: main" in page
    assert page.count("<tr><td>") == 200
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']http", page)


def test_without_a_step_nothing_is_proved(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(folder, noisy(30))

    assert main(["history", "p50", "-o", "trend.html"]) == 0

    assert "in the last of 30 runs; no change is proved" in capsys.readouterr().out
    assert "History of p50" in (folder.parent / "trend.html").read_text(encoding="utf-8")


def test_runs_under_another_load_are_a_series_of_their_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_runs(folder, [1.0, 1.0])
    write_runs(folder / "more", [1.0], profile={"name": "study", "users": 3})
    (path,) = (folder / "more").iterdir()
    path.rename(folder / "20260201-000000-main.json")

    assert main(["history"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": p95 is ")[0] for line in lines[:2]] != [NAME, NAME]
    assert "in the last of 2 runs" in lines[0]
    assert "in the only run" in lines[1]


def test_csv_has_every_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(folder, noisy(40, 1.2, at=20))

    assert main(["history", "p95", "--format", "csv"]) == 0

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 40
    assert rows[0]["experiment"] == NAME
    assert rows[0]["metric"] == "p95_ms"
    assert [bool(row["change"]) for row in rows].index(True) == pytest.approx(20, abs=3)


def test_github_action_benchmark_gets_the_last_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(folder, [1.0, 2.0])

    assert main(["history", "--format", "github-action-benchmark"]) == 0

    rows = json.loads(capsys.readouterr().out)
    p95 = next(row for row in rows if row["name"] == f"{NAME}: p95")
    assert p95["unit"] == "ms"
    assert p95["value"] == pytest.approx(2 * float(content()["results"][0]["metrics"]["p95_ms"] or 0))
    assert set(p95) == {"name", "unit", "value", "range", "extra"}
    assert not [row for row in rows if row["name"].endswith("rps")]


def test_bencher_gets_the_last_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(folder, [1.0, 1.0])

    assert main(["history", "--format", "bencher", "-o", "bmf.json"]) == 0

    assert capsys.readouterr().out == "bmf.json\n"
    written = json.loads((folder.parent / "bmf.json").read_text(encoding="utf-8"))
    assert written[NAME]["rps"]["value"] > 1
    assert set(written[NAME]["p95-ms"]) == {"value", "lower_value", "upper_value"}


def test_a_damaged_file_is_left_out_and_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_runs(folder, [1.0, 1.0])
    damaged = folder / "20260301-000000-main.json"
    damaged.write_text('{"stored_version": 1, "na', encoding="utf-8")

    assert main(["history"]) == 0

    shown = capsys.readouterr()
    assert "in the last of 2 runs" in shown.out
    assert shown.err.startswith(f"pytest-tfserving: left out: the stored run {damaged} is not whole JSON: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["p59x"], "'p59x' is not a metric; valid: rps, "),
        (["p42"], "no stored run has a figure of p42; valid: rps, p50, "),
        (["rps", "--format", "github-action-benchmark"], "rps is better if it is higher, and customSmaller"),
        (["--experiment", "3cpu-*"], "no experiment '3cpu-*'; valid: 2cpu-4gb-8n-interop2."),
        (["--folder", "elsewhere"], "elsewhere has no stored run that can be read; save one with"),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    write_runs(folder, [1.0, 1.0])

    assert main(["history", *arguments]) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
