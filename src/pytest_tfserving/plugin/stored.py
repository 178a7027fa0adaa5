"""Stored runs in a session: the run to compare with, the comparison, and the run that is saved."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pytest_tfserving.errors import ConfigurationError

if TYPE_CHECKING:
    from pytest_tfserving.calibration.content import ScatterData
    from pytest_tfserving.calibration.run_scatter import RunScatter
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.plugin.session import PerfSession
    from pytest_tfserving.report.comparison import Base
    from pytest_tfserving.report.schema import ComparisonData, Document


def base_of(perf: PerfSession) -> Base | None:
    """Return the stored run that the session is compared with; None without ``--tfserving-compare``.

    Raises:
        ConfigurationError: when there is no such run, and when it is of another machine.
    """
    wanted, force = perf.settings.compare, perf.settings.compare_force
    if not wanted:
        return None
    from pytest_tfserving.measurement.environment import this_machine
    from pytest_tfserving.report.comparison import Base, machine_difference
    from pytest_tfserving.report.stored_runs import read_stored

    path = wanted if isinstance(wanted, Path) else perf.stored_runs.find(wanted)
    stored = read_stored(path)
    difference = machine_difference(stored, this_machine())
    if difference and not force:
        raise ConfigurationError(
            f"{path} is of another machine: {difference}; --tfserving-compare-force compares nevertheless."
        )
    return Base(stored, *_scatter(perf), force)


def check_base(perf: PerfSession) -> None:
    """Find out before anything is measured that the session cannot be compared.

    Raises:
        pytest.UsageError: with the cause.
    """
    try:
        perf.compared_with  # noqa: B018 - it is read here for the first time
    except ConfigurationError as error:
        raise pytest.UsageError(f"--tfserving-compare: {error}") from None


def document(perf: PerfSession, *, interrupted: bool) -> Document:
    """Return all that the session has measured so far, with its comparison if an option asks for one."""
    from pytest_tfserving.report.report_data import document_of

    made = document_of(
        perf.entries(),
        interrupted=interrupted,
        pricing=perf.settings.pricing(),
        searches=perf.searches(),
        calibration=perf.calibration,
    )
    return {**made, "comparison": _comparison(perf, made)}


def _comparison(perf: PerfSession, made: Document) -> ComparisonData | None:
    if not (made["results"] and (base := perf.compared_with)):
        return None
    from pytest_tfserving.report.comparison import compare
    from pytest_tfserving.report.stored_runs import kept

    results = [kept(result) for result in made["results"]]
    return compare(results, base, perf.settings.compare_fail, perf.settings.alpha)


def changes(perf: PerfSession, result: Result) -> dict[str, str]:
    """Return the changes of a result's figures since the stored run in words, by metric."""
    base = perf.compared_with
    if base is None:
        return {}
    from pytest_tfserving.report.comparison import property_texts
    from pytest_tfserving.report.json import metrics
    from pytest_tfserving.report.stored_runs import kept

    window = asdict(result.window)
    values = {**vars(result), "window": window, "metrics": metrics(result), "measured": result.is_measured}
    return property_texts(kept({**values, "label": result.experiment, "verdict": "no verdict"}), base)


def save(perf: PerfSession, made: Document) -> Path:
    """Keep the results of a document under the name that an option gives; return the path."""
    from pytest_tfserving.report.stored_runs import stored_form

    scatter, _ = _scatter(perf)
    saved_at = datetime.now(UTC).isoformat(timespec="seconds")
    known = cast("ScatterData", asdict(scatter)) if scatter else None
    return perf.stored_runs.save(stored_form(made, perf.settings.save, saved_at, known))


def failures(perf: PerfSession) -> list[str]:
    """Return a sentence for each limit on a change that is missed, or that nothing could be judged by."""
    if not perf.settings.compare_fail:
        return []
    comparison = document(perf, interrupted=False)["comparison"]
    if not comparison:
        return []
    from pytest_tfserving.report.comparison_text import limit_line

    failing = {"FAIL", "NOT JUDGED"}
    if perf.settings.inconclusive == "fail":
        failing.add("INCONCLUSIVE")
    if not comparison["limits"]:
        return [f"--tfserving-compare-fail: NOT JUDGED: {comparison['base']} has none of these experiments"]
    return [limit_line(each) for each in comparison["limits"] if each["verdict"] in failing]


def _scatter(perf: PerfSession) -> tuple[RunScatter | None, str]:
    """Return the scatter between runs of this machine, or why it is not known."""
    from pytest_tfserving.calibration.run_scatter import RunScatter

    if perf.calibration:
        return RunScatter.of(perf.calibration), ""
    if perf.calibration_problem:
        return None, perf.calibration_problem.removeprefix("the default: ")
    if perf.runs_here:
        return None, "this machine is not calibrated; run pytest-tfserving calibrate"
    return None, "servers run elsewhere"
