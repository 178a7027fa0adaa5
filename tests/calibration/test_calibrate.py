"""``pytest-tfserving calibrate``: how the wander is estimated, what is kept, what later runs make of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from pytest_tfserving.calibration import words
from pytest_tfserving.calibration.file import this_machine, write_calibration
from pytest_tfserving.calibration.wander import (
    BLOCK_S,
    P95_NOISE,
    SHORTEST_S,
    Wander,
    fit_wander,
    noise_memory_s,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from harness import Project

    Floats = NDArray[np.float64]

EVERY_S = 0.1
CONTENT: dict[str, Any] = {
    "machine": this_machine(),
    "measured_at": "2026-11-20T10:00:00+00:00",
    "noise_memory_s": 2.1,
    "cores": [],
    "smallest_change": {},
    "answer": [],
}


def level(memory_s: float, times: int, random: np.random.Generator) -> Floats:
    """An Ornstein-Uhlenbeck process of variance 1, every `EVERY_S`."""
    kept = np.exp(-EVERY_S / memory_s)
    steps = np.sqrt(1 - kept**2) * random.standard_normal(times)
    values = np.empty(times)
    value = random.standard_normal()
    for at, step in enumerate(steps):
        value = kept * value + step
        values[at] = value
    return values


def pieces(
    memory_s: float, share: float, random: np.random.Generator, length_s: int = 200, sd: float = 0.2
) -> tuple[Floats, Floats]:
    """When pieces of work began and what they took, with ``share`` of the variance of the log in a level."""
    times = round(length_s / EVERY_S)
    logs = np.sqrt(1 - share) * random.standard_normal(times)
    if memory_s:
        logs += np.sqrt(share) * level(memory_s, times, random)
    return EVERY_S * np.arange(times, dtype=np.float64), 0.002 * np.exp(sd * logs)


def fitted(memory_s: float, share: float, runs: int = 12) -> list[Wander]:
    random = np.random.default_rng([1, round(10 * memory_s), round(100 * share)])
    return [fit_wander(*pieces(memory_s, share, random)) for _ in range(runs)]


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("memory_s", [1, 2, 5, 10])
def test_a_memory_is_estimated_and_bounded(memory_s: float, share: float) -> None:
    found = fitted(memory_s, share)

    assert memory_s / 2 < np.median([each.memory_s for each in found]) < 2 * memory_s
    assert sum(each.memory_high_s >= memory_s for each in found) >= 9
    assert np.median([each.memory_high_s for each in found]) < 4 * memory_s
    assert np.median([each.slow_share for each in found]) == pytest.approx(share, abs=0.2)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_memory_that_the_time_hardly_shows_is_not_taken_for_a_short_one(share: float) -> None:
    assert np.median([each.memory_high_s for each in fitted(30, share)]) > 30


@pytest.mark.parametrize(("memory_s", "share"), [(0, 0.5), (0.2, 0.3), (0.2, 0.5), (0.2, 0.8)])
def test_fast_noise_is_no_level(memory_s: float, share: float) -> None:
    found = fitted(memory_s, share)

    assert np.median([each.memory_high_s for each in found]) < 2 * SHORTEST_S
    assert all(noise_memory_s([each], 200) >= SHORTEST_S for each in found)


def test_a_few_stalls_do_not_decide_and_missing_pieces_do_not_matter() -> None:
    at_s, took_s = pieces(2, 0.5, np.random.default_rng(7))
    without = fit_wander(at_s, took_s)
    stalled = took_s.copy()
    stalled[[300, 900, 1500]] = 5.0
    kept = (at_s < 40) | (at_s > 43)

    for other in (fit_wander(at_s, stalled), fit_wander(at_s[kept], took_s[kept])):
        assert other.memory_high_s == pytest.approx(without.memory_high_s, rel=0.25)
        assert other.level_sd == pytest.approx(without.level_sd, rel=0.25)


def test_a_recording_of_a_real_machine() -> None:
    path = Path(__file__).parents[1] / "recorded" / "machine_speed.csv"
    at_s, wall_s, cpu_s = np.loadtxt(path, delimiter=",", unpack=True)

    wall, cpu = fit_wander(at_s, wall_s), fit_wander(at_s, cpu_s)

    assert 1 < wall.memory_s < wall.memory_high_s < 10
    assert cpu.scatter < 0.6 * wall.scatter
    # Means of 20 s scatter by far more than means of independent pieces would.
    assert wall.mean_sd(20) > 2 * wall.scatter / np.sqrt(20 / EVERY_S)


def test_the_scatter_of_a_window_is_what_windows_then_show() -> None:
    random = np.random.default_rng(3)
    known = Wander(0.2, 0.2 * np.sqrt(0.5), 0.2 * np.sqrt(0.5 * EVERY_S / BLOCK_S), 5.0, 8.0)
    means = [float(np.log(pieces(5, 0.5, random, length_s=30)[1]).mean()) for _ in range(400)]

    assert known.mean_sd(30) == pytest.approx(np.std(means), rel=0.1)


def test_longer_runs_see_smaller_changes_and_a_p95_needs_longer_than_a_rate() -> None:
    wander = Wander(0.2, 0.1, 0.1, 2.0, 4.0)

    seen = [wander.smallest_change(length_s) for length_s in (30, 60, 120)]

    assert seen == sorted(seen, reverse=True)
    assert wander.smallest_change(30, P95_NOISE) > seen[0]
    assert words.needed_s(wander, seen[1]) == 60


def test_a_short_calibration_says_no_longer_memory_than_it_can_tell() -> None:
    unbounded = Wander(0.2, 0.1, 0.1, 4.0, 60.0)

    assert noise_memory_s([unbounded], 20) == 10
    assert noise_memory_s([unbounded], 90) == 30
    short = fit_wander(*pieces(30, 0.8, np.random.default_rng(5), length_s=18))
    assert short.memory_s <= 6
    assert noise_memory_s([short], 18) <= 10


@pytest.mark.parametrize(
    ("steal", "neighbours", "cpu", "said"),
    [
        (0.08, [], 0.01, "the machine's host"),
        (0.0, [{"name": "backup", "pid": 7, "cpu": 0.4}], 0.01, "backup (process 7, 40 % of a core)"),
        (None, [], 0.01, "something that cannot be seen from here"),
        (0.0, [], 0.19, "the speed of the core itself"),
    ],
)
def test_the_largest_cause_is_named(
    steal: float | None, neighbours: list[dict[str, Any]], cpu: float, said: str
) -> None:
    core = {"wall": {"scatter": 0.2}, "cpu": {"scatter": cpu}, "waited": 0.1, "steal": steal}
    gate = {"passed": 0, "failed": 0, "runs": [{}]}
    content = {"cores": [core], "neighbours": neighbours, "gate": gate}
    noisy = Wander(0.2, 0.1, 0.1, 2.0, 4.0)

    answer = " ".join(words.answer(content, noisy, noisy))

    assert f"The largest cause is {said}" in answer or said in answer
    assert "would help most" in answer


# --- the file ---------------------------------------------------------------------------------------


def keep(**changes: Any) -> Path:
    path = Path(os.environ["PYTEST_TFSERVING_CALIBRATION"])
    write_calibration(path, {**CONTENT, **changes})
    return path


def test_a_run_takes_the_calibrated_memory(project: Project) -> None:
    keep()

    run, (result,) = project.results()

    run.stdout.fnmatch_lines(["tfserving: noise memory 2.1 s (calibrated 2026-11-20)"])
    assert result["noise_memory_s"] == 2.1


def test_an_option_beats_it(project: Project) -> None:
    keep()

    _, (result,) = project.results("--tfserving-noise-memory=1s")

    assert result["noise_memory_s"] == 1


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"machine": {**this_machine(), "cores": 99}},
            "* is of another machine: its usable cores was 99, here *",
        ),
        (
            {"machine": {**this_machine(), "id": "x"}},
            "* is of another machine: its identity was x, here it is *",
        ),
        ({"machine": None}, "* is of another machine: *"),
        ({"version": 0}, "* has version 0; this release reads version 1"),
        ({"noise_memory_s": -1}, "* has a noise_memory_s of -1, which is not a time above 0"),
    ],
)
def test_one_that_is_no_use_is_said_and_the_default_is_taken(
    project: Project, changes: dict[str, Any], problem: str
) -> None:
    keep(**changes)

    run = project.run("--collect-only")

    run.stdout.fnmatch_lines(
        [f"tfserving: noise memory 10 s (the default: {problem}; run pytest-tfserving calibrate)"]
    )


def test_one_that_is_cut_off_is_said(project: Project) -> None:
    path = keep()
    path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8")

    run = project.run("--collect-only")

    run.stdout.fnmatch_lines(["*noise memory 10 s (the default: * is not whole JSON: *; run *"])


@pytest.mark.parametrize(
    "content", ["[1]", "7", "null", '{"version": 1}', "[" * 50_000], ids=lambda content: content[:20]
)
def test_one_that_is_something_else_is_said(project: Project, content: str) -> None:
    keep().write_text(content, encoding="utf-8")

    run = project.run("--collect-only")

    run.stdout.fnmatch_lines(["*noise memory 10 s (the default: the calibration * is n*; run *"])


@pytest.mark.parametrize(
    ("key", "value"), [("measured_at", 7), ("cores", {}), ("noise_memory_s", True), ("answer", None)]
)
def test_one_that_somebody_changed_is_not_used(project: Project, key: str, value: object) -> None:
    path = keep()
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, key: value}), encoding="utf-8")

    run = project.run("--collect-only")

    said = "*noise memory 10 s (the default: the calibration * is not what this version of *; run *"
    run.stdout.fnmatch_lines([said])


def test_servers_elsewhere_are_not_under_this_machines_noise(project: Project) -> None:
    keep()

    run = project.run(
        "--tfserving-target=url", "--tfserving-url=http://h:1/v1/models/m", "--collect-only", server=False
    )

    run.stdout.fnmatch_lines(["tfserving: noise memory 10 s (the default)"])


# --- the command ------------------------------------------------------------------------------------


class Calibrated(NamedTuple):
    """What the command did."""

    done: subprocess.CompletedProcess[str]
    folder: Path

    def json(self, name: str) -> dict[str, Any]:
        return dict(json.loads((self.folder / name).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    """A short calibration, in a folder with a cut-off one."""
    folder = tmp_path_factory.mktemp("calibrated")
    (folder / "kept.json").write_text('{"version": 1, "mach', encoding="utf-8")
    environment = {
        **os.environ,
        "TMPDIR": str(folder),
        "PYTEST_TFSERVING_CALIBRATION": str(folder / "kept.json"),
    }
    command = [sys.executable, "-m", "pytest_tfserving.cli", "calibrate", "--time=5s"]
    done = subprocess.run(
        [*command, "--json=out.json", "--html=out.html"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Calibrated(done, folder)


def test_it_says_what_the_machine_is_fit_for(calibrated: Calibrated) -> None:
    said = calibrated.done.stdout

    assert said.startswith("This machine is ")
    for text in ("noise memory", "load generator", "against itself", "smallest change", "60 s"):
        assert text in said
    assert "s left" in calibrated.done.stderr


def test_it_measures_again_where_the_file_is_no_use(calibrated: Calibrated) -> None:
    assert "kept.json is not whole JSON: " in calibrated.done.stderr
    assert "; measuring again." in calibrated.done.stderr
    assert calibrated.json("kept.json") == calibrated.json("out.json")
    assert sorted(path.name for path in calibrated.folder.iterdir() if path.suffix in (".json", ".html")) == [
        "kept.json",
        "out.html",
        "out.json",
    ]


def test_it_measures_what_it_says(calibrated: Calibrated) -> None:
    content = calibrated.json("out.json")

    assert content["machine"] == this_machine()
    assert all(each["piece_ms"]["wall"] >= each["piece_ms"]["cpu"] * 0.99 > 0 for each in content["cores"])
    assert all(len(each["slowness"]) >= 3 for each in content["cores"])
    assert 0 < content["generator"]["p50_ms"] <= content["generator"]["p95_ms"]
    gate = content["gate"]
    assert gate["passed"] + gate["failed"] + gate["inconclusive"] + gate["invalid"] == 2 * len(gate["runs"])
    assert list(content["smallest_change"]) == ["30", "60", "120"]


def test_its_page_needs_no_results(calibrated: Calibrated) -> None:
    page = (calibrated.folder / "out.html").read_text(encoding="utf-8")

    assert 'id="chart-wander"' in page
    assert calibrated.json("out.json")["answer"][0].split(";")[0] in page


@pytest.mark.parametrize("time", ["4s", "6m", "0", "soon"])
def test_a_time_that_does_not_fit_is_refused(time: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest_tfserving.cli", "calibrate", f"--time={time}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert f"argument --time: '{time}' is not a" in done.stderr
    assert "Traceback" not in done.stderr
