"""Shapes: the level of load, users or requests a second, over the time of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_tfserving.errors import ConfigurationError

CONSTANT = "constant"
DAY = "day "
EXAMPLES = (
    "'constant', 'ramp 1:100', 'steps 1:32:x2', 'steps 10:50:+10', 'spike 10:100' or 'day 12:8:20:60:45'"
)
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_RANGE = re.compile(rf"(ramp|spike) {_NUMBER}:{_NUMBER}")
_STEPS = re.compile(rf"steps {_NUMBER}:{_NUMBER}:([x+]){_NUMBER}")
_LEVELS = re.compile(rf"{_NUMBER}(?::{_NUMBER})+")
_MOST_STEPS = 100
# A level for every five minutes of a day.
MOST_LEVELS = 288


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run, in which the level changes linearly from ``first`` to ``last``."""

    start_s: float
    end_s: float
    first: float
    last: float

    def level(self, at_s: float) -> float:
        """Return the level at ``at_s``, a second of the run within the stage."""
        share = (at_s - self.start_s) / (self.end_s - self.start_s)
        return self.first + (self.last - self.first) * share


@dataclass(frozen=True, slots=True)
class LoadShape:
    """A shape and its levels.

    Attributes:
        kind: ``constant``, ``ramp``, ``steps``, ``spike`` or ``day``.
        levels: both ends of a ramp, each level of steps or of a day, low and high level of a spike; empty for
            a constant.
    """

    kind: str
    levels: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> LoadShape:
        """Read ``constant``, ``ramp 1:100``, ``steps 1:32:x2``, ``spike 10:100`` or ``day 12:8:20:60``.

        Raises:
            ConfigurationError: if ``text`` is not such a shape.
        """
        if text == CONSTANT:
            return cls(CONSTANT, ())
        text = str(text)
        if match := _RANGE.fullmatch(text):
            return cls(match[1], (float(match[2]), float(match[3])))
        if match := _STEPS.fullmatch(text):
            return cls("steps", _steps(text, float(match[1]), float(match[2]), match[3], float(match[4])))
        if text.startswith(DAY):
            return cls("day", _day(text))
        raise ConfigurationError(f"{text!r} is not a shape of load; write it as {EXAMPLES}.")

    @property
    def is_scaled(self) -> bool:
        """True if the levels are relative, and the highest of them is the profile's level."""
        return self.kind == "day"

    @property
    def highest(self) -> float:
        """Highest level; 0 for a constant shape, whose level is the profile's."""
        return max(self.levels, default=0.0)

    def stages(self, level: float, run_time_s: float) -> tuple[Stage, ...]:
        """Return the stages of a run of ``run_time_s``, in which ``level`` is the highest level."""
        if self.kind == CONSTANT:
            return (Stage(0.0, run_time_s, level, level),)
        if self.kind == "ramp":
            return (Stage(0.0, run_time_s, *self.levels),)
        if self.kind == "spike":
            flat = (*self.levels, self.levels[0])
        else:
            factor = level / self.highest if self.is_scaled else 1.0
            flat = tuple(each * factor for each in self.levels)
        each_s = run_time_s / len(flat)
        return tuple(Stage(at * each_s, (at + 1) * each_s, value, value) for at, value in enumerate(flat))


def _steps(text: str, first: float, last: float, sign: str, by: float) -> tuple[float, ...]:
    if not 0 < first < last or by <= (1 if sign == "x" else 0):
        raise ConfigurationError(
            f"{text!r} never gets from {first:g} to {last:g}; steps go up, from more than 0, "
            "as 'steps 1:32:x2'."
        )
    levels = [first]
    while levels[-1] < last and len(levels) <= _MOST_STEPS:
        levels.append(min(levels[-1] * by if sign == "x" else levels[-1] + by, last))
    if len(levels) > _MOST_STEPS:
        raise ConfigurationError(f"{text!r} are more than {_MOST_STEPS} steps; take larger ones.")
    return tuple(levels)


def _day(text: str) -> tuple[float, ...]:
    numbers = text.removeprefix(DAY)
    if not _LEVELS.fullmatch(numbers):
        hint = "; a file is named in the experiments file" if numbers.endswith(".csv") else ""
        raise ConfigurationError(
            f"{text[:80]!r} is not a day's course of load; write two or more levels, as "
            f"'day 12:8:20:60:45'{hint}."
        )
    levels = tuple(map(float, numbers.split(":")))
    if len(levels) > MOST_LEVELS or not any(levels):
        wrong = (
            f"has {len(levels)} levels, more than {MOST_LEVELS}" if any(levels) else "has no level above 0"
        )
        raise ConfigurationError(f"the day's course of load {text[:80]!r} {wrong}.")
    return levels


def level_at(stages: tuple[Stage, ...], at_s: float) -> float:
    """Return the level at a second of the run; after the end of the run, the last level."""
    stage = next((each for each in stages if at_s < each.end_s), None)
    return stage.level(at_s) if stage else stages[-1].last
