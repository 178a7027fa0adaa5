"""Percentiles that every result has, and their names."""

from __future__ import annotations

# Every result has these percentiles, with intervals, in the JSON and in tables.
KEPT_PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9)


def percentile_key(percentile: float) -> str:
    """Return ``p99_9_ms`` for 99.9."""
    return f"p{percentile:g}_ms".replace(".", "_")
