"""Autocorrelation of a series, and the number of independent values that the series is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# The window of the sum is this many times the inefficiency it gives, as Sokal chose it.
_WINDOW = 5.0
# How many standard errors above the estimate the upper bound is.
_ERRORS_ABOVE = 2.0
# Only the last values of a longer series are used.
MOST_VALUES = 1 << 16


def inefficiency(series: Floats) -> tuple[Floats, Floats]:
    """Return how many values of each series are worth one independent value, and an upper bound of it.

    The statistical inefficiency is ``1 + 2 * sum(autocorrelation)``, summed up to a lag of 5 times itself
    (Sokal, "Monte Carlo methods in statistical mechanics", 1997, section 3) and corrected for the mean, which
    comes from the same data. Its standard error is Wolff's (Computer Physics Communications 156, 2004, eq. 42
    and 49). Both results are at least 1; a constant series has 1.

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
    """Return the autocorrelation at lags 1 to ``lags``, shape ``(..., lags)``."""
    count = series.shape[-1]
    size = 1 << (count + lags).bit_length()
    spectrum = np.fft.rfft(series - series.mean(axis=-1, keepdims=True), size, axis=-1)
    products = np.fft.irfft(np.abs(spectrum) ** 2, size, axis=-1)[..., : lags + 1]
    scale = np.where(products[..., :1] > 1e-12 * count, products[..., :1], np.inf)
    return np.asarray(products[..., 1:] / scale)
