"""Search for the largest load that still meets its SLOs: doubling, bisection, confirmation.

The search gets a function that tries one load and returns whether the load met the SLOs. A state file keeps
the loads tried so far, so that an interrupted search can go on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.report.formatting import curve_lines
from pytest_tfserving.report.json import finite, number
from pytest_tfserving.statistics.intervals import interval_of
from pytest_tfserving.system.own_file import read_own, write_own

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.report.schema import ProbeData
    from pytest_tfserving.text.json_value import JsonObject

# The load found is confirmed by a new run, and by a run at this fraction of it.
_BELOW = 0.9
_MOST_PROBES = 40
_MOST_HALVINGS = 10


@dataclass(frozen=True, slots=True)
class Trial:
    """A load that was tried.

    Attributes:
        load: requests a second, users, or another field of the load profile.
        holds: whether the load met every SLO.
        rps: successes a second; NaN if unknown.
        p95_ms: 95th percentile of the latencies; NaN if unknown.
        reason: the first SLO that was not met; empty if all were met.
        rps_interval: 95 % confidence interval of ``rps``; None if unknown.
        p95_interval: 95 % confidence interval of ``p95_ms``; None if unknown.
    """

    load: float
    holds: bool
    rps: float = math.nan
    p95_ms: float = math.nan
    reason: str = ""
    rps_interval: tuple[float, float] | None = None
    p95_interval: tuple[float, float] | None = None

    def as_dict(self) -> ProbeData:
        """Return the fields as plain values."""
        return {
            "load": self.load,
            "holds": self.holds,
            "rps": self.rps,
            "p95_ms": self.p95_ms,
            "reason": self.reason,
            "rps_interval": self.rps_interval,
            "p95_interval": self.p95_interval,
        }

    @classmethod
    def from_dict(cls, values: ProbeData) -> Trial:
        """Return the trial with these fields; None stands for a number that is not known."""
        return cls(
            load=values["load"],
            holds=values["holds"],
            rps=number(values["rps"]),
            p95_ms=number(values["p95_ms"]),
            reason=values["reason"],
            rps_interval=interval_of(values["rps_interval"]),
            p95_interval=interval_of(values["p95_interval"]),
        )


@dataclass(frozen=True)
class SearchResult:
    """The outcome of a search: ``knee`` is the largest load that met the SLOs when confirmed; 0 if none did.

    ``confirmed`` says whether the first load found met the SLOs twice, and a load a tenth lower too.
    """

    knee: float
    confirmed: bool
    probes: tuple[Trial, ...]

    @property
    def curve(self) -> list[Trial]:
        """The loads that were tried, the smallest first."""
        return sorted(self.probes, key=lambda probe: probe.load)

    def table(self) -> str:
        """Return a text with a line for each load that was tried, and the outcome."""
        return "".join(
            f"{line}\n" for line in curve_lines([probe.as_dict() for probe in self.probes], str(self))
        )

    def __str__(self) -> str:
        if not self.knee:
            return f"no load held: not even {self.curve[0].load:g} ({self.curve[0].reason})"
        sure = "confirmed" if self.confirmed else "not confirmed: it did not hold twice"
        return f"{self.knee:g} is the largest load that held, {sure}, after {len(self.probes)} probes"


@dataclass
class Search:
    """A search for the largest load that meets SLOs.

    Attributes:
        start: first load to try.
        precision: largest gap to the next load that fails, as a fraction.
        most: largest load to try.
        whole: whether loads are whole numbers, as users are.
        name: identity of the search, so that a state file is not used for another search.
        probes: loads tried so far.

    Raises:
        ConfigurationError: for a start, a precision or a largest load that does not fit.
    """

    start: float
    precision: float = 0.05
    most: float = math.inf
    whole: bool = False
    name: str = ""
    probes: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 < self.start < math.inf:
            raise ConfigurationError(f"a search starts at a load above 0, not at {self.start!r}.")
        if not 0 < self.precision < 1:
            raise ConfigurationError(f"a search's precision is between 0 and 1, not {self.precision!r}.")
        if self.most < self.start:
            raise ConfigurationError(
                f"a search's most, {self.most:g}, is below the load it starts at, {self.start:g}."
            )

    def run(self, attempt: Callable[[float], Trial], state: Path | None = None) -> SearchResult:
        """Try loads until the largest one that meets the SLOs is known.

        Args:
            attempt: tries a load and returns the outcome.
            state: a file that keeps the loads tried; loads in the file are not tried again.

        Raises:
            ConfigurationError: when ``state`` cannot be read or is from another search.
        """
        self.probes, self._attempt, self._state = [], attempt, state
        self._known = _read(state, self._key()) if state else []
        low, high = self._doubled()
        while low and (middle := self._between(low, high)) and len(self.probes) < _MOST_PROBES:
            low, high = (middle, high) if self._holds(middle) else (low, middle)
        return self._confirmed(low)

    def _doubled(self) -> tuple[float, float]:
        """Return the last load that held and the first that did not, by factors of 2 from the start."""
        load = self._rounded(self.start)
        if self._holds(load):
            while load < self.most:
                low, load = load, min(2 * load, self.most)
                if not self._holds(load):
                    return low, load
            return load, load
        for _ in range(_MOST_HALVINGS):
            high, load = load, self._rounded(load / 2)
            if load in (0, high):
                break
            if self._holds(load):
                return load, high
        return 0.0, load

    def _between(self, low: float, high: float) -> float:
        """Return the load to try next; 0 if ``low`` and ``high`` are close enough."""
        middle = self._rounded((low + high) / 2)
        return 0.0 if high <= low * (1 + self.precision) or middle in (low, high) else middle

    def _confirmed(self, knee: float) -> SearchResult:
        """Try ``knee`` again, and a load a tenth lower, which counts if ``knee`` does not hold again."""
        if not knee:
            return SearchResult(0.0, confirmed=False, probes=tuple(self.probes))
        again, below = self._holds(knee), self._rounded(_BELOW * knee)
        if not below or below == knee:
            return SearchResult(knee if again else 0.0, confirmed=again, probes=tuple(self.probes))
        held = self._holds(below)
        found = knee if again and held else below if held else 0.0
        return SearchResult(found, confirmed=again and held, probes=tuple(self.probes))

    def _holds(self, load: float) -> bool:
        known = self._known.pop(0) if self._known else None
        if known is None or known.load != load:
            self._known = []
            known = self._attempt(load)
        self.probes.append(known)
        if self._state:
            _write(self._state, self._key(), [*self.probes, *self._known])
        return known.holds

    def _rounded(self, load: float) -> float:
        return float(math.floor(load)) if self.whole else load

    def _key(self) -> JsonObject:
        most = None if self.most == math.inf else self.most
        return {
            "of": self.name,
            "start": self.start,
            "precision": self.precision,
            "most": most,
            "whole": self.whole,
        }


def _read(path: Path, key: JsonObject) -> list[Trial]:
    content = read_own(path, "state of a search")
    if content is None:
        return []
    if content.get("search") != key:
        raise ConfigurationError(f"{path} is the state of another search; remove it, or give another file.")
    return [Trial.from_dict(probe) for probe in cast("list[ProbeData]", content["probes"])]


def _write(path: Path, key: JsonObject, probes: list[Trial]) -> None:
    write_own(path, {"search": key, "probes": [finite(probe.as_dict()) for probe in probes]})
