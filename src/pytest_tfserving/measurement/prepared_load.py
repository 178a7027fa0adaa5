"""Preparation of a run of load on a deployment: the load generator, the first requests, the plan."""

from __future__ import annotations

import math
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_tfserving.deployment.load_clock import LoadClock
from pytest_tfserving.errors import ConfigurationError, DeploymentError, LoadError, nearest
from pytest_tfserving.load.generator.generator import LoadGenerator, LoadPlan
from pytest_tfserving.load.generator.local_host import LocalHost
from pytest_tfserving.load.generator.run import run
from pytest_tfserving.load.kinds import Kinds
from pytest_tfserving.measurement.environment import environment
from pytest_tfserving.measurement.replay import schedule_of
from pytest_tfserving.measurement.server_watch import ServerWatch
from pytest_tfserving.protocols.client import WARM_UP_REQUESTS, first_answers
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA, SloMonitor
from pytest_tfserving.slo.open_loop import DueRequests
from pytest_tfserving.statistics import noise_memory
from pytest_tfserving.system.fixed_addresses import fixed_addresses

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
    from pytest_tfserving.protocols.payload_set import PayloadSet
    from pytest_tfserving.report.terminal import Progress
    from pytest_tfserving.slo.expected_load import ExpectedLoad
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
        payloads: the requests that load sends.
        slos: SLOs to decide while load runs; the run may end once they are decided.
        alpha: largest probability of a wrong PASS, and of a wrong FAIL.
        processes: number of load processes; 0 for as many as the profile needs.
        locustfile: file with the users that send; None for the built-in users.
        noise_memory_s: time in seconds within which the machine is assumed to forget its speed.
    """

    profile: LoadProfile
    payloads: PayloadSet
    slos: tuple[Slo, ...] = ()
    alpha: float = DEFAULT_ALPHA
    processes: int = 1
    locustfile: Path | None = None
    noise_memory_s: float = noise_memory.DEFAULT_S


class FirstRequestError(LoadError):
    """A first request to the deployment failed, so that nothing was measured."""


class LoadPathError(LoadError):
    """The place of the load cannot connect to the deployment, which says nothing about the deployment."""


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

    def monitor(
        self, against: SloMonitor | None = None, *, slice_s: float = 0.0, keeps_requests: bool = False
    ) -> SloMonitor:
        """Return what decides the SLOs while load runs; see `SloMonitor`."""
        asked, profile = self.asked, self.asked.profile
        plateau = profile.has_plateau and not self.generator.has_own_shape
        return SloMonitor(
            () if self.deployment.unfit or keeps_requests else asked.slos,
            asked.alpha,
            has_baseline=self.pulses is not None,
            early_stop=profile.early_stop,
            plateau=plateau,
            load=self._expected(),
            noise_memory_s=asked.noise_memory_s,
            against=against,
            slice_s=slice_s,
            keeps_requests=keeps_requests,
            due=due_requests(profile) if profile.is_open and plateau else None,
        )

    def _expected(self) -> ExpectedLoad:
        """Return the parts of the plan that SLOs depend on."""
        profile, own_shape = self.asked.profile, self.generator.has_own_shape
        expected = replace(profile.expected, kinds=self.plan.kinds.names)
        return replace(expected, falls=()) if own_shape else expected

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
        seen, found = server.seen(result), environment(deployment)
        return replace(seen, noise_memory_s=monitor.noise_memory_s, environment=found), interrupted


@contextmanager
def prepared(
    deployment: Deployment, asked: LoadRequest, folder: Path, progress: Progress, *, alternates: bool = False
) -> Iterator[PreparedLoad]:
    """Start the load generator, and send the first requests; end the generator afterwards.

    Load that ``alternates`` with that of another deployment has a clock that can be stopped for it, and no
    in-process baseline, whose pulses would stop the clock too.

    Raises:
        ConfigurationError: for a locustfile together with a rate or with a second load shape, and for an
            SLO or a limit on requests of an unknown kind.
        FirstRequestError: if a first request fails, with the cause.
        LoadPathError: if load comes from elsewhere and cannot connect to the deployment.
    """
    profile = asked.profile
    place = deployment.load_place or LocalHost()
    processes = asked.processes or processes_for(profile, place.most_processes(deployment))
    _refuse_rate_of_own_users(profile, asked)
    _refuse_unknown_kinds(asked)
    schedule = schedule_of(profile, asked.payloads)
    with (
        fixed_addresses() if alternates else nullcontext(),
        LoadGenerator(folder, processes, asked.locustfile, place) as generator,
    ):
        first = _first_answers(deployment, asked, folder, progress)
        clock_path = folder / "load_clock"
        pulses = None if deployment.unfit or alternates else deployment.pulses(clock_path)
        clock = LoadClock(clock_path) if alternates else pulses.clock if pulses else LoadClock()
        plan = replace(_plan(deployment, asked, first, clock), schedule=schedule)
        generator.wait_until_ready()
        _refuse_two_shapes(generator, asked)
        if deployment.load_place:
            _refuse_unreachable(generator, deployment)
        yield PreparedLoad(deployment, asked, generator, plan, first, pulses)


def _first_answers(
    deployment: Deployment, asked: LoadRequest, folder: Path, progress: Progress
) -> FirstAnswers:
    timeout_s = min(asked.profile.request_timeout_s, _LONGEST_FIRST_ANSWER_S)
    most_s = WARM_UP_REQUESTS * len(deployment.loaded) * timeout_s
    progress(f"{deployment.experiment.name}: first requests, at most {most_s:g} s")
    try:
        return first_answers(deployment, asked.payloads, timeout_s, folder)
    except (LoadError, DeploymentError) as error:
        raise FirstRequestError(deployment.failure_soon() or str(error)) from None


def _refuse_unreachable(generator: LoadGenerator, deployment: Deployment) -> None:
    """Raise a LoadPathError if load Pods cannot connect to the servers, which this machine can connect to."""
    if found := generator.unreachable(deployment):
        addresses = ", ".join(f"{address} ({how}: NetworkPolicy?)" for address, how in found.items())
        raise LoadPathError(f"load Pods cannot reach {addresses}")


def _plan(deployment: Deployment, asked: LoadRequest, first: FirstAnswers, clock: LoadClock) -> LoadPlan:
    """Return the plan of the load processes, based on the first answers of a deployment."""
    profile = asked.profile
    return LoadPlan(
        profile=profile,
        requests=first.requests,
        paths=tuple(f"{path}:predict" for path in deployment.paths.values()),
        expected=first.expected,
        stall_s=min(profile.request_timeout_s, max(_SHORTEST_STALL_S, _STALL_FACTOR * first.warm_s)),
        whole_run_counts=bool(deployment.unfit),
        clock=clock,
        kinds=Kinds.of_locustfile(kind for _, kind in _named_kinds(asked))
        if asked.locustfile
        else Kinds.named(asked.payloads.kinds),
    )


def due_requests(profile: LoadProfile) -> DueRequests:
    """Return the schedule of an open loop."""
    process, rate = profile.arrival_process, profile.rate
    return DueRequests(
        profile.due_times(), profile.stages[-1].last, process.memory_s(rate), process.clump(rate)
    )


def _refuse_rate_of_own_users(profile: LoadProfile, asked: LoadRequest) -> None:
    """Raise a ConfigurationError if the profile of a locustfile's users has a rate."""
    if asked.locustfile and profile.is_open:
        raise ConfigurationError(
            f"load profile {profile.name!r} has a rate, which only the built-in users keep to; the users of "
            f"{asked.locustfile} need a profile with users."
        )


def _named_kinds(asked: LoadRequest) -> list[tuple[str, str]]:
    """Return the places where SLOs and limits on requests name kinds, and the kinds."""
    of_slos = [(f"SLO {slo.text!r}", slo.kind) for slo in asked.slos if slo.kind]
    place = f"request_limits of load profile {asked.profile.name!r}"
    return [*of_slos, *((place, kind) for kind in asked.profile.expected.request_limits.kinds)]


def _refuse_unknown_kinds(asked: LoadRequest) -> None:
    """Raise a ConfigurationError for an SLO, or a limit on requests, of an unknown kind.

    The kinds of a locustfile's requests are only known once the requests have been sent.
    """
    if asked.locustfile:
        return
    kinds = list(dict.fromkeys(asked.payloads.kinds))
    for place, kind in _named_kinds(asked):
        if kind not in kinds:
            valid = nearest(kind, kinds) if len(kinds) > 1 else "all requests are of one kind"
            raise ConfigurationError(f"{place}: the requests have no kind {kind!r}; {valid}.")
    if len(kinds) == 1 and (of_slo := next((slo for slo in asked.slos if slo.kind), None)):
        raise ConfigurationError(
            f"SLO {of_slo.text!r}: all requests are of one kind, {kinds[0]!r}; leave the kind out."
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
    needed = math.ceil(max(profile.users / _USERS_OF_A_PROCESS, profile.highest_rate / _RATE_OF_A_PROCESS))
    return max(min(needed, most), 1)
