"""Load profiles: how requests come. Frozen data, no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.load.arrivals import DISTRIBUTIONS
from pytest_tfserving.load.shape import CONSTANT, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.load.shape import Stage

_MAY_BE_ZERO = {"users", "rate", "think_time_s", "pace_s", "seed", "grpc_channels"}
_WHOLE = {"users", "seed", "max_in_flight", "grpc_channels"}
_TOO_LARGE = 1e18
_NO_NUMBERS = {"name", "shape", "arrivals", "early_stop"}


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """How requests come: a closed loop of ``users``, or an open loop of ``rate`` requests a second.

    In a closed loop each user sends, waits for the answer, and sends again after ``think_time_s``, or
    ``pace_s`` after it last began, whichever is later. ``spawn_rate`` is in users a second; a run's first
    ``users / spawn_rate`` seconds are its ramp. In an open loop requests start when they are due, whatever
    becomes of those before: evenly or as a Poisson process (``arrivals``, with a ``seed``), unless
    ``max_in_flight`` wait for their answers. ``shape`` is how the level, users or rate, goes over the run;
    its highest is ``users`` or ``rate``; ``users`` need not be given then. Over gRPC the users of a load
    process share ``grpc_channels`` connections to each replica, or with 0 have one each.

    The run ends when every SLO is decided, unless ``early_stop`` is false, and when more than
    ``max_failure_ratio`` (0 to 1) of the requests failed. Verdicts have to allow for the generator's trouble
    when its event loop was late (p95) by more than ``max_lag_ms`` and a tenth of the median, and when it
    waited for a core, or stood still, for more than ``max_cpu_wait`` (0 to 1) of the time.
    """

    name: str
    run_time_s: float
    users: int = 0
    spawn_rate: float = 100.0
    rate: float = 0.0
    arrivals: str = "poisson"
    seed: int = 1
    max_in_flight: int = 1000
    grpc_channels: int = 0
    shape: str = CONSTANT
    think_time_s: float = 0.0
    pace_s: float = 0.0
    request_timeout_s: float = 30.0
    max_failure_ratio: float = 0.2
    max_lag_ms: float = 10.0
    max_cpu_wait: float = 0.02
    early_stop: bool = True

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
        if self.arrivals not in DISTRIBUTIONS:
            raise ConfigurationError(
                f"arrivals of a load profile is one of {', '.join(DISTRIBUTIONS)}, not {self.arrivals!r}."
            )
        self._take_level_of_shape()
        self._check_loop()

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
        """The highest level of a shape is the profile's users, or its rate if that is given."""
        highest = Shape.parse(self.shape).highest
        if not highest:
            return
        level = "rate" if self.rate else "users"
        given = getattr(self, level)
        if given and given != highest:
            raise ConfigurationError(
                f"load profile {self.name!r} has {level} {given:g}, and the highest of its shape "
                f"{self.shape!r} is {highest:g}; give {level} {highest:g}, or another shape."
            )
        object.__setattr__(self, level, highest if level == "rate" else math.ceil(highest))

    def _check_loop(self) -> None:
        if bool(self.users) == bool(self.rate):
            both = f"has users {self.users} and rate {self.rate:g}" if self.users else "has neither"
            raise ConfigurationError(
                f"load profile {self.name!r} {both}; users make a closed loop, a rate makes an open one: "
                "give one of them."
            )
        if self.rate and (self.think_time_s or self.pace_s):
            raise ConfigurationError(
                f"load profile {self.name!r} has a rate, which no user's think_time_s or pace_s changes; "
                "drop one of them."
            )
        if self.ramp_s >= self.run_time_s:
            raise ConfigurationError(
                f"load profile {self.name!r} never reaches its {self.users} users: at {self.spawn_rate:g} a "
                f"second they take {self.ramp_s:g} s, and run_time_s is {self.run_time_s:g}; "
                "raise the run time or the spawn rate."
            )
        if self.is_open and self.rate * self.run_time_s < 1:
            raise ConfigurationError(
                f"load profile {self.name!r} never sends a request: {self.rate:g} a second for "
                f"{self.run_time_s:g} s; raise the rate or the run time."
            )

    @property
    def is_open(self) -> bool:
        """Whether requests start when they are due, not when others have been answered."""
        return self.rate > 0

    @property
    def is_constant(self) -> bool:
        """Whether the level stays what it is once it is reached."""
        return self.shape == CONSTANT

    @property
    def has_plateau(self) -> bool:
        """Whether the part of the run that is judged has one level."""
        return Shape.parse(self.shape).kind in (CONSTANT, "steps")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The parts of the run and their levels."""
        return Shape.parse(self.shape).stages(self.rate or self.users, self.run_time_s)

    @property
    def judged_from_s(self) -> float:
        """Where the part of the run begins that is judged: of steps it is the last one."""
        return self.stages[-1].start_s if Shape.parse(self.shape).kind == "steps" else 0.0

    @property
    def ramp_s(self) -> float:
        """Seconds until every user of a closed loop runs."""
        return 0.0 if self.users <= self.spawn_rate or not self.is_constant else self.users / self.spawn_rate

    def with_overrides(self, overrides: Mapping[str, Any]) -> LoadProfile:
        """The same profile with some fields replaced; users take the place of a rate, and a rate of users.

        Raises:
            ConfigurationError: for an unknown field, one whose value does not fit, and fields that
                contradict each other.
        """
        valid = [part.name for part in fields(self) if part.name != "name"]
        for name in overrides:
            if name not in valid:
                raise ConfigurationError(f"a load profile has no {name!r}; {nearest(name, valid)}.")
        return replace(self, **(_other_loop(self, overrides) | dict(overrides))) if overrides else self


def _other_loop(profile: LoadProfile, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``profile`` gives way to ``overrides``."""
    if "rate" in overrides and "users" not in overrides:
        given_way = {"users": 0, "think_time_s": 0.0, "pace_s": 0.0}
    elif "users" in overrides and "rate" not in overrides:
        given_way = {"rate": 0.0}
    elif "shape" in overrides and (highest := Shape.parse(overrides["shape"]).highest):
        given_way = {"rate": highest} if profile.is_open else {"users": 0}
    else:
        return {}
    return {"shape": CONSTANT, **given_way}


PROFILES = {
    profile.name: profile
    for profile in (
        LoadProfile("study", users=150, spawn_rate=1, think_time_s=1, run_time_s=300, early_stop=False),
        LoadProfile("quick", users=4, spawn_rate=4, run_time_s=30),
        LoadProfile("smoke", users=2, spawn_rate=2, run_time_s=3),
    )
}


def find_profile(name: str, own: dict[str, LoadProfile] | None = None) -> LoadProfile:
    """A profile by its name, from ``own`` ones or the built-in ones.

    Raises:
        ConfigurationError: for an unknown name.
    """
    known = {**PROFILES, **(own or {})}
    if name not in known:
        raise ConfigurationError(f"no load profile {name!r}; {nearest(name, sorted(known))}.")
    return known[name]
