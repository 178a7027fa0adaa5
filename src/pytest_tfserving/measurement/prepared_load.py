"""Preparation of a run of load on a deployment: the load generator, the first requests, the plan."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_tfserving.deployment.load_clock import LoadClock
from pytest_tfserving.errors import ConfigurationError, DeploymentError, LoadError
from pytest_tfserving.load.generator.generator import LoadGenerator, LoadPlan
from pytest_tfserving.load.generator.local_host import LocalHost
from pytest_tfserving.load.generator.run import run
from pytest_tfserving.measurement.environment import environment
from pytest_tfserving.measurement.server_watch import ServerWatch
from pytest_tfserving.protocols.client import WARM_UP_REQUESTS, first_answers
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA, SloMonitor
from pytest_tfserving.statistics import noise_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.deployment.load_messages import MergedTick
    from pytest_tfserving.deployment.pulses import Pulses
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.load.generator.run import OtherRun
    from pytest_tfserving.load.result import Result
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


class FirstRequestError(LoadError):
    """A first request to the deployment failed, so that nothing was measured."""


@dataclass(frozen=True)
class PreparedLoad:
    """Load that is ready to begin.

    Attributes:
        deployment: the deployment to load.
        asked: the request.
        generator: the load generator, whose processes wait for their plan.
        plan: the plan.
        first: the outcome of the first requests.
        pulses: the in-process baseline's pulses; None without a baseline.
    """

    deployment: Deployment
    asked: LoadRequest
    generator: LoadGenerator
    plan: LoadPlan
    first: FirstAnswers
    pulses: Pulses | None

    def monitor(self, against: SloMonitor | None = None, *, keeps_requests: bool = False) -> SloMonitor:
        """Return what decides the SLOs while load runs; see `SloMonitor`."""
        asked, profile = self.asked, self.asked.profile
        plateau = profile.has_plateau and not self.generator.has_own_shape
        return SloMonitor(
            asked.slos if plateau and not self.deployment.unfit and not keeps_requests else (),
            asked.alpha,
            has_baseline=self.pulses is not None,
            early_stop=profile.early_stop,
            plateau=plateau,
            noise_memory_s=asked.noise_memory_s,
            against=against,
            keeps_requests=keeps_requests,
        )

    def run(
        self, shown: Callable[[MergedTick], None], monitor: SloMonitor, other: OtherRun | None = None
    ) -> tuple[Result, bool]:
        """Put load on the deployment and measure it.

        Args:
            shown: called with every tick of the load.
            monitor: what decides the SLOs.
            other: the run of load on the baseline server; None without one.

        Returns:
            The result, and whether the user interrupted the run.
        """
        deployment, plan = self.deployment, self.plan
        with ServerWatch(deployment, plan.clock) as server:
            result, interrupted = run(
                self.generator, plan, deployment, shown, monitor, server.cpu, self.pulses, other
            )
        memory_s, found = self.asked.noise_memory_s, environment(deployment)
        return replace(server.seen(result), noise_memory_s=memory_s, environment=found), interrupted


@contextmanager
def prepared(
    deployment: Deployment, asked: LoadRequest, folder: Path, progress: Progress, *, alternates: bool = False
) -> Iterator[PreparedLoad]:
    """Start the load generator, and send the first requests; end the generator afterwards.

    Load that ``alternates`` with that of another deployment has a clock that can be stopped for it, and no
    in-process baseline, whose pulses would stop the clock too.

    Raises:
        ConfigurationError: for a locustfile together with a rate or with a second load shape, and for load
            that alternates and comes from another machine.
        FirstRequestError: if a first request fails, with the cause.
    """
    profile = asked.profile
    place = deployment.load_place or LocalHost()
    processes = asked.processes or processes_for(profile, place.most_processes(deployment))
    _refuse_rate_of_own_users(profile, asked)
    if alternates and not place.same_clock:
        raise ConfigurationError(
            "load from Pods cannot alternate between two servers; leave --tfserving-load-in-cluster out, or "
            "--tfserving-against."
        )
    with LoadGenerator(folder, processes, asked.locustfile, place) as generator:
        first = _first_answers(deployment, asked, progress)
        clock_path = folder / "load_clock"
        pulses = None if deployment.unfit or alternates else deployment.pulses(clock_path)
        clock = LoadClock(clock_path) if alternates else pulses.clock if pulses else LoadClock()
        plan = _plan(deployment, profile, first, clock)
        generator.wait_until_ready()
        _refuse_two_shapes(generator, asked)
        yield PreparedLoad(deployment, asked, generator, plan, first, pulses)


def _first_answers(deployment: Deployment, asked: LoadRequest, progress: Progress) -> FirstAnswers:
    timeout_s = min(asked.profile.request_timeout_s, _LONGEST_FIRST_ANSWER_S)
    most_s = WARM_UP_REQUESTS * len(deployment.loaded) * timeout_s
    progress(f"{deployment.experiment.name}: first requests, at most {most_s:g} s")
    try:
        return first_answers(deployment, asked.payload, timeout_s)
    except (LoadError, DeploymentError) as error:
        raise FirstRequestError(deployment.failure_soon() or str(error)) from None


def _plan(deployment: Deployment, profile: LoadProfile, first: FirstAnswers, clock: LoadClock) -> LoadPlan:
    """Return the plan of the load processes, based on the first answers of a deployment."""
    return LoadPlan(
        profile=profile,
        body=first.request,
        path=f"{deployment.path}:predict",
        expected=first.expected,
        stall_s=min(profile.request_timeout_s, max(_SHORTEST_STALL_S, _STALL_FACTOR * first.warm_s)),
        whole_run_counts=bool(deployment.unfit),
        clock=clock,
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
