"""Comparison of a result with that of a baseline server, which was loaded in turn with the candidate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.load.result import Result
    from pytest_tfserving.slo.change_tests import ServerChange


@dataclass(frozen=True)
class ServerComparison:
    """Comparison with a baseline server.

    Attributes:
        against: the baseline server as the option names it, as ``server:PROGRAM``.
        result: the result of the baseline server.
        changes: the changes from the baseline server to the candidate, by the metric's key, as ``p95_ms``.
        slice_s: the length of a slice of load in seconds, after which the other server is loaded.
        differences: sentences on what differs between the two besides the figures.
    """

    against: str
    result: Result
    changes: Mapping[str, ServerChange] = field(default_factory=dict)
    slice_s: float = 0.0
    differences: tuple[str, ...] = ()
