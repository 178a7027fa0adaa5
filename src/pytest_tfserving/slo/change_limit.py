"""Limits on the change of a metric from one run to another, as ``p95:5%``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.slo.metrics import METRICS, Metric, metric_of

_TEXT = re.compile(r"\s*([A-Za-z_][\w.]*)\s*:\s*(\d+(?:\.\d+)?)\s*%\s*")
_EXAMPLE = "p95:5%"


@dataclass(frozen=True, slots=True)
class ChangeLimit:
    """The largest change for the worse that is allowed.

    Attributes:
        metric: the metric's name.
        most: the change as a fraction, 0 or more; of the metric ``errors`` a difference of shares.
        text: the limit as it was written.
    """

    metric: str
    most: float
    text: str

    @classmethod
    def parse(cls, text: str) -> ChangeLimit:
        """Read a limit.

        Raises:
            ConfigurationError: with the part that does not parse, and what is valid.
        """
        match = _TEXT.fullmatch(text)
        if not match:
            raise ConfigurationError(f"{text!r} is not METRIC:CHANGE; write it as {_EXAMPLE}.")
        name, per_cent = match.groups()
        if not metric_of(name).has_interval:
            valid = ", ".join(each.name for each in METRICS.values() if each.has_interval)
            raise ConfigurationError(f"{text!r}: results have no interval of {name}; valid: {valid}.")
        return cls(name, float(per_cent) / 100, text.strip())

    @property
    def definition(self) -> Metric:
        """The metric."""
        return metric_of(self.metric)
