"""Load profiles: how requests come. Frozen data, no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from pytest_tfserving.errors import ConfigurationError, nearest

_MAY_BE_ZERO = {"think_time_s"}


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """A closed loop: each user sends, waits for the answer, thinks, and sends again.

    ``spawn_rate`` is in users a second; a run's first ``users / spawn_rate`` seconds are its ramp.
    The run ends when every SLO is decided, unless ``early_stop`` is false, and when more than
    ``max_failure_ratio`` (0 to 1) of the requests failed. It is INVALID when the generator's event loop was
    late (p95) by more than ``max_lag_ms`` and a tenth of the median.
    """

    name: str
    users: int
    spawn_rate: float
    run_time_s: float
    think_time_s: float = 0.0
    request_timeout_s: float = 30.0
    max_failure_ratio: float = 0.2
    max_lag_ms: float = 10.0
    early_stop: bool = True

    def __post_init__(self) -> None:
        for part in fields(self):
            if part.name == "early_stop":
                if not isinstance(self.early_stop, bool):
                    raise ConfigurationError(
                        f"early_stop of a load profile is true or false, not {self.early_stop!r}."
                    )
            elif part.name != "name":
                self._check(part.name, part.type is int or part.type == "int")
        if self.max_failure_ratio > 1:
            raise ConfigurationError(f"max_failure_ratio is from 0 to 1, not {self.max_failure_ratio}.")
        if self.ramp_s >= self.run_time_s:
            raise ConfigurationError(
                f"load profile {self.name!r} never reaches its {self.users} users: at {self.spawn_rate:g} a "
                f"second they take {self.ramp_s:g} s, and run_time_s is {self.run_time_s:g}; "
                "raise the run time or the spawn rate."
            )

    def _check(self, name: str, whole: bool) -> None:  # noqa: FBT001 - private
        value = getattr(self, name)
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or (whole and value != int(value)):
            kind = "whole number" if whole else "number"
            raise ConfigurationError(f"{name} of a load profile is a {kind}, not {value!r}.")
        if value < 0 or (value == 0 and name not in _MAY_BE_ZERO):
            least = "0 or more" if name in _MAY_BE_ZERO else "more than 0"
            raise ConfigurationError(f"{name} of a load profile must be {least}, not {value:g}.")

    @property
    def ramp_s(self) -> float:
        """Seconds until every user runs."""
        return 0.0 if self.users <= self.spawn_rate else self.users / self.spawn_rate

    def with_overrides(self, overrides: dict[str, Any]) -> LoadProfile:
        """The same profile with some fields replaced.

        Raises:
            ConfigurationError: for an unknown field, or one whose value does not fit.
        """
        valid = [part.name for part in fields(self) if part.name != "name"]
        for name in overrides:
            if name not in valid:
                raise ConfigurationError(f"a load profile has no {name!r}; {nearest(name, valid)}.")
        return replace(self, **overrides) if overrides else self


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
