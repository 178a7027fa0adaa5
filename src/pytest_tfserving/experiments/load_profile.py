"""Load profiles: how requests arrive. Frozen data, no I/O."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Required, Self, TypedDict, cast

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.experiments.arrivals import ArrivalProcess
from pytest_tfserving.experiments.load_shape import CONSTANT, LoadShape
from pytest_tfserving.experiments.trace import CUTS, THIN, Trace, TraceFields
from pytest_tfserving.slo.expected_load import ExpectedLoad, Fall
from pytest_tfserving.slo.request_limits import RequestLimits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_tfserving.experiments.load_shape import Stage

_OF_ARRIVALS = ("cv", "burst_factor", "burst_s", "calm_s")
_MAY_BE_ZERO = {"users", "rate", "think_time_s", "pace_s", "seed", "grpc_channels", *_OF_ARRIVALS}
_WHOLE = {"users", "seed", "max_in_flight", "grpc_channels"}
_TOO_LARGE = 1e18
_NO_NUMBERS = {"name", "shape", "arrivals", "early_stop", "request_limits", "replay", "cut"}
SLOWEST, _FASTEST = 0.1, 100.0


class ProfileFields(TypedDict, total=False):
    """Fields of a `LoadProfile` by name, as a result has them; results of older versions can lack some."""

    name: Required[str]
    run_time_s: Required[float]
    users: Required[int]
    spawn_rate: Required[float]
    rate: float
    arrivals: str
    cv: float
    burst_factor: float
    burst_s: float
    calm_s: float
    seed: int
    max_in_flight: int
    grpc_channels: int
    shape: str
    replay: TraceFields | None
    speed: float
    cut: str
    think_time_s: float
    pace_s: float
    request_timeout_s: float
    max_failure_ratio: float
    max_lag_ms: float
    max_cpu_wait: float
    early_stop: bool
    request_limits: str


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """A closed loop of ``users``, or an open loop of ``rate`` requests a second.

    In a closed loop each user sends a request, waits for the response, pauses, and sends again. In an open
    loop each request starts when it is due, even if earlier requests have no response yet. A profile has
    either ``users`` or a ``rate``.

    Attributes:
        name: the profile's name.
        run_time_s: the longest duration of a run, in seconds.
        users: the number of users of a closed loop; 0 in an open loop.
        spawn_rate: how many users start in a second. With more ``users`` than this, the first
            ``users / spawn_rate`` seconds of a run are its ramp.
        rate: the requests a second of an open loop; 0 in a closed loop.
        arrivals: how an open loop spaces its requests: ``poisson``, ``constant``, ``gamma`` or ``mmpp``.
        cv: of ``gamma`` arrivals, the coefficient of variation of the gaps.
        burst_factor: of ``mmpp`` arrivals, the rate in a burst as a multiple of the rate between bursts.
        burst_s: of ``mmpp`` arrivals, the mean length of a burst, in seconds.
        calm_s: of ``mmpp`` arrivals, the mean time between two bursts, in seconds.
        seed: the seed of the arrivals.
        max_in_flight: an open loop does not send a request while this many wait for their response; the
            request then counts as failed.
        grpc_channels: how many connections to each replica the users of a load process share over gRPC; with
            0 each user has its own.
        shape: how the level, users or rate, changes over the run; ``constant`` for no change. The highest
            level of a shape is the profile's ``users``, or its ``rate`` if that is given. The levels of a
            ``day`` are scaled to it.
        replay: the trace whose requests are sent at their own times; None for another open loop. It sets the
            rate, and limits the run time.
        speed: how many times as fast a trace is replayed, from 0.1 to 100.
        cut: which requests a run sends that is shorter than its trace: ``thin`` keeps the course of the whole
            trace and its rates, ``shorten`` sends the first requests.
        think_time_s: the pause of a user after each response, in seconds; 0 for none.
        pace_s: the least time from a user's request to its next one, in seconds; 0 for none. The longer of
            think time and pace counts.
        request_timeout_s: a request without a response for this many seconds has failed.
        max_failure_ratio: the run is stopped if a larger share of its requests failed, from 0 to 1.
        max_lag_ms: the generator is in trouble if its event loop was late (p95) by more than this and by more
            than a tenth of the median latency. Verdicts allow for such trouble.
        max_cpu_wait: the generator is in trouble if it waited for a core, or stood still, for a larger share
            of the time, from 0 to 1.
        early_stop: the run ends as soon as every SLO is decided.
        request_limits: the longest latency of a good request, which goodput counts: ``200ms``, or by kind
            ``large: 400ms, *: 200ms``, also as a mapping; empty for no limits.

    Raises:
        ConfigurationError: if a value is not valid, or values contradict each other.
    """

    name: str
    run_time_s: float
    users: int = 0
    spawn_rate: float = 100.0
    rate: float = 0.0
    arrivals: str = "poisson"
    cv: float = 0.0
    burst_factor: float = 0.0
    burst_s: float = 0.0
    calm_s: float = 0.0
    seed: int = 1
    max_in_flight: int = 1000
    grpc_channels: int = 0
    shape: str = CONSTANT
    replay: Trace | None = None
    speed: float = 1.0
    cut: str = THIN
    think_time_s: float = 0.0
    pace_s: float = 0.0
    request_timeout_s: float = 30.0
    max_failure_ratio: float = 0.2
    max_lag_ms: float = 10.0
    max_cpu_wait: float = 0.02
    early_stop: bool = True
    request_limits: str = ""

    def __post_init__(self) -> None:
        for part in fields(self):
            if part.name not in _NO_NUMBERS:
                self._check(part.name)
        for name in ("max_failure_ratio", "max_cpu_wait"):
            if getattr(self, name) > 1:
                raise ConfigurationError(f"{name} is from 0 to 1, not {getattr(self, name)}.")
        if not isinstance(self.early_stop, bool):
            raise ConfigurationError(
                f"early_stop of a load profile is true or false, not {self.early_stop!r}."
            )
        object.__setattr__(self, "request_limits", str(RequestLimits.parse(self.request_limits)))
        self._take_level_of_shape()
        self._take_rate_of_trace()
        self._check_loop()
        if self.is_open and self.arrival_process.cycle_s > self.run_time_s:
            raise ConfigurationError(
                f"load profile {self.name!r} has bursts of {self.burst_s:g} s every "
                f"{self.burst_s + self.calm_s:g} s, and run_time_s is {self.run_time_s:g}; a run has room "
                "for one at least, better for ten."
            )

    def _check(self, name: str) -> None:
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _TOO_LARGE
        if not number or (name in _WHOLE and value != int(value)):
            kind = "whole number" if name in _WHOLE else "number"
            raise ConfigurationError(f"{name} of a load profile is a {kind}, not {value!r}.")
        if value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
            least = "0 or more" if name in _MAY_BE_ZERO else "more than 0"
            raise ConfigurationError(f"{name} of a load profile must be {least}, not {value:g}.")

    def _take_level_of_shape(self) -> None:
        """Set the users, or the rate if it is given, to the highest level of the shape."""
        shape = LoadShape.parse(self.shape)
        if not (highest := shape.highest):
            return
        level, highest = ("rate", highest) if self.rate else ("users", math.ceil(highest))
        given = getattr(self, level)
        if given and shape.is_scaled:
            return
        if given and given != highest:
            raise ConfigurationError(
                f"load profile {self.name!r} has {level} {given:g}, and the highest of its shape "
                f"{self.shape!r} is {highest:g}; give {level} {highest:g}, or another shape."
            )
        object.__setattr__(self, level, highest)

    def _take_rate_of_trace(self) -> None:
        """Set the rate to the mean of the trace at its speed, and end the run with the trace."""
        if not SLOWEST <= self.speed <= _FASTEST:
            raise ConfigurationError(
                f"speed of a load profile is from {SLOWEST:g} to {_FASTEST:g}, not {self.speed:g}."
            )
        if self.cut not in CUTS:
            raise ConfigurationError(f"cut of a load profile is one of {', '.join(CUTS)}, not {self.cut!r}.")
        if self.replay is None:
            return
        if not isinstance(self.replay, Trace):
            raise ConfigurationError(
                f"replay of a load profile is named in the experiments file, not by {self.replay!r}."
            )
        object.__setattr__(self, "rate", self.replay.mean_rps * self.speed)
        object.__setattr__(self, "run_time_s", min(self.run_time_s, self.replay.length_s / self.speed))

    def _check_loop(self) -> None:
        if bool(self.users) == bool(self.rate):
            both = f"has users {self.users} and rate {self.rate:g}" if self.users else "has neither"
            raise ConfigurationError(
                f"load profile {self.name!r} {both}; users make a closed loop, a rate makes an open one: "
                "give one of them."
            )
        if self.rate and (self.think_time_s or self.pace_s):
            raise ConfigurationError(
                f"load profile {self.name!r} sets both rate and think_time_s/pace_s; an open loop has no "
                "pauses: drop one of them."
            )
        if self.ramp_s >= self.run_time_s:
            raise ConfigurationError(
                f"load profile {self.name!r} never reaches its {self.users} users: at {self.spawn_rate:g} a "
                f"second they take {self.ramp_s:g} s, and run_time_s is {self.run_time_s:g}; "
                "raise run_time_s (--tfserving-run-time) or spawn_rate (--tfserving-spawn-rate)."
            )
        if self.is_open and self.rate * self.run_time_s < 1:
            raise ConfigurationError(
                f"load profile {self.name!r} never sends a request: {self.rate:g} a second for "
                f"{self.run_time_s:g} s; raise rate (--tfserving-rate) or run_time_s "
                "(--tfserving-run-time)."
            )

    @property
    def is_open(self) -> bool:
        """True for an open loop, in which requests start when they are due."""
        return self.rate > 0

    @property
    def is_constant(self) -> bool:
        """True if the level does not change once it is reached."""
        return self.shape == CONSTANT

    @property
    def has_plateau(self) -> bool:
        """True if the part of the run that is judged has one level."""
        return self.replay is None and LoadShape.parse(self.shape).kind in (CONSTANT, "steps")

    @property
    def arrival_process(self) -> ArrivalProcess:
        """Spacing of the requests of an open loop."""
        return ArrivalProcess(self.arrivals, self.seed, *(getattr(self, name) for name in _OF_ARRIVALS))

    def due_times(self) -> Iterator[float]:
        """Yield when each request of an open loop is due, in seconds since the run's start."""
        return self.arrival_process.due_times(self.stages)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Parts of the run with their levels."""
        return LoadShape.parse(self.shape).stages(self.rate or self.users, self.run_time_s)

    @property
    def expected(self) -> ExpectedLoad:
        """The parts of the profile that SLOs depend on."""
        falls = tuple(
            Fall(after.start_s, after.end_s)
            for before, peak, after in zip(self.stages, self.stages[1:], self.stages[2:], strict=False)
            if before.last < peak.first and peak.last > after.first
        )
        return ExpectedLoad(self.run_time_s, RequestLimits.parse(self.request_limits), falls)

    @property
    def judged_from_s(self) -> float:
        """Second at which the judged part of the run begins: the last step of steps, else 0."""
        return self.stages[-1].start_s if LoadShape.parse(self.shape).kind == "steps" else 0.0

    @property
    def ramp_s(self) -> float:
        """Seconds until every user of a closed loop runs."""
        return 0.0 if self.users <= self.spawn_rate or not self.is_constant else self.users / self.spawn_rate

    @property
    def highest_rate(self) -> float:
        """Highest rate of an open loop that lasts for a second or more; 0 in a closed loop."""
        if self.replay:
            return self.replay.highest_rps * self.speed
        return self.rate * self.arrival_process.highest_factor

    def as_fields(self) -> ProfileFields:
        """Return the fields by name, for reports: of a trace's path only the name, and no empty limits.

        Older results have no limits.
        """
        values = asdict(self)
        if self.replay:
            values["replay"]["path"] = PurePath(self.replay.path).name
        if not self.request_limits:
            del values["request_limits"]
        return cast("ProfileFields", values)

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> Self:
        """Return the profile with the fields that `dataclasses.asdict` gave."""
        replay = values.get("replay")
        return cls(**{**values, "replay": Trace(**replay) if replay else None})

    def with_overrides(self, overrides: Mapping[str, object]) -> LoadProfile:
        """Return the profile with some fields replaced; new users replace a rate, and a new rate users.

        Raises:
            ConfigurationError: if a field is unknown, a value is not valid, or fields contradict each other.
        """
        valid = [part.name for part in fields(self) if part.name != "name"]
        for name in overrides:
            if name not in valid:
                raise ConfigurationError(f"a load profile has no {name!r}; {nearest(name, valid)}.")
        given_way = {
            **_other_loop(self, overrides),
            **_other_arrivals(overrides),
            **_other_speed(self, overrides),
        }
        changes: dict[str, Any] = {**given_way, **overrides}
        return replace(self, **changes) if overrides else self


def _other_loop(profile: LoadProfile, overrides: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of ``profile`` that are reset, because ``overrides`` contradict them."""
    if overrides.get("replay"):
        return {"users": 0, "think_time_s": 0.0, "pace_s": 0.0, "shape": CONSTANT}
    if "rate" in overrides and "users" not in overrides:
        given_way: dict[str, object] = {"users": 0, "think_time_s": 0.0, "pace_s": 0.0}
    elif "users" in overrides and "rate" not in overrides:
        given_way = {"rate": 0.0}
    elif "shape" in overrides and (highest := LoadShape.parse(str(overrides["shape"])).highest):
        given_way = {"rate": highest} if profile.is_open else {"users": 0}
    else:
        return {}
    given_way |= {"replay": None, "speed": 1.0} if profile.replay else {}
    is_scaled = LoadShape.parse(profile.shape).is_scaled and "shape" not in overrides
    return given_way if is_scaled else {"shape": CONSTANT, **given_way}


def _other_arrivals(overrides: Mapping[str, object]) -> dict[str, object]:
    """Return the settings of the arrivals that are reset, because ``overrides`` has other arrivals."""
    return dict.fromkeys(_OF_ARRIVALS, 0.0) if "arrivals" in overrides else {}


def _other_speed(profile: LoadProfile, overrides: Mapping[str, object]) -> dict[str, object]:
    """Return the run time of a whole trace, if ``overrides`` has another speed and the run was as long."""
    trace = profile.replay
    if trace is None or "speed" not in overrides or profile.run_time_s < trace.length_s / profile.speed:
        return {}
    return {"run_time_s": trace.length_s / SLOWEST}


PROFILES = {
    profile.name: profile
    for profile in (
        LoadProfile("study", users=150, spawn_rate=1, think_time_s=1, run_time_s=300, early_stop=False),
        LoadProfile("quick", users=4, spawn_rate=4, run_time_s=30),
        LoadProfile("smoke", users=2, spawn_rate=2, run_time_s=3),
    )
}


# The profile of an experiment that names none.
DEFAULT_PROFILE = "quick"


def find_profile(name: str, own: dict[str, LoadProfile] | None = None) -> LoadProfile:
    """Return a profile by its name, from ``own`` profiles or the built-in ones.

    Raises:
        ConfigurationError: if no profile has this name.
    """
    known = {**PROFILES, **(own or {})}
    if name not in known:
        raise ConfigurationError(f"no load profile {name!r}; {nearest(name, sorted(known))}.")
    return known[name]
