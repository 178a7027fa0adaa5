"""Traces of requests, and their schedule in a run: frozen data and arithmetic, no I/O."""

from __future__ import annotations

import base64
import random
from array import array
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Self, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

THIN, SHORTEN = CUTS = ("thin", "shorten")


class TraceFields(TypedDict):
    """Fields of a `Trace` by name, as a result has them."""

    path: str
    log_format: str
    digest: str
    requests: int
    length_s: float
    highest_rps: float
    has_bodies: bool


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """A request of a trace.

    Attributes:
        at_s: the time of the request, in seconds since a moment that is the same for the whole trace.
        place: the place of the request in the file, for messages.
        kind: the name of its kind; empty without one.
        has_body: whether the trace has the request itself.
    """

    at_s: float
    place: str
    kind: str = ""
    has_body: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded sequence of requests, without the requests.

    Attributes:
        path: the file with the requests.
        log_format: the format of the lines of an access log; empty for another file.
        digest: a digest of the file's content.
        requests: the number of requests.
        length_s: the seconds from the first request until a mean gap after the last one.
        highest_rps: the highest number of requests in a second.
        has_bodies: whether the trace has the requests themselves, so that it is a payload set, too.
    """

    path: str
    log_format: str
    digest: str
    requests: int
    length_s: float
    highest_rps: float
    has_bodies: bool = False

    @property
    def mean_rps(self) -> float:
        """Mean rate in requests a second."""
        return self.requests / self.length_s


@dataclass(frozen=True, slots=True)
class ReplaySchedule:
    """The requests of a run that replays a trace, in order.

    Attributes:
        due_s: when each request is due, in seconds of the run.
        requests: the number of each request, counted from 0: in the trace, or in the payload set of a plan.
    """

    due_s: array[float]
    requests: array[int]

    def as_text(self) -> str:
        """Return the schedule as text."""
        return base64.b64encode(self.due_s.tobytes() + self.requests.tobytes()).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the schedule that `as_text` wrote."""
        content = base64.b64decode(text)
        middle = len(content) // 2
        return cls(array("d", content[:middle]), array("Q", content[middle:]))


def spread(entries: Iterable[TraceEntry]) -> Iterator[TraceEntry]:
    """Yield requests of whole seconds; those of one second are spread evenly over the second."""
    for at_s, same in groupby(entries, key=lambda entry: entry.at_s):
        together = [*same]
        for number, entry in enumerate(together):
            yield replace(entry, at_s=at_s + (number + 0.5) / len(together))


def replay_schedule(  # noqa: PLR0913 - a trace, and the way to replay it
    times_s: array[float], length_s: float, *, speed: float, run_time_s: float, cut: str, seed: int
) -> ReplaySchedule:
    """Return the requests of a run, and when they are due.

    A run that is shorter than the trace at its speed has a part of the requests. ``shorten`` takes the first
    ones, at their own distances. ``thin`` squeezes all of the trace into the run, and keeps of each request
    the probability by which the run is shorter: so rates are those of the trace, and their course is too.

    Args:
        times_s: when each request of the trace came, in seconds since the first one.
        length_s: the length of the trace in seconds.
        speed: how many times as fast the trace is replayed.
        run_time_s: the length of the run in seconds.
        cut: ``thin`` or ``shorten``.
        seed: the seed of the requests that are kept.
    """
    kept = run_time_s * speed / length_s
    if kept >= 1 or cut == SHORTEN:
        due_s = array("d", (at_s / speed for at_s in times_s if at_s / speed < run_time_s))
        return ReplaySchedule(due_s, array("Q", range(len(due_s))))
    variates = random.Random(f"thin {seed}")  # noqa: S311 - a reproducible schedule, not a secret
    chosen = array("Q", (index for index in range(len(times_s)) if variates.random() < kept))
    return ReplaySchedule(array("d", (times_s[index] * kept / speed for index in chosen)), chosen)
