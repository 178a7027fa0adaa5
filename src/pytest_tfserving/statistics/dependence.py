"""How much neighbouring values of a series resemble each other, and how many independent ones it is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

# The window of the sum is this many times the inefficiency it gives, as Sokal chose it.
_WINDOW = 5.0
# How many standard errors above the estimate the upper bound is.
_ERRORS_ABOVE = 2.0
# Longer series are measured on their last so many values.
MOST_VALUES = 1 << 16
_RAREST = 0.05
_TAIL_OF_BULK = 0.4
# What is far: a factor beyond the nearest value, and so many times as far from the median, in logarithms.
_TWICE = 2.0
_TIMES_AS_FAR = 4.0


def inefficiency(series: Floats) -> tuple[Floats, Floats]:
    """How many values of each series are worth one independent value, and an upper bound of that.

    The statistical inefficiency ``1 + 2 * sum(autocorrelation)``, summed up to a lag of 5 times itself
    (Sokal, "Monte Carlo methods in statistical mechanics", 1997, section 3) and corrected for the mean that
    was taken from the same data; its standard error is Wolff's (Computer Physics Communications 156, 2004,
    eq. 42 and 49). Neither is ever below 1; a constant series has 1.

    Args:
        series: shape ``(..., n)``.

    Returns:
        Two arrays of shape ``(...)``.
    """
    series = series[..., -MOST_VALUES:]
    count = series.shape[-1]
    lags = max(count // 4, 1)
    sums = 1 + 2 * np.cumsum(_autocorrelation(series, lags), axis=-1)
    at = np.arange(1, lags + 1)
    fits = at >= _WINDOW / 2 * sums
    window = np.where(fits.any(axis=-1), fits.argmax(axis=-1), lags - 1)
    estimate = np.take_along_axis(sums, window[..., None], axis=-1)[..., 0]
    width = (2 * (window + 1) + 1) / count
    estimate = np.maximum(estimate, 1.0) * (1 + width)
    return estimate, estimate * (1 + _ERRORS_ABOVE * np.sqrt(2 * width))


def _autocorrelation(series: Floats, lags: int) -> Floats:
    """At lags 1 to ``lags``."""
    count = series.shape[-1]
    size = 1 << (count + lags).bit_length()
    spectrum = np.fft.rfft(series - series.mean(axis=-1, keepdims=True), size, axis=-1)
    products = np.fft.irfft(np.abs(spectrum) ** 2, size, axis=-1)[..., : lags + 1]
    scale = np.where(products[..., :1] > 1e-12 * count, products[..., :1], np.inf)
    return np.asarray(products[..., 1:] / scale)


def tail_inefficiency(values: Floats, over: Floats, share: float) -> Floats:
    """An upper bound of the inefficiency of whether ``values`` are over a limit, as ``share`` of them are.

    It is the highest of three: that of being over the limit; that of being among the highest ``share`` or 5
    %, whichever is more, which is known before any value is over the limit; and 0.4 times that of the
    values' ranks, since few values are beyond the limit and many are in the ranks. In a Gaussian series the
    tail's inefficiency is 0.36 to 0.55 times the ranks'.

    Args:
        values: shape ``(..., n)``.
        over: the same shape, 0 or 1.
        share: in (0, 1).
    """
    values, over = values[..., -MOST_VALUES:], over[..., -MOST_VALUES:]
    # Equal values get ranks at random: in their order they would make a trend.
    order = np.lexsort((np.random.default_rng(0).random(values.shape), values), axis=-1)
    ranks = order.argsort(axis=-1).astype(float)
    highest = ranks >= (1 - max(share, _RAREST)) * values.shape[-1]
    bounds = (inefficiency(highest.astype(float))[1], inefficiency(over.astype(float))[1])
    return np.asarray(np.maximum(np.maximum(*bounds), _TAIL_OF_BULK * inefficiency(ranks)[1]))


def is_far_from(limit: float, values: Floats) -> NDArray[np.bool_]:
    """Whether no wandering of the level of ``values`` reaches ``limit``: all are far above it, or below.

    It is more than a factor of two beyond the one that is nearest to it, and four times as far from the
    median as that, in logarithms. Of Gaussian series whose true 95th percentile is the limit, autocorrelated
    by up to 0.99, fewer than 1 in 100 look so after 200 values.

    Args:
        limit: positive.
        values: positive, shape ``(..., n)`` with n of at least 1.

    Returns:
        Shape ``(...)``.
    """
    highest, lowest = values.max(axis=-1), values.min(axis=-1)
    is_beyond = np.asarray((limit > _TWICE * highest) | (limit * _TWICE < lowest))
    if not is_beyond.any():
        return is_beyond
    median = np.median(values, axis=-1)
    nearest = np.where(limit > highest, highest, lowest)
    is_far = np.abs(np.log(limit / median)) > _TIMES_AS_FAR * np.abs(np.log(nearest / median))
    return np.asarray(is_beyond & is_far)
