"""Payloads that are more than a name or a path: a file with options, and generated requests. Frozen data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, nearest, shown

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

_UNIFORM, _NORMAL, _LOG = "uniform", "normal", "log"
_NAMES = [_UNIFORM, _NORMAL, _LOG]
# Larger numbers lose their whole part, or overflow.
_MOST = 1e15


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of numbers.

    Attributes:
        name: ``uniform`` and ``log`` (uniform in the logarithm) from ``first`` to ``second``, or ``normal``
            with the mean ``first`` and the standard deviation ``second``.
        first: the first parameter.
        second: the second parameter.
    """

    name: str
    first: float
    second: float

    @classmethod
    def parse(cls, raw: object) -> Distribution:
        """Read ``8``, ``[1, 8]`` for a uniform distribution, or ``{normal: [0, 1]}``.

        Raises:
            ConfigurationError: for any other value.
        """
        if isinstance(raw, dict):
            if len(raw) != 1:
                raise ConfigurationError(
                    f"a distribution is a single one of {', '.join(_NAMES)}, not {shown(raw)}."
                )
            ((name, ends),) = raw.items()
            if name not in _NAMES:
                raise ConfigurationError(
                    f"{shown(name)} is not a distribution; {nearest(str(name), _NAMES)}."
                )
        else:
            name, ends = _UNIFORM, raw
        first, second = ends if isinstance(ends, list) and len(ends) == 2 else (ends, ends)  # noqa: PLR2004 - a pair
        if not (_is_number(first) and _is_number(second)):
            raise ConfigurationError(
                f"{shown(raw)} is not a distribution; write a number, [1, 8], or {{normal: [0, 1]}}."
            )
        found = cls(name, float(first), float(second))
        found._check(raw)
        return found

    def _check(self, raw: object) -> None:
        if self.name == _NORMAL:
            wrong = "its standard deviation is below 0" if self.second < 0 else ""
        else:
            wrong = "its first number is above the second" if self.first > self.second else ""
            if self.name == _LOG and self.first <= 0:
                wrong = "its numbers must be above 0"
        if wrong:
            raise ConfigurationError(f"{shown(raw)} is not a distribution: {wrong}.")

    def draw(self, chance: random.Random) -> float:
        """Return a number."""
        if self.name == _NORMAL:
            return chance.gauss(self.first, self.second)
        if self.name == _LOG:
            return math.exp(chance.uniform(math.log(self.first), math.log(self.second)))
        return chance.uniform(self.first, self.second)

    def draw_size(self, chance: random.Random) -> int:
        """Return a whole number of at least 1; of a uniform distribution each one is as likely."""
        if self.name == _UNIFORM:
            return max(chance.randint(round(self.first), round(self.second)), 1)
        return max(round(self.draw(chance)), 1)


@dataclass(frozen=True, slots=True)
class GeneratedKind:
    """A kind of generated requests.

    Attributes:
        weight: how often requests of this kind are sent, relative to the other kinds.
        rows: the number of rows of a request.
        sizes: the size of open axes behind the first one, the same for all inputs of a request; None for the
            size that the model was found to take.
        values: the values of inputs, by the input's name; others are like those that the model was found to
            take.
    """

    weight: float = 1.0
    rows: Distribution = Distribution(_UNIFORM, 1, 1)
    sizes: Distribution | None = None
    values: Mapping[str, Distribution] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GeneratedPayload:
    """Requests generated from a signature of the model.

    Attributes:
        count: the number of requests of each kind.
        kinds: the kinds by their names; a single one without a name is called as its signature.
        signature: the signature; empty for the first one that a request was found for.
        seed: the seed of all that is random.
    """

    count: int
    kinds: Mapping[str, GeneratedKind]
    signature: str = ""
    seed: int = 1

    def __str__(self) -> str:
        kinds = ", ".join(filter(None, self.kinds))
        return f"{self.count} generated requests{f' of each kind: {kinds}' if kinds else ''}"


@dataclass(frozen=True, slots=True)
class FilePayload:
    """A payload set in a file or folder, with options.

    Attributes:
        path: the path.
        signature: the signature of requests that do not name one; empty for the default.
        weights: how often requests of a kind are sent, relative to the other kinds, by the kind's name.
    """

    path: str
    signature: str = ""
    weights: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.path


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST
