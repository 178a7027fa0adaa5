"""``pytest-tfserving calibrate``: what it measures, says and writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_tfserving.calibration.file import this_machine

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


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
