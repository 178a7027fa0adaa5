"""How long a signature's runs take: those that are short need no thread of their own."""

from __future__ import annotations

_SHORT_S = 0.0005
_LONG_CPU_S = 0.005
_LONG_S = 0.05
_TRIAL_RUNS = 20
_MOST_TRIAL_RUNS = 20_000
_SETTLED_RUNS = 1000


class Pace:
    """Decides whether a signature may run on the event loop, from the runs it had.

    It may after some runs in threads, the shortest of which was well under a millisecond: the others may have
    waited for the interpreter. One long run on the loop sends it back to threads, for twice as many runs each
    time; a thousand short ones in a row forgive one of them. What counts there is the CPU time, since on a
    busy machine any run may have to wait for its core; only one that took very long must have waited itself.
    """

    def __init__(self) -> None:
        self._trial_runs = _TRIAL_RUNS
        self._runs = 0
        self._shortest_s = float("inf")
        self.is_short = False

    def took(self, run_s: float, cpu_s: float, *, on_loop: bool) -> None:
        """Take a run's time into account, and the CPU time of the thread that waited for it."""
        self._runs += 1
        if not on_loop:
            self._ran_in_thread(run_s)
        elif cpu_s > _LONG_CPU_S or run_s > _LONG_S:
            self._trial_runs = min(2 * self._trial_runs, _MOST_TRIAL_RUNS)
            self._restart(is_short=False)
        elif self._runs >= _SETTLED_RUNS:
            self._trial_runs = max(self._trial_runs // 2, _TRIAL_RUNS)
            self._runs = 0

    def _ran_in_thread(self, run_s: float) -> None:
        self._shortest_s = min(self._shortest_s, run_s)
        if not self.is_short and self._runs >= self._trial_runs:
            self._restart(is_short=self._shortest_s < _SHORT_S)

    def _restart(self, *, is_short: bool) -> None:
        self.is_short = is_short
        self._runs = 0
        self._shortest_s = float("inf")
