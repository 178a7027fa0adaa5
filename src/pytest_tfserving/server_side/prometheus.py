"""TF Serving's own metrics: readings of every replica, and the growth between two readings."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from contextlib import closing
from http import HTTPStatus
from typing import TYPE_CHECKING

from pytest_tfserving.errors import LoadError
from pytest_tfserving.protocols.plain_http import PlainHttp
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.deployment.deployment import Deployment, Endpoint

PATH = "/monitoring/prometheus/metrics"
CONFIG = f'prometheus_config {{ enable: true path: "{PATH}" }}\n'
# The second one has the loading of models.
_PREFIXES = (":tensorflow:serving:", ":tensorflow:cc:")
_TIMEOUT_S = 2.0
_BUCKET = re.compile(r"(.+)_bucket\{([\d.e+]+|\+Inf)\}")


def read_metrics(deployment: Deployment) -> dict[str, float] | None:
    """Return every counter, and every histogram's count and sum, summed over all replicas.

    The names are TF Serving's without prefix and labels: ``request_count``, ``runtime_latency_sum``,
    ``saved_model:load_latency``. The result is None if a replica does not return its metrics.
    """
    if not deployment.endpoints:
        return None
    total: defaultdict[str, float] = defaultdict(float)
    for endpoint in deployment.endpoints:
        try:
            found = parse_metrics(_page(endpoint))
        except Exception:  # noqa: BLE001 - a server can write anything there, and nothing depends on it
            return None
        for name, value in found.items():
            total[name] += value
    return total


def _page(endpoint: Endpoint) -> str:
    with closing(PlainHttp(endpoint)) as http:
        status, body = http.ask(PATH, _TIMEOUT_S)
    if status != HTTPStatus.OK:
        raise LoadError(f"HTTP {status}")
    return body.decode(errors="replace")


def parse_metrics(text: str) -> dict[str, float]:
    """Return TF Serving's metrics in a page, each summed over all labels but a bucket's bound.

    A bucket of a histogram has its bound behind its name, as ``runtime_latency_bucket{10}``.

    Raises:
        ValueError: if ``text`` is not in Prometheus's text format.
    """
    from prometheus_client.parser import text_string_to_metric_families

    total: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # The parser adds a suffix to the names of counters, which TF Serving's names lack.
            name = family.name if family.type == "counter" else sample.name
            if name.startswith(_PREFIXES):
                bound = f"{{{sample.labels['le']}}}" if "le" in sample.labels else ""
                total[one_line(f"{_short(name)}{bound}")] += sample.value
    return total


def _short(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def model_load_s(metrics: Mapping[str, float] | None) -> float | None:
    """Return the mean time in seconds that a model took to load; None if not known."""
    count = (metrics or {}).get("saved_model:load_attempt_count")
    taken_us = (metrics or {}).get("saved_model:load_latency")
    return taken_us / count / 1e6 if count and taken_us else None


def growth(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> dict[str, float]:
    """Return the growth of every metric; empty if a reading is missing, or a replica restarted in between.

    Of a histogram it is the growth of its count and of its sum, and its median over what was added.
    """
    if before is None or after is None:
        return {}
    grown = {name: value - before.get(name, 0.0) for name, value in sorted(after.items())}
    if any(value < 0 for value in grown.values()):
        return {}
    plain = {name: value for name, value in grown.items() if "{" not in name}
    return {
        name: value for name, value in (plain | _medians(grown)).items() if value and math.isfinite(value)
    }


def _medians(grown: Mapping[str, float]) -> dict[str, float]:
    """Return the median of each histogram, interpolated in its bucket, from the growth of its buckets."""
    histograms: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for name, count in grown.items():
        if match := _BUCKET.fullmatch(name):
            histograms[match[1]].append((float(match[2]), count))
    return {f"{name}_median": _median(sorted(buckets)) for name, buckets in histograms.items()}


def _median(buckets: list[tuple[float, float]]) -> float:
    """Return the median of a histogram from its buckets' bounds and cumulative counts; 0 if it is empty."""
    half, below, low = buckets[-1][1] / 2, 0.0, 0.0
    for high, count in buckets:
        if count >= half and count > below:
            return low if math.isinf(high) else low + (high - low) * (half - below) / (count - below)
        below, low = count, high
    return 0.0
