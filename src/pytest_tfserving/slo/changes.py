"""The changes against a baseline server that reports show, each with its interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfserving.slo.change_tests import (
    SLICE_S,
    PercentileChangeTest,
    ServerChange,
    failure_differences,
    pairs_of,
    resolution,
    typical_failures_sd,
    typical_sd,
)
from pytest_tfserving.slo.metrics import metric_of, percentile_of
from pytest_tfserving.statistics.level import LEAST_BLOCKS, LevelModel
from pytest_tfserving.statistics.sequential import BURST

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.slo.change_tests import Pairs
    from pytest_tfserving.slo.sequential_tests import ObservedWindow

    Floats = NDArray[np.float64]

# Of each end of a 95 % interval.
_ONE_SIDE = 0.025
_SHOWN = ("rps", "mean", "p50", "p95", "p99", "errors", "cpu_per_request")


def changes_of(
    window: ObservedWindow,
    noise_memory_s: float,
    needed: float,
    limited: Iterable[str] = (),
    slice_s: float = SLICE_S,
) -> dict[str, ServerChange]:
    """Return the changes of metrics by the metric's key in results.

    Args:
        window: the window of a run, with that of the baseline server.
        noise_memory_s: longest time in seconds for which differences may remember.
        needed: the logarithm of the evidence that decides an SLO.
        limited: names of metrics whose changes SLOs limit, besides those that reports always show.
        slice_s: the length of a slice of load in seconds.
    """
    names = dict.fromkeys((*_SHOWN, *limited))
    found = {metric_of(name).key: _change_of(name, window, noise_memory_s, needed, slice_s) for name in names}
    return {key: change for key, change in found.items() if change is not None}


def _change_of(
    name: str, window: ObservedWindow, noise_memory_s: float, needed: float, slice_s: float
) -> ServerChange | None:
    if name == "errors":
        return _errors_change(window, noise_memory_s, needed)
    if (percentile := percentile_of(name)) is not None:
        if not len(window.latencies_ms):
            return None
        return PercentileChangeTest(percentile, 1.0, noise_memory_s).change(window, needed)
    return _ratio_change(pairs_of(name)(window), typical_sd(slice_s), noise_memory_s, needed)


def _ratio_change(
    pairs: Pairs, typical_sd: float, noise_memory_s: float, needed: float
) -> ServerChange | None:
    """Return the change of the ratio of the sums, with the interval of the blocks' residuals.

    The interval rests on the same ``typical_sd`` as the test, so that it fits the verdict.
    """
    ours, theirs, block_s = pairs
    if len(ours) < LEAST_BLOCKS or not (ours.any() and theirs.any()):
        return None
    ratio = float(ours.sum() / theirs.sum())
    model = LevelModel(block_s, noise_memory_s)
    for value in (ours - ratio * theirs) / theirs.mean():
        model.add(value)
    error, (low, high) = model.error_and_interval(typical_sd * ratio)
    ends = ratio + float(low) - 1, ratio + float(high) - 1
    return ServerChange(ratio - 1, *ends, resolution(float(error) / ratio, needed))


def _errors_change(window: ObservedWindow, noise_memory_s: float, needed: float) -> ServerChange | None:
    differences, against = failure_differences(window), window.against
    if against is None or len(differences) < LEAST_BLOCKS:
        return None
    value = float(window.failed.mean() - against.failed.mean())
    if not (window.failed.any() or against.failed.any()):
        return _without_failures(window, against, needed)
    model = LevelModel(window.length_s / len(differences), noise_memory_s)
    for each in differences:
        model.add(each)
    error, (low, high) = model.error_and_interval(typical_failures_sd(window))
    return ServerChange(value, float(low), float(high), resolution(float(error), needed))


def _without_failures(window: ObservedWindow, against: ObservedWindow, needed: float) -> ServerChange:
    """Return no change, with the shares of failures that either server may have in its interval.

    A share without a failure among n independent requests has a one-sided interval of its own (Clopper and
    Pearson, Biometrika 26, 1934). Failures come in bursts, which count as one.
    """
    ours, theirs = (len(each.failed) / max(BURST, each.in_flight) for each in (window, against))
    low, high = (-math.expm1(math.log(_ONE_SIDE) / each) for each in (theirs, ours))
    return ServerChange(0.0, -low, high, -math.expm1(-needed / min(ours, theirs)))
