"""A measurement: from a deployment, a load profile and a payload to a result."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pytest_tfserving.experiments.load_profile import PROFILES
from pytest_tfserving.load.generator.run import as_text
from pytest_tfserving.load.result import Generator, Result, Window
from pytest_tfserving.measurement.cache_probe import cache_found
from pytest_tfserving.measurement.environment import environment
from pytest_tfserving.measurement.prepared_load import FirstRequestError, LoadPathError, prepared
from pytest_tfserving.measurement.side_by_side import measure_both

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.measurement.prepared_load import LoadRequest
    from pytest_tfserving.report.terminal import Progress


def measure(
    deployment: Deployment,
    asked: LoadRequest,
    folder: Path,
    progress: Progress,
) -> tuple[Result, bool]:
    """Measure ``deployment`` as ``asked``; an unfit deployment gets a smoke run only.

    A deployment with a baseline server is loaded in turn with it.

    Returns:
        The result, and whether the user interrupted the run.

    Raises:
        ConfigurationError: for a locustfile together with a rate or with a second load shape.
        LoadError: if the baseline server cannot be loaded.
    """
    if deployment.unfit:
        smoke = PROFILES["smoke"].with_overrides({"request_timeout_s": asked.profile.request_timeout_s})
        asked = replace(asked, profile=smoke)
    against = None if deployment.unfit else deployment.against
    try:
        with prepared(deployment, asked, folder, progress, alternates=against is not None) as load:
            if against:
                result, interrupted = measure_both(load, against, folder, progress)
            else:
                name, profile = deployment.experiment.name, asked.profile
                with progress.load(name, profile.run_time_s, rate=profile.rate) as shown:
                    result, interrupted = load.run(shown, load.monitor())
    except (FirstRequestError, LoadPathError) as error:
        cause = "invalid" if isinstance(error, LoadPathError) else "aborted"
        result = nothing_measured(deployment.experiment, asked.profile, **{cause: str(error)})
        return replace(result, environment=environment(deployment)), False
    if result.is_measured and not deployment.unfit and (found := cache_found(deployment, asked.payloads)):
        result = replace(result, warnings=(*result.warnings, found))
    return (_smoke_only(result, deployment) if deployment.unfit else result), interrupted


def _smoke_only(result: Result, deployment: Deployment) -> Result:
    run_of = f"smoke run: {result.total_requests} requests, {result.total_errors} errors"
    if result.aborted:
        return result
    if result.total_errors or not result.total_requests:
        causes = ", ".join(f"{count} x {cause}" for cause, count in result.errors.items())
        return replace(result, aborted=f"{run_of} ({causes or 'no response came'})", invalid="")
    return replace(result, not_judged=f"{deployment.unfit}; {run_of}", invalid="", incomplete="")


def nothing_measured(
    experiment: Experiment,
    profile: LoadProfile,
    *,
    aborted: str = "",
    invalid: str = "",
    not_judged: str = "",
) -> Result:
    """Return the result of an experiment that was not loaded, with the cause."""
    import numpy as np

    from pytest_tfserving.statistics.latencies import Latencies

    return Result(
        experiment=experiment.name,
        target=experiment.target,
        profile=profile.as_fields(),
        started_at=as_text(datetime.now(UTC)),
        window=Window(0.0, 0.0),
        latencies=Latencies.of(np.empty(0)),
        errors={},
        users=profile.users,
        run_s=0.0,
        total_requests=0,
        total_errors=0,
        generator=Generator(0.0, 0.0),
        via="",
        endpoints=[],
        configuration=experiment.configuration,
        aborted=aborted,
        invalid=invalid,
        not_judged=not_judged,
    )
