"""Little's law: as many users as are asked for spend all their time waiting for answers and pausing. Pure.

Their number is the mean number of requests under way plus the mean number of pauses, both of which follow
from the records alone: requests a second, times the time that each takes with the pause after it. Where that
is not the number of users, requests or users are missing, or times are wrong.

Counted is what of each request and each pause lies in the window, so that its edges cost nothing, however
short it is. What makes the sum too small in a right run is time that is neither: the load generator's own.

- Between an answer and what follows it the generator computes. At any moment at most one user a process is
  in its code, and only while the process uses CPU or waits for a core.
- A pause ends late. Timers are up to two milliseconds late in a process that is never late, and as late as
  the event loop in one that is; how late that was is known from the generator's probe.

For fast answers and short pauses these are more than 2 %: then they are the tolerance, not the 2 %.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_tfserving.load.profile import LoadProfile
    from pytest_tfserving.load.result import Generator, Window

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

TOLERANCE = 0.02
# Users whose request had no answer pause for so long, before any other pause; see `users.closed`.
_PAUSE_AFTER_NO_ANSWER_S = 0.1
_TIMERS_LATE_S = 0.002
_MS = 1_000


class LittlesLaw:
    """Counts how many users the requests of a closed loop make, as they come block by block.

    The pause after a failed request is not known to the tenth of a second: there are two counts.
    """

    def __init__(self, profile: LoadProfile, window: Window) -> None:
        self._think_s, self._pace_s = profile.think_time_s, profile.pace_s
        self._window = window
        self._requests = 0
        self._spent_s = 0.0
        self._maybe_s = 0.0

    def add(self, sent_s: Floats, latencies_ms: Floats, failed: Bools) -> None:
        """Take in requests in any order; latencies count from when they were sent."""
        taken_s = latencies_ms / _MS
        ended_s = sent_s + taken_s
        paused_s = np.maximum(self._think_s, self._pace_s - taken_s if self._pace_s else 0.0)
        until_s = ended_s + paused_s
        spent_s = self._inside(sent_s, until_s)
        self._requests += int(((ended_s >= self._window.start_s) & (ended_s < self._window.end_s)).sum())
        self._spent_s += float(spent_s.sum())
        longest_s = self._inside(sent_s, until_s + _PAUSE_AFTER_NO_ANSWER_S)
        self._maybe_s += float((longest_s - spent_s)[failed].sum())

    def contradiction(self, users: int, generator: Generator, late: Iterable[Sequence[float]]) -> str:
        """Return why requests and ``users`` do not fit, a sentence with both figures; empty when they do."""
        length_s = self._window.length_s
        if length_s <= 0 or not self._requests:
            return ""
        low, high = self._spent_s / length_s, (self._spent_s + self._maybe_s) / length_s
        unseen = self._own_time(users, generator, late)
        if math.isnan(unseen) or low * (1 - TOLERANCE) - unseen <= users <= high / (1 - TOLERANCE) + unseen:
            return ""
        rate, each_ms = self._requests / length_s, self._spent_s / self._requests * _MS
        return (
            f"Little's law does not hold, so that users or requests are missing: {rate:.4g} requests a "
            f"second that took {each_ms:.4g} ms each, with their pauses, make {low:.4g} users, "
            f"and {users} were asked for"
        )

    def _own_time(self, users: int, generator: Generator, late: Iterable[Sequence[float]]) -> float:
        """Return how many users at most were neither waiting nor pausing, on average."""
        length_s, processes = self._window.length_s, generator.processes
        computing = (generator.cpu + generator.wait + generator.steal) * processes
        late_s = sum(row[2] for row in late if row[1] >= self._window.start_s) / _MS
        pauses = self._requests if self._think_s or self._pace_s or self._maybe_s else 0
        timers = pauses / length_s * (_TIMERS_LATE_S + generator.lag_p95_ms / _MS)
        return computing + timers + users / processes * late_s / length_s

    def _inside(self, from_s: Floats, until_s: Floats) -> Floats:
        start_s, end_s = self._window.start_s, self._window.end_s
        return np.asarray(np.clip(until_s, start_s, end_s) - np.clip(from_s, start_s, end_s))
