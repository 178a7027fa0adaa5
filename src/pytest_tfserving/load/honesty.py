"""Whether the load generator measured the server, or itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfserving.load.result import Generator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.load.result import Result, Window
    from pytest_tfserving.load.story import Story

# A generator this busy measures itself; see Locust's own warning, which needs 20 s to notice.
BUSIEST_CPU = 0.9
# When the host takes more, neither side had the cores that it is said to have.
_MOST_STEAL = 0.1
# Latencies are late by the lag of the event loop: a tenth of the median is lost in it.
_LAG_SHARE = 0.1
# Fewer requests than this share of those due were sent.
_LEAST_SENT = 0.98


def generator_state(story: Story, window: Window) -> Generator:
    """What the generator used in the window; NaN where it did not live long enough to say."""
    if not (story.end and story.ticks):
        return Generator(math.nan, math.nan)
    before = story.settled if story.settled and window.start_s else story.ticks[0]
    pairs = list(zip(before["processes"], story.end["processes"], strict=True))

    def highest(name: str) -> float:
        return max(_rate(start, end, name) for start, end in pairs)

    lag_p95_ms = story.end["lag_p95_ms"]
    return Generator(highest("cpu_s"), lag_p95_ms, highest("wait_s"), highest("steal_s"), len(pairs))


def _rate(start: dict[str, float], end: dict[str, float], name: str) -> float:
    length_s = end["at_s"] - start["at_s"]
    return (end[name] - start[name]) / length_s if length_s > 0 else math.nan


def limited_by_generator(result: Result) -> str:
    """Why the load generator, not the server, decided the figures; empty when it did not."""
    return next(_limits(result), "")


def _limits(result: Result) -> Iterator[str]:
    generator, profile = result.generator, result.profile
    if generator.cpu > BUSIEST_CPU:
        used = f"it used {100 * generator.cpu:.0f} % of its core"
        yield f"the load generator, not the server, was the limit: {used}"
    if generator.wait > profile["max_cpu_wait"]:
        yield (
            "the load generator was starved: something else on its cores made it wait for "
            f"{100 * generator.wait:.0f} % of the time, more than {100 * profile['max_cpu_wait']:.0f} %"
        )
    if generator.steal > max(_MOST_STEAL, profile["max_cpu_wait"]):
        yield f"the machine was starved: its host took {100 * generator.steal:.0f} % of the cores' time"
    allowed_ms = max(profile["max_lag_ms"], _LAG_SHARE * result.p50_ms)
    if generator.lag_p95_ms > allowed_ms:
        yield (
            f"the load generator ran late: its event loop lagged by {generator.lag_p95_ms:.0f} ms (p95), "
            f"more than {allowed_ms:.0f} ms"
        )
    if result.arrivals and result.arrivals.delay_p95_ms > allowed_ms:
        yield (
            f"the load generator ran late: it sent requests {result.arrivals.delay_p95_ms:.0f} ms after they "
            f"were due (p95), more than {allowed_ms:.0f} ms"
        )
    if result.arrivals and result.arrivals.sent_rps < _LEAST_SENT * result.arrivals.due_rps:
        yield (
            f"the load generator did not keep up: it sent {result.arrivals.sent_rps:.4g} requests a second "
            f"of the {result.arrivals.due_rps:.4g} that were due"
        )
