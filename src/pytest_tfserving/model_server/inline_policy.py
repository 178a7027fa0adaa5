"""Choice of the thread for a signature's runs: short runs stay on the event loop."""

from __future__ import annotations

_SHORT_S = 0.0005
_LONG_S = 0.005
_VERY_LONG_S = 0.05
# To write so many bytes of numbers takes less than a millisecond.
_MOST_ANSWER_BYTES = 2**14
_TRIAL_RUNS = 20
_MOST_TRIAL_RUNS = 20_000
_SETTLED_RUNS = 1000


class InlinePolicy:
    """The decision whether a signature may run on the event loop, based on its runs so far.

    A signature starts in threads. After some runs it moves to the event loop if its shortest run took well
    under a millisecond: longer runs may have waited for the interpreter lock.

    On a busy machine any run may take long, because it waits for a core. So one long run on the loop only
    makes the signature a suspect. For suspects the CPU time is measured, which costs some time. A second run
    with a long CPU time, or one that took very long, sends the signature back to threads. So does an answer
    that is large, and so takes long to write. Each time this happens, the number of runs in threads is
    doubled. 1,000 runs without such an event halve that number again and end the suspicion.
    """

    __slots__ = ("_runs", "_shortest_s", "_trial_runs", "is_short", "is_suspect")

    def __init__(self) -> None:
        self._trial_runs = _TRIAL_RUNS
        self._runs = 0
        self._shortest_s = float("inf")
        self.is_short = False
        self.is_suspect = False

    def took_in_thread(self, run_s: float) -> None:
        """Record the time of a run in a thread."""
        if self.is_short:
            return
        self._runs += 1
        self._shortest_s = min(self._shortest_s, run_s)
        if self._runs >= self._trial_runs:
            self._restart(is_short=self._shortest_s < _SHORT_S)

    def is_in_doubt(self, run_s: float) -> bool:
        """Return whether the CPU time of a run decides; to ask for that time costs a system call."""
        return self.is_suspect and run_s > _LONG_S

    def took_on_loop(self, run_s: float, cpu_s: float) -> None:
        """Record the time of a run on the event loop; the CPU time counts if `is_in_doubt`."""
        self._runs += 1
        if run_s > _LONG_S:
            self._took_long(run_s, cpu_s)
        elif self._runs >= _SETTLED_RUNS:
            self._trial_runs = max(self._trial_runs // 2, _TRIAL_RUNS)
            self._restart(is_short=True)

    def answered(self, answer_bytes: int) -> None:
        """Record the size of an answer, on the event loop or in a thread."""
        if answer_bytes > _MOST_ANSWER_BYTES:
            self._leave_loop()

    def _took_long(self, run_s: float, cpu_s: float) -> None:
        if not self.is_suspect:
            self._restart(is_short=True)
            self.is_suspect = True
        elif cpu_s > _LONG_S or run_s > _VERY_LONG_S:
            self._leave_loop()

    def _leave_loop(self) -> None:
        if self.is_short:
            self._trial_runs = min(2 * self._trial_runs, _MOST_TRIAL_RUNS)
        self._restart(is_short=False)

    def _restart(self, *, is_short: bool) -> None:
        self.is_short = is_short
        self.is_suspect = False
        self._runs = 0
        self._shortest_s = float("inf")
