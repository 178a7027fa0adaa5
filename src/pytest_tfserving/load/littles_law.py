"""Check by Little's law: the users of a closed loop wait for responses or pause all the time. No I/O.

The number of users is the mean number of requests under way plus the mean number of pauses. Both follow from
the records: requests a second, times the time that a request takes with the pause after it. If the result is
not the number of users, then requests or users are missing, or times are wrong.

Only the part of each request and each pause inside the window counts, so the edges of even a short window
cause no error. In a right run the sum can still be too small, by the time that is neither a request nor a
pause, but the load generator's own:

- Between a response and the next pause or request, the generator computes. At any moment at most one user of
  a process runs code, and only while the process uses CPU or waits for a core.
- A pause ends late. Timers are up to two milliseconds late in a process that is never late, and as late as
  the event loop in a process that is. The generator's probe measures this lateness.

For fast responses and short pauses, these times are more than 2 %. Then these times are the tolerance.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.load.result import Generator, Window

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

TOLERANCE = 0.02
# Users pause for this long after a request without a response, before any other; see `worker.users.closed`.
_PAUSE_AFTER_NO_ANSWER_S = 0.1
_TIMERS_LATE_S = 0.002
_MS = 1_000


class LittlesLaw:
    """Counter of the users that the requests of a closed loop need. Requests come block by block.

    The pause after a failed request is uncertain by a tenth of a second, so there are two counts.
    """

    def __init__(self, profile: LoadProfile, window: Window) -> None:
        self._think_s, self._pace_s = profile.think_time_s, profile.pace_s
        self._window = window
        self._requests = 0
        self._spent_s = 0.0
        self._maybe_s = 0.0

    def add(self, sent_s: Floats, latencies_ms: Floats, failed: Bools) -> None:
        """Add requests in any order.

        Args:
            sent_s: when each request was sent, in seconds of the run; shape ``(n,)``.
            latencies_ms: each latency, counted from when the request was sent; shape ``(n,)``.
            failed: whether each request failed; shape ``(n,)``.
        """
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
        """Return a sentence that says why requests and ``users`` do not fit; empty if they fit.

        Args:
            users: the requested number of users.
            generator: the generator's state in the window.
            late: rows of the generator's lateness; see `Lateness`.
        """
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
        """Return the highest mean number of users that neither waited nor paused."""
        length_s, processes = self._window.length_s, generator.processes
        computing = (generator.cpu + generator.wait + generator.steal) * processes
        late_s = sum(row[2] for row in late if row[1] >= self._window.start_s) / _MS
        pauses = self._requests if self._think_s or self._pace_s or self._maybe_s else 0
        timers = pauses / length_s * (_TIMERS_LATE_S + generator.lag_p95_ms / _MS)
        return computing + timers + users / processes * late_s / length_s

    def _inside(self, from_s: Floats, until_s: Floats) -> Floats:
        start_s, end_s = self._window.start_s, self._window.end_s
        return np.asarray(np.clip(until_s, start_s, end_s) - np.clip(from_s, start_s, end_s))
