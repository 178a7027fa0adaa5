"""Measurement of a deployment side by side with a baseline server: load alternates between the two."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from pytest_tfserving.errors import LoadError
from pytest_tfserving.load.differences import differences
from pytest_tfserving.load.server_comparison import ServerComparison
from pytest_tfserving.measurement.alternation import Alternation, RunningOn, Side
from pytest_tfserving.measurement.prepared_load import FirstRequestError, prepared
from pytest_tfserving.measurement.waiting import waiting_s
from pytest_tfserving.system.processes import thawed_at_death
from pytest_tfserving.targets.baseline.freeze import Processes

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import BaselineServer
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.measurement.prepared_load import PreparedLoad
    from pytest_tfserving.report.terminal import Progress


def measure_both(
    candidate: PreparedLoad, against: BaselineServer, folder: Path, progress: Progress
) -> tuple[Result, bool]:
    """Load a deployment in turn with its baseline server, until its SLOs are decided.

    Returns:
        The candidate's result with the comparison, and whether the user interrupted the run.

    Raises:
        LoadError: if the baseline server cannot be loaded, or serves another signature.
    """
    asked, place = candidate.asked, folder / "against"
    try:
        with prepared(against.deployment, asked, place, progress, alternates=True) as baseline:
            candidate = _expecting_the_same(candidate, baseline, against)
            generators = (*candidate.generator.pids, *baseline.generator.pids)
            with (
                thawed_at_death(generators),
                Alternation((_side(candidate), _side(baseline)), asked.profile.seed) as alternation,
            ):
                return _measured(candidate, baseline, against.name, alternation, progress)
    except FirstRequestError as error:
        raise LoadError(f"{_not_to_blame(against.name)}: {error}") from None


def _measured(
    candidate: PreparedLoad,
    baseline: PreparedLoad,
    name: str,
    alternation: Alternation,
    progress: Progress,
) -> tuple[Result, bool]:
    """Return the result of the candidate, with the comparison."""
    experiment, profile = candidate.deployment.experiment, candidate.asked.profile
    with (
        progress.load(experiment.name, profile.run_time_s, turns=2, rate=profile.rate) as shown,
        _BaselineRun(baseline, name, alternation) as other,
    ):
        monitor = candidate.monitor(other.monitor, slice_s=alternation.slice_s)
        result, interrupted = candidate.run(shown, monitor, other)
    if other.result is None:
        return replace(result, incomplete=result.incomplete or other.failure()), interrupted
    changes = monitor.changes(result.run_s)
    comparison = ServerComparison(
        against=name,
        result=other.result,
        changes=changes,
        slice_s=alternation.slice_s,
        differences=differences(result, other.result, changes),
    )
    return replace(result, comparison=comparison), interrupted


def _side(load: PreparedLoad) -> Side:
    """Return the deployment and its load generator as the alternation sees them."""
    generator = Processes([-pid for pid in load.generator.pids])
    if servers := load.deployment.freezer():
        return Side(load.plan.clock, servers, generator, waiting_s(load.deployment, load.plan.requests))
    return Side(load.plan.clock, RunningOn(load.first.warm_s), generator)


def _expecting_the_same(
    candidate: PreparedLoad, baseline: PreparedLoad, against: BaselineServer
) -> PreparedLoad:
    """Return the candidate's load, which takes another response than the baseline server's for a wrong one.

    Raises:
        LoadError: if the responses of the two servers differ in shape.
    """
    expected = dict(candidate.plan.expected)
    for index in expected.keys() & baseline.plan.expected.keys():
        ours, theirs = expected[index], baseline.plan.expected[index]
        if ours.key == theirs.key and ours.protocol == theirs.protocol and ours.layout != theirs.layout:
            raise LoadError(
                f"the two servers cannot be compared: the response's shape is {ours.layout}, and that of the "
                f"baseline server {against.name} is {theirs.layout}; do the models have different signatures?"
            )
        if against.same_model and index in baseline.first.values:
            expected[index] = replace(
                ours,
                values=baseline.first.values[index],
                values_of=f"the baseline server {against.name}",
                with_example=True,
            )
    return replace(candidate, plan=replace(candidate.plan, expected=expected))


def _not_to_blame(name: str) -> str:
    return f"the baseline server {name} failed, and the candidate is not to blame"


class _BaselineRun:
    """The run of load on the baseline server, in a thread of its own inside of the context.

    Attributes:
        monitor: what the run keeps its requests in.
        result: the result once the run has ended; None before, and if it failed.
    """

    def __init__(self, load: PreparedLoad, name: str, alternation: Alternation) -> None:
        self.monitor = load.monitor(keeps_requests=True)
        self.result: Result | None = None
        self._load = load
        self._name = name
        self._alternation = alternation
        self._error = ""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()

    def failure(self) -> str:
        """Return why the comparison cannot go on, in a sentence; empty while it can."""
        if cause := self._alternation.failure():
            return cause
        cause = self._error
        if self.result and not self._thread.is_alive():
            cause = self.result.aborted or self.result.invalid
        return f"{_not_to_blame(self._name)}: {cause}" if cause else ""

    def finish(self) -> None:
        """End the run as its run time would, and wait until it has ended."""
        self._alternation.end()
        if self._thread.is_alive():
            self._load.generator.stop("decided")
            self._thread.join()

    def _run(self) -> None:
        try:
            self.result, _ = self._load.run(lambda _: None, self.monitor)
        except Exception as error:  # noqa: BLE001 - the thread of the candidate's run reports it
            self._error = f"{type(error).__name__}: {error}"
