"""Checks that the load generator measured the server, and not itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfserving.load.result import Generator

if TYPE_CHECKING:
    from pytest_tfserving.load.generator.run_state import Story
    from pytest_tfserving.load.result import Result, Window

# Above this share of a core a generator measures itself. Locust's own warning needs 20 s to appear.
_BUSIEST_CPU = 0.9
# Least share of the due requests that a generator must have sent.
_LEAST_SENT = 0.98


def generator_state(story: Story, window: Window) -> Generator:
    """Return the generator's state in the window; NaN if it did not live long enough to report it."""
    if not (story.end and story.ticks):
        return Generator(math.nan, math.nan)
    before = story.settled if story.settled and window.start_s else story.ticks[0]
    pairs = list(zip(before["processes"], story.end["processes"], strict=True))

    def highest(name: str) -> float:
        return max(_rate(start, end, name) for start, end in pairs)

    lag_p95_ms = story.end["lag_p95_ms"]
    return Generator(
        cpu=highest("cpu_s"),
        lag_p95_ms=lag_p95_ms,
        wait=highest("wait_s"),
        steal=highest("steal_s"),
        processes=len(pairs),
        stood=story.watch.stood_s(window) / window.length_s / len(pairs) if window.length_s > 0 else 0.0,
        taken_by=story.taken_by,
    )


def _rate(start: dict[str, float], end: dict[str, float], name: str) -> float:
    length_s = end["at_s"] - start["at_s"]
    return (end[name] - start[name]) / length_s if length_s > 0 else math.nan


def is_waiting(story: Story, most: float) -> bool:
    """Return whether a load process waited for a core for more than the share ``most`` of the last tick."""
    if len(story.ticks) < 2:  # noqa: PLR2004 - a difference
        return False
    before, now = (tick["processes"] for tick in story.ticks[-2:])
    return any(_rate(*pair, "wait_s") > most for pair in zip(before, now, strict=True))


def limited_by_generator(result: Result) -> str:
    """Return why the requested load was not offered, which makes all figures INVALID; empty if it was.

    If the load was offered, `bounds` says how the generator's trouble can have changed its figures.
    """
    if result.generator.cpu > _BUSIEST_CPU:
        used = f"it used {100 * result.generator.cpu:.0f} % of its core"
        return (
            f"the load generator, not the server, was the limit: {used}; "
            "take fewer users, or more load processes (--tfserving-load-processes)"
        )
    arrivals = result.arrivals
    if arrivals and arrivals.sent_rps < _LEAST_SENT * arrivals.due_rps:
        return (
            f"the load generator did not keep up: it sent {arrivals.sent_rps:.4g} requests a second "
            f"of the {arrivals.due_rps:.4g} that were due"
        )
    return ""


def unrecorded(story: Story, read: int) -> str:
    """Return why the ``read`` records do not have every request; empty if they do.

    With a locustfile's users, exceptions are recorded too, which are not requests.
    """
    end = story.end
    if end is None:
        return ""
    wanted = end["to_record"] - end["under_way"]
    if end["requests"] == read and (wanted == read or (story.own_users and wanted < read)):
        return ""
    return (
        f"requests were lost: {wanted} were counted when they were sent, "
        f"the load generator recorded {end['requests']}, and {read} were read"
    )
