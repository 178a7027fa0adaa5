"""How the level of load, users or requests a second, goes over the time of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_tfserving.errors import ConfigurationError

CONSTANT = "constant"
EXAMPLES = "'constant', 'ramp 1:100', 'steps 1:32:x2', 'steps 10:50:+10' or 'spike 10:100'"
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_RANGE = re.compile(rf"(ramp|spike) {_NUMBER}:{_NUMBER}")
_STEPS = re.compile(rf"steps {_NUMBER}:{_NUMBER}:([x+]){_NUMBER}")
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run, in which the level goes straight from ``first`` to ``last``."""

    start_s: float
    end_s: float
    first: float
    last: float

    def level(self, at_s: float) -> float:
        """The level at a time within the stage."""
        share = (at_s - self.start_s) / (self.end_s - self.start_s)
        return self.first + (self.last - self.first) * share


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape and its levels: of a ramp both ends, of steps each one, of a spike low and high."""

    kind: str
    levels: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read ``constant``, ``ramp 1:100``, ``steps 1:32:x2``, ``steps 10:50:+10`` or ``spike 10:100``.

        Raises:
            ConfigurationError: for anything else.
        """
        if text == CONSTANT:
            return cls(CONSTANT, ())
        text = str(text)
        if match := _RANGE.fullmatch(text):
            return cls(match[1], (float(match[2]), float(match[3])))
        if match := _STEPS.fullmatch(text):
            return cls("steps", _steps(text, float(match[1]), float(match[2]), match[3], float(match[4])))
        raise ConfigurationError(f"{text!r} is not a shape of load; write it as {EXAMPLES}.")

    @property
    def highest(self) -> float:
        """The highest level; 0 of a constant one, whose level is the profile's."""
        return max(self.levels, default=0.0)

    def stages(self, level: float, run_time_s: float) -> tuple[Stage, ...]:
        """The parts of a run of ``run_time_s``; a constant one stays at ``level``."""
        if self.kind == CONSTANT:
            return (Stage(0.0, run_time_s, level, level),)
        if self.kind == "ramp":
            return (Stage(0.0, run_time_s, *self.levels),)
        flat = self.levels if self.kind == "steps" else (*self.levels, self.levels[0])
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


def level_at(stages: tuple[Stage, ...], at_s: float) -> float:
    """The level at a time of the run; after its end the last one."""
    stage = next((each for each in stages if at_s < each.end_s), None)
    return stage.level(at_s) if stage else stages[-1].last
