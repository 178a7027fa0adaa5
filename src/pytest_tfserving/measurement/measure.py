"""A measurement: from a deployment, a load profile and a payload to a result."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pytest_tfserving.deployment.load_clock import LoadClock
from pytest_tfserving.errors import ConfigurationError, DeploymentError, LoadError
from pytest_tfserving.experiments.load_profile import PROFILES
from pytest_tfserving.load.generator.generator import LoadGenerator, LoadPlan
from pytest_tfserving.load.generator.local_host import LocalHost
from pytest_tfserving.load.generator.run import as_text, run
from pytest_tfserving.load.result import Generator, Result, Window
from pytest_tfserving.measurement.cache_probe import cache_found
from pytest_tfserving.measurement.environment import environment
from pytest_tfserving.measurement.server_watch import ServerWatch
from pytest_tfserving.protocols.client import WARM_UP_REQUESTS, first_answers
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA, SloMonitor
from pytest_tfserving.statistics import noise_memory

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.deployment.pulses import Pulses
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.protocols.client import FirstAnswers
    from pytest_tfserving.protocols.payload import Payload
    from pytest_tfserving.report.terminal import Progress
    from pytest_tfserving.slo.language import Slo

_LONGEST_FIRST_ANSWER_S = 20.0
# A load has stalled if no answer comes for this many times a warm one's time, and for at least this long.
_STALL_FACTOR = 20
_SHORTEST_STALL_S = 5.0
# Far below the capacity of a process, so that a busy moment does not make the load late.
_USERS_OF_A_PROCESS = 100
_RATE_OF_A_PROCESS = 2000


@dataclass(frozen=True)
class LoadRequest:
    """The request for one run of load.

    Attributes:
        profile: the load.
        payload: the request that load sends.
        slos: SLOs to decide while load runs; the run may end once they are decided.
        alpha: largest probability of a wrong PASS, and of a wrong FAIL.
        processes: number of load processes; 0 for as many as the profile needs.
        locustfile: file with the users that send; None for the built-in users.
        noise_memory_s: time in seconds within which the machine is assumed to forget its speed.
    """

    profile: LoadProfile
    payload: Payload
    slos: tuple[Slo, ...] = ()
    alpha: float = DEFAULT_ALPHA
    processes: int = 1
    locustfile: Path | None = None
    noise_memory_s: float = noise_memory.DEFAULT_S


def measure(
    deployment: Deployment,
    asked: LoadRequest,
    folder: Path,
    progress: Progress,
) -> tuple[Result, bool]:
    """Measure ``deployment`` as ``asked``; an unfit deployment gets a smoke run only.

    Returns:
        The result, and whether the user interrupted the run.

    Raises:
        ConfigurationError: for a locustfile together with a rate or with a second load shape.
    """
    profile, payload = asked.profile, asked.payload
    if deployment.unfit:
        profile = PROFILES["smoke"].with_overrides({"request_timeout_s": profile.request_timeout_s})
    place = deployment.load_place or LocalHost()
    processes = asked.processes or processes_for(profile, place.most_processes(deployment))
    _refuse_rate_of_own_users(profile, asked)
    with LoadGenerator(folder, processes, asked.locustfile, place) as generator:
        try:
            timeout_s = min(profile.request_timeout_s, _LONGEST_FIRST_ANSWER_S)
            most_s = WARM_UP_REQUESTS * len(deployment.loaded) * timeout_s
            progress(f"{deployment.experiment.name}: first requests, at most {most_s:g} s")
            first = first_answers(deployment, payload, timeout_s)
        except (LoadError, DeploymentError) as error:
            cause = deployment.failure_soon() or str(error)
            result = nothing_measured(deployment.experiment, profile, aborted=cause)
            return replace(result, environment=environment(deployment)), False
        pulses = None if deployment.unfit else deployment.pulses(folder / "load_clock")
        plan = _plan(deployment, profile, first, pulses)
        generator.wait_until_ready()
        _refuse_two_shapes(generator, asked)
        plateau = profile.has_plateau and not generator.has_own_shape
        slos = asked.slos if plateau and not deployment.unfit else ()
        monitor = _monitor(asked, profile, slos, has_baseline=pulses is not None, plateau=plateau)
        name = deployment.experiment.name
        with ServerWatch(deployment, plan.clock) as server, progress.load(name, profile.run_time_s) as shown:
            result, interrupted = run(generator, plan, deployment, shown, monitor, server.cpu, pulses)
        result = server.seen(result)
    if result.is_measured and not deployment.unfit and (found := cache_found(deployment, payload)):
        result = replace(result, warnings=(*result.warnings, found))
    result = replace(result, noise_memory_s=asked.noise_memory_s, environment=environment(deployment))
    return (_smoke_only(result, deployment) if deployment.unfit else result), interrupted


def _plan(
    deployment: Deployment, profile: LoadProfile, first: FirstAnswers, pulses: Pulses | None
) -> LoadPlan:
    """Return the plan of the load processes, based on the first answers of a deployment."""
    return LoadPlan(
        profile=profile,
        body=first.request,
        path=f"{deployment.path}:predict",
        expected=first.expected,
        stall_s=min(profile.request_timeout_s, max(_SHORTEST_STALL_S, _STALL_FACTOR * first.warm_s)),
        whole_run_counts=bool(deployment.unfit),
        clock=pulses.clock if pulses else LoadClock(),
    )


def _monitor(
    asked: LoadRequest, profile: LoadProfile, slos: tuple[Slo, ...], *, has_baseline: bool, plateau: bool
) -> SloMonitor:
    """Return what decides ``slos`` while load runs."""
    return SloMonitor(
        slos,
        asked.alpha,
        has_baseline=has_baseline,
        early_stop=profile.early_stop,
        plateau=plateau,
        noise_memory_s=asked.noise_memory_s,
    )


def _refuse_rate_of_own_users(profile: LoadProfile, asked: LoadRequest) -> None:
    """Raise a ConfigurationError if the profile of a locustfile's users has a rate."""
    if asked.locustfile and profile.is_open:
        raise ConfigurationError(
            f"load profile {profile.name!r} has a rate, which only the built-in users keep to; the users of "
            f"{asked.locustfile} need a profile with users."
        )


def _refuse_two_shapes(generator: LoadGenerator, asked: LoadRequest) -> None:
    """Raise a ConfigurationError if both the profile and the locustfile have a load shape."""
    if generator.has_own_shape and not asked.profile.is_constant:
        raise ConfigurationError(
            f"load profile {asked.profile.name!r} has the shape {asked.profile.shape!r}, and the locustfile "
            f"{asked.locustfile} has one of its own; keep one of them."
        )


def processes_for(profile: LoadProfile, most: int) -> int:
    """Return the number of load processes that a profile needs, from 1 to ``most``."""
    needed = math.ceil(max(profile.users / _USERS_OF_A_PROCESS, profile.rate / _RATE_OF_A_PROCESS))
    return max(min(needed, most), 1)


def _smoke_only(result: Result, deployment: Deployment) -> Result:
    run_of = f"smoke run: {result.total_requests} requests, {result.total_errors} errors"
    if result.aborted:
        return result
    if result.total_errors or not result.total_requests:
        causes = ", ".join(f"{count} x {cause}" for cause, count in result.errors.items())
        return replace(result, aborted=f"{run_of} ({causes or 'no answer came'})", invalid="")
    return replace(result, not_judged=f"{deployment.unfit}; {run_of}", invalid="", incomplete="")


def nothing_measured(
    experiment: Experiment, profile: LoadProfile, *, aborted: str = "", not_judged: str = ""
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
        not_judged=not_judged,
    )
