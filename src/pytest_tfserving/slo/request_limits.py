"""The limits of single requests, which goodput counts by."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pytest_tfserving.errors import ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The key for the limit of all kinds that have none of their own.
OTHERS = "*"
EXAMPLE = "200ms, or by kind {large: 400ms, '*': 200ms}"
_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_LIMIT = re.compile(r"([\d.]+)\s*(us|ms|s)")


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The longest latency of a good request, by kind.

    Attributes:
        by_kind: a kind and its limit in ms each; the limit of `OTHERS` is that of all other kinds. A request
            of a kind without a limit is good if it succeeds.
    """

    by_kind: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read ``200ms``, ``large: 400ms, *: 200ms``, or a mapping of kinds to limits; empty for no limits.

        Raises:
            ConfigurationError: if ``value`` is neither, or has a limit that is not more than 0.
        """
        parts = value.items() if isinstance(value, dict) else _split(value)
        found = tuple((_kind(kind), _limit_ms(limit)) for kind, limit in parts)
        if len(dict(found)) < len(found):
            raise ConfigurationError(f"request_limits {shown(value)} has two limits for one kind.")
        return cls(found)

    def __bool__(self) -> bool:
        return bool(self.by_kind)

    def __str__(self) -> str:
        limits = [f"{kind}: {limit_ms:.10g}ms" for kind, limit_ms in self.by_kind]
        return ", ".join(limits).removeprefix(f"{OTHERS}: ") if len(limits) == 1 else ", ".join(limits)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that have a limit of their own."""
        return tuple(kind for kind, _ in self.by_kind if kind != OTHERS)

    def of(self, kind: str) -> float:
        """Return the limit of a kind in ms; infinite without one."""
        limits: Mapping[str, float] = dict(self.by_kind)
        return limits.get(kind, limits.get(OTHERS, math.inf))


def _split(value: object) -> Iterator[tuple[object, object]]:
    """Yield the kinds and the limits of a text."""
    if not isinstance(value, str):
        raise ConfigurationError(f"request_limits is {EXAMPLE}, not {shown(value)}.")
    for part in filter(None, value.split(",")):
        kind, _, limit = part.rpartition(":")
        yield kind.strip() or OTHERS, limit


def _kind(value: object) -> str:
    if isinstance(value, str) and value and not {",", "{", "}"} & {*value}:
        return value
    raise ConfigurationError(f"request_limits: {shown(value)} is not the name of a kind of requests.")


def _limit_ms(value: object) -> float:
    match = _LIMIT.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        limit_ms = float(match[1]) * _UNITS[match[2]] if match else 0.0
    except ValueError:
        limit_ms = 0.0
    if not 0 < limit_ms < math.inf:
        raise ConfigurationError(
            f"request_limits: {shown(value)} is not a latency of more than 0 with its unit; write {EXAMPLE}."
        )
    return limit_ms
