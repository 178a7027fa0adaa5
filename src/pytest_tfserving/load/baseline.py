"""What the baseline did beside a run of load, and what the load did between its pulses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import compress
from typing import TYPE_CHECKING, Self

from pytest_tfserving.statistics.intervals import ratio_interval
from pytest_tfserving.statistics.pulses import between_pulses

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.statistics.intervals import Interval
    from pytest_tfserving.targets.pulses import PulseRow

    Floats = NDArray[np.float64]

# A result keeps so many pulses at most: those of five minutes or so one by one.
MOST_PULSES = 400


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the same model did in process on the same cores, in pulses during the load, one value a pulse.

    ``at_s`` is when, ``rps`` in calls a second of all replicas together, ``latency_ms`` the median call of
    the slowest one, ``calls`` how many there were. Where there were too many pulses neighbours are joined.
    """

    at_s: tuple[float, ...]
    rps: tuple[float, ...]
    latency_ms: tuple[float, ...]
    calls: tuple[float, ...]

    @classmethod
    def of(cls, pulses: Sequence[PulseRow]) -> Self | None:
        """Return the baseline that made ``pulses``, None without any."""
        import numpy as np

        if not pulses:
            return None
        joined = -(-len(pulses) // MOST_PULSES)
        starts = np.arange(0, len(pulses), joined)
        sums = np.add.reduceat(np.array(pulses), starts)
        sizes = np.diff(np.append(starts, len(pulses)))
        at_s, calls, busy_s, latency_ms = sums.T
        columns = (at_s / sizes, calls / busy_s, latency_ms / sizes, calls)
        return cls(*(tuple(column.round(6).tolist()) for column in columns))

    @property
    def mean_rps(self) -> float:
        """Calls a second over the time of the run: the mean of `between_pulses`."""
        import numpy as np

        return float(between_pulses(np.array(self.rps)).mean())

    @property
    def mean_latency_ms(self) -> float:
        """The mean of the pulses' median calls."""
        return sum(self.latency_ms) / len(self.latency_ms)

    def within(self, start_s: float, end_s: float) -> Self:
        """Return the pulses between the two times; all, where none is."""
        inside = [start_s <= at_s <= end_s for at_s in self.at_s]
        if not any(inside):
            return self
        return type(self)(*(tuple(compress(getattr(self, part.name), inside)) for part in fields(self)))


class Stretches:
    """The load between the pulses in a window, each stretch beside what the baseline did at its two ends."""

    def __init__(self, pulses: Sequence[PulseRow], start_s: float, end_s: float) -> None:
        import numpy as np

        inside = [pulse for pulse in pulses if start_s <= pulse.at_s <= end_s]
        rps = np.array([pulse.calls / pulse.busy_s for pulse in inside])
        self._edges_s = np.array([pulse.at_s for pulse in inside])
        self._baseline_rps = np.asarray(between_pulses(rps), float)[: max(len(inside) - 1, 0)]
        self._successes = np.zeros(len(self._baseline_rps))

    def add(self, finished_s: Floats) -> None:
        """Count successes by when they ended."""
        import numpy as np

        if len(self._successes):
            self._successes += np.histogram(finished_s, self._edges_s)[0]

    def interval(self, noise_memory_s: float) -> Interval | None:
        """Return the 95 % interval of the efficiency, None for too few stretches.

        It is a ratio of sums: of successes, and of what the baseline would have done meanwhile. Both go up
        and down with the machine, so that hardly anything but the server is left in their ratio.
        """
        import numpy as np

        if len(self._successes) < 2:  # noqa: PLR2004 - a variance
            return None
        lengths_s = np.diff(self._edges_s)
        expected = lengths_s * self._baseline_rps
        return ratio_interval(self._successes, expected, float(lengths_s.mean()), noise_memory_s)
