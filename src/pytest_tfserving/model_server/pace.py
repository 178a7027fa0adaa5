"""How long a signature's runs take: those that are short need no thread of their own."""

from __future__ import annotations

_SHORT_S = 0.0005
_LONG_S = 0.005
_VERY_LONG_S = 0.05
_TRIAL_RUNS = 20
_MOST_TRIAL_RUNS = 20_000
_SETTLED_RUNS = 1000


class Pace:
    """Decides whether a signature may run on the event loop, from the runs it had.

    It may after some runs in threads, the shortest of which was well under a millisecond: the others may have
    waited for the interpreter. On a busy machine any run may take long since it waits for its core: one alone
    only makes the signature a suspect. Of a suspect the CPU time counts, which takes a while to ask for, or a
    time so long that it must have waited itself: a second long run sends it back to threads, for twice as
    many runs each time. A thousand short ones in a row forgive one of these times, and the suspicion.
    """

    __slots__ = ("_runs", "_shortest_s", "_trial_runs", "is_short", "is_suspect")

    def __init__(self) -> None:
        self._trial_runs = _TRIAL_RUNS
        self._runs = 0
        self._shortest_s = float("inf")
        self.is_short = False
        self.is_suspect = False

    def took_in_thread(self, run_s: float) -> None:
        """Take the time of a run in a thread into account."""
        if self.is_short:
            return
        self._runs += 1
        self._shortest_s = min(self._shortest_s, run_s)
        if self._runs >= self._trial_runs:
            self._restart(is_short=self._shortest_s < _SHORT_S)

    def took_on_loop(self, run_s: float, cpu_s: float) -> None:
        """The same on the event loop; the CPU time counts for suspects only."""
        self._runs += 1
        if run_s > _LONG_S:
            self._took_long(run_s, cpu_s)
        elif self._runs >= _SETTLED_RUNS:
            self._trial_runs = max(self._trial_runs // 2, _TRIAL_RUNS)
            self._restart(is_short=True)

    def _took_long(self, run_s: float, cpu_s: float) -> None:
        if not self.is_suspect:
            self._restart(is_short=True)
            self.is_suspect = True
        elif cpu_s > _LONG_S or run_s > _VERY_LONG_S:
            self._trial_runs = min(2 * self._trial_runs, _MOST_TRIAL_RUNS)
            self._restart(is_short=False)

    def _restart(self, *, is_short: bool) -> None:
        self.is_short = is_short
        self.is_suspect = False
        self._runs = 0
        self._shortest_s = float("inf")
