"""Baseline figures of a run of load, and the load's figures between the baseline's pulses."""

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

    from pytest_tfserving.deployment.pulses import PulseRow
    from pytest_tfserving.statistics.intervals import Interval

    Floats = NDArray[np.float64]

# Most pulses that a result keeps. Up to about five minutes of load, pulses are not joined.
MOST_PULSES = 400


@dataclass(frozen=True, slots=True)
class Baseline:
    """Figures of the same model in process on the same cores, measured in pulses during the load.

    Each attribute has one value for each pulse. Neighbours are joined if there are more than `MOST_PULSES`.

    Attributes:
        at_s: the time of the pulse, in seconds of the run.
        rps: calls a second of all replicas together.
        latency_ms: the median call of the slowest replica, in ms.
        calls: the number of calls of all replicas.
    """

    at_s: tuple[float, ...]
    rps: tuple[float, ...]
    latency_ms: tuple[float, ...]
    calls: tuple[float, ...]

    @classmethod
    def of(cls, pulses: Sequence[PulseRow]) -> Self | None:
        """Return the baseline with these ``pulses``, None if there are no pulses."""
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
        """Mean of the pulses' median latencies, in ms."""
        return sum(self.latency_ms) / len(self.latency_ms)

    def within(self, start_s: float, end_s: float) -> Self:
        """Return the pulses between the two times; all pulses if there are none between them."""
        inside = [start_s <= at_s <= end_s for at_s in self.at_s]
        if not any(inside):
            return self
        return type(self)(*(tuple(compress(getattr(self, part.name), inside)) for part in fields(self)))


class Stretches:
    """Counts of successes between neighbouring pulses in a window, compared with the baseline's pulses."""

    def __init__(self, pulses: Sequence[PulseRow], start_s: float, end_s: float) -> None:
        import numpy as np

        inside = [pulse for pulse in pulses if start_s <= pulse.at_s <= end_s]
        rps = np.array([pulse.calls / pulse.busy_s for pulse in inside])
        self._edges_s = np.array([pulse.at_s for pulse in inside])
        self._baseline_rps = np.asarray(between_pulses(rps), float)[: max(len(inside) - 1, 0)]
        self._successes = np.zeros(len(self._baseline_rps))

    def add(self, finished_s: Floats) -> None:
        """Count successes, given the seconds of the run at which they ended."""
        import numpy as np

        if len(self._successes):
            self._successes += np.histogram(finished_s, self._edges_s)[0]

    def interval(self, efficiency: float, noise_memory_s: float) -> Interval | None:
        """Return the 95 % interval of the efficiency, None if there are too few stretches.

        The efficiency is a ratio of sums: successes, over the calls of the baseline in the same time. Both
        rise and fall with the machine's speed, so their ratio shows almost only the server.

        Args:
            efficiency: the figure of the whole window. The stretches leave out the time before the first
                pulse and after the last one, so that their own ratio can be another one.
            noise_memory_s: the longest memory of the level in seconds.
        """
        import numpy as np

        if len(self._successes) < 2:  # noqa: PLR2004 - a variance
            return None
        lengths_s = np.diff(self._edges_s)
        expected = lengths_s * self._baseline_rps
        found = ratio_interval(self._successes, expected, float(lengths_s.mean()), noise_memory_s)
        if found is None or not self._successes.any():
            return found
        to_window = efficiency * float(expected.sum() / self._successes.sum())
        return found[0] * to_window, found[1] * to_window
