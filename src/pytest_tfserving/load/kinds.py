"""Kinds of requests: those of a payload set, those of a locustfile, and the figures of a run by kind."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.statistics.latencies import Latencies

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]

# Locust names a request by its path if the locustfile does not, so there can be any number of names.
MOST_NAMES = 100
OTHER_NAMES = "other names"
# The number of the kind of a record whose name has not come yet.
_NO_NAME_YET = 0


class Kinds:
    """The kinds of the requests of a run.

    The last number of a record says of which kind the request is. In a payload set it is the index of the
    body, and all kinds are known before load begins. In a locustfile it stands for the name of the request,
    and load processes say a new name while load runs.

    Args:
        names: the names of kinds that are known before load begins.
        of_bodies: the number of the kind of each body; empty if all requests are of one kind.
        grows: whether load processes say names while load runs.
    """

    def __init__(
        self, names: Iterable[str] = ("",), of_bodies: Iterable[int] = (), *, grows: bool = False
    ) -> None:
        self._numbers = {name: number for number, name in enumerate(names)}
        self._of_bodies = array("q", of_bodies)
        self._grows = grows
        self._known_before = len(self._numbers)

    @classmethod
    def named(cls, kinds: Sequence[str]) -> Self:
        """Return the kinds of a payload set, given the name of each body's kind."""
        numbers = {name: number for number, name in enumerate(dict.fromkeys(kinds))}
        return cls(numbers, [numbers[name] for name in kinds] if len(numbers) > 1 else ())

    @classmethod
    def of_locustfile(cls, named: Iterable[str]) -> Self:
        """Return the kinds of a locustfile's requests, to which SLOs and limits give ``named`` kinds."""
        return cls(dict.fromkeys(["", *named]), grows=True)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all kinds; one name, perhaps an empty one, if all requests are of one kind."""
        return tuple(self._numbers)

    @property
    def reported(self) -> dict[str, int]:
        """The kinds that have figures of their own, with their numbers; empty if there is only one kind."""
        if not self._grows:
            return self._numbers if len(self._numbers) > 1 else {}
        found = {name: number for name, number in self._numbers.items() if self.has_come(name)}
        is_named = self._known_before > _NO_NAME_YET + 1
        return found if len(found) > 1 or is_named else {}

    def has_come(self, kind: str) -> bool:
        """Return whether a request can be of a kind: a payload set has it, or a load process has said it."""
        number = self._numbers.get(kind, _NO_NAME_YET)
        return number in self._of_bodies and number != _NO_NAME_YET if self._grows else kind in self._numbers

    def add(self, body: int, name: str) -> None:
        """Note the name that records with the number ``body`` have."""
        if name not in self._numbers and len(self._numbers) - self._known_before >= MOST_NAMES:
            name = OTHER_NAMES
        missing = body + 1 - len(self._of_bodies)
        self._of_bodies.extend([_NO_NAME_YET] * missing)
        self._of_bodies[body] = self._numbers.setdefault(name, len(self._numbers))

    def of_records(self, records: Floats) -> Integers:
        """Return the number of the kind of each record, shape ``(n,)``, from records of shape ``(n, 5)``."""
        import numpy as np

        if not self._of_bodies:
            return np.zeros(len(records), np.int64)
        of_bodies = np.array([*self._of_bodies, _NO_NAME_YET])
        return of_bodies[np.minimum(records[:, 4].astype(np.int64), len(of_bodies) - 1)]

    def known(self, records: Floats) -> int:
        """Return how many records from the first on have a kind that is known by now."""
        if not self._grows:
            return len(records)
        unknown = self.of_records(records) == _NO_NAME_YET
        return int(unknown.argmax()) if unknown.any() else len(records)


@dataclass(frozen=True, slots=True)
class KindFigures:
    """Figures of the requests of one kind, in the window of the run.

    Attributes:
        latencies: latencies of the successful requests.
        errors: the number of failed requests by cause.
        intervals: the 95 % confidence intervals, by metric.
        n_eff: the number of independent requests that each interval rests on, by metric.
        good_requests: the number of requests that succeeded within their limit; None without such limits.
    """

    latencies: Latencies
    errors: Mapping[str, int] = field(default_factory=dict)
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    n_eff: Mapping[str, float] = field(default_factory=dict)
    good_requests: int | None = None
