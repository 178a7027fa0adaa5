"""Messages of load processes, as a parent gets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.deployment.load_messages import (
        LateRow,
        Leads,
        MergedEnd,
        MergedSettled,
        MergedTick,
        Part,
        UsageAt,
    )


def _usage(at_s: float) -> UsageAt:
    return {"cpu_s": 0.0, "wait_s": 0.0, "steal_s": 0.0, "at_s": at_s}


def part(at_s: float, running: int, process: int = 0, requests: int | None = None) -> Part:
    """What a process says of itself; without ``requests``, it has sent ten a second."""
    requests = int(10 * at_s) if requests is None else requests
    return {
        "event": "part",
        "process": process,
        "at_s": at_s,
        "users": running,
        "running": running,
        "sent": requests,
        "requests": requests,
        "ended_itself": False,
    }


def tick(at_s: float, requests: int = 0, stops: Sequence[LateRow] = ()) -> MergedTick:
    """What a process with a user says twice a second."""
    return {
        "event": "tick",
        "at_s": at_s,
        "users": 1,
        "running": 1,
        "sent": requests,
        "requests": requests,
        "failures": 0,
        "rps": 0.0,
        "p95_ms": None,
        "late": [],
        "stops": stops,
        "processes": [_usage(at_s)],
    }


def settled(at_s: float) -> MergedSettled:
    """What a process says once its load has its level."""
    return {"event": "settled", "at_s": at_s, "processes": [_usage(at_s)]}


def leads(at_s: float, *stops: LateRow) -> Leads:
    """What Locust's master says of itself."""
    return {"event": "leads", "at_s": at_s, "stops": stops}


def end(at_s: float, requests: int = 0) -> MergedEnd:
    """What a process says last, after the run time."""
    return {
        "event": "end",
        "reason": "time",
        "at_s": at_s,
        "to_record": requests,
        "under_way": 0,
        "requests": requests,
        "failures": 0,
        "lag_p95_ms": 0.1,
        "late": [],
        "stops": [],
        "processes": [_usage(at_s)],
    }
