"""``--tfserving-load-processes``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.measurement.prepared_load import processes_for

if TYPE_CHECKING:
    from typing import Any

    from harness import Project


@pytest.mark.parametrize("load", ["--tfserving-users=4", "--tfserving-rate=60"])
def test_it_shares_load_out(project: Project, load: str) -> None:
    run, (result,) = project.results("--tfserving-load-processes=2", "--tfserving-spawn-rate=9", load)

    run.assert_outcomes(passed=1)
    assert result["generator"]["processes"] == 2
    assert result["errors"] == {}
    assert result["metrics"]["requests"] > 20


@pytest.mark.parametrize(
    ("level", "cores", "processes"),
    [
        ({"users": 4}, 8, 1),
        ({"users": 101}, 8, 2),
        ({"users": 1000}, 4, 4),
        ({"users": 1000}, 0, 1),
        ({"rate": 2000}, 8, 1),
        ({"rate": 9000}, 8, 5),
    ],
)
def test_auto_takes_as_many_as_are_needed(level: dict[str, Any], cores: int, processes: int) -> None:
    assert processes_for(LoadProfile("p", run_time_s=60, **level), cores) == processes


@pytest.mark.parametrize("value", ["0", "-1", "all", "1.5", ""])
def test_what_is_no_number_of_processes(project: Project, value: str) -> None:
    run = project.run(f"--tfserving-load-processes={value}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        [
            f"*argument --tfserving-load-processes: '{value}' is neither 'auto' nor a whole number of "
            "1 or more."
        ]
    )
