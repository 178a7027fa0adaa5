"""Checks that the load generator measured the server, and not itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeAlias

from pytest_tfserving.load.bounds import less_load
from pytest_tfserving.load.result import Generator

if TYPE_CHECKING:
    from pytest_tfserving.deployment.load_messages import UsageAt
    from pytest_tfserving.load.generator.run_state import RunState
    from pytest_tfserving.load.result import Result, Window

_UsageName: TypeAlias = Literal["cpu_s", "wait_s", "steal_s"]

# Above this share of a core a generator measures itself. Locust's own warning needs 20 s to appear.
_BUSIEST_CPU = 0.9
# Least share of the due requests that a generator must have sent.
_LEAST_SENT = 0.98


def generator_state(run_state: RunState, window: Window) -> Generator:
    """Return the generator's state in the window; NaN if it did not live long enough to report it."""
    if not (run_state.end and run_state.ticks):
        return Generator(math.nan, math.nan)
    before = run_state.settled if run_state.settled and window.start_s else run_state.ticks[0]
    pairs = list(zip(before["processes"], run_state.end["processes"], strict=True))

    def highest(name: _UsageName) -> float:
        return max(_rate(start, end, name) for start, end in pairs)

    lag_p95_ms = run_state.end["lag_p95_ms"]
    return Generator(
        cpu=highest("cpu_s"),
        lag_p95_ms=lag_p95_ms,
        wait=highest("wait_s"),
        steal=highest("steal_s"),
        processes=len(pairs),
        stood=run_state.watch.stood_s(window) / window.length_s / len(pairs) if window.length_s > 0 else 0.0,
        taken_by=run_state.taken_by,
    )


def _rate(start: UsageAt, end: UsageAt, name: _UsageName) -> float:
    length_s = end["at_s"] - start["at_s"]
    return (end[name] - start[name]) / length_s if length_s > 0 else math.nan


def is_waiting(run_state: RunState, most: float) -> bool:
    """Return whether a load process waited for a core for more than the share ``most`` of the last tick."""
    if len(run_state.ticks) < 2:  # noqa: PLR2004 - a difference
        return False
    before, now = (tick["processes"] for tick in run_state.ticks[-2:])
    return any(_rate(*pair, "wait_s") > most for pair in zip(before, now, strict=True))


def limited_by_generator(result: Result) -> str:
    """Return why the requested load was not offered, which makes all figures INVALID; empty if it was.

    If the load was offered, `bounds` says how the generator's trouble can have changed its figures.
    """
    if result.generator.cpu > _BUSIEST_CPU:
        used = f"it used {100 * result.generator.cpu:.0f} % of its core"
        return (
            f"the load generator, not the server, was the limit: {used}; "
            f"{less_load(result)}, or take more load processes (--tfserving-load-processes)"
        )
    arrivals = result.arrivals
    if arrivals and arrivals.sent_rps < _LEAST_SENT * arrivals.due_rps:
        return (
            f"the load generator did not keep up: it sent {arrivals.sent_rps:.4g} requests a second "
            f"of the {arrivals.due_rps:.4g} that were due; {less_load(result)}, or take more load processes "
            "(--tfserving-load-processes)"
        )
    return ""


def unrecorded(run_state: RunState, read: int) -> str:
    """Return why the ``read`` records do not have every request; empty if they do.

    With a locustfile's users, exceptions are recorded too, which are not requests.
    """
    end = run_state.end
    if end is None:
        return ""
    wanted = end["to_record"] - end["under_way"]
    if end["requests"] == read and (wanted == read or (run_state.own_users and wanted < read)):
        return ""
    return (
        f"requests were lost: {wanted} were counted when they were sent, "
        f"the load generator recorded {end['requests']}, and {read} were read"
    )
