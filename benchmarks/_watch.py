"""Simulated and recorded runs, watched by the plugin's live monitor as they would have gone on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_tfserving.slo.monitor import DEFAULT_ALPHA, SloMonitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _noise import Run

    from pytest_tfserving.slo.expected_load import ExpectedLoad
    from pytest_tfserving.slo.language import Slo
    from pytest_tfserving.slo.open_loop import DueRequests

NOISE_MEMORY_S = 10.0
PASS, NEITHER, FAIL = 1, 0, -1
# The live monitor hears of requests, and looks, so often.
_TICK_S = 0.5


class Verdict(NamedTuple):
    """`PASS`, `FAIL` or `NEITHER`, and after how many seconds."""

    outcome: int
    after_s: float


def watched(
    run: Run,
    slos: Sequence[Slo],
    run_time_s: float,
    load: ExpectedLoad | None = None,
    due: DueRequests | None = None,
) -> list[Verdict]:
    """Return the verdict on each SLO when all are watched in one run.

    The run is of a ``load`` with limits or falls, or of an open loop whose schedule is known.
    """
    monitor = SloMonitor(
        slos,
        DEFAULT_ALPHA,
        has_baseline=True,
        plateau=not (load and load.falls),
        noise_memory_s=NOISE_MEMORY_S,
        load=load,
        due=due,
    )
    monitor.settle(0.0)
    ticks_s = np.arange(1, round(run_time_s / _TICK_S) + 1) * _TICK_S
    requests = np.searchsorted(run.ended_s, ticks_s)
    pulses = np.searchsorted(run.pulses[0], ticks_s)
    known, known_pulses = 0, 0
    for now_s, until, until_pulse in zip(ticks_s, requests, pulses, strict=True):
        new = slice(known, until)
        monitor.add(run.ended_s[new], run.latencies_ms[new], run.failed[new])
        if until_pulse > known_pulses:
            monitor.add_baseline(*run.pulses[:, known_pulses:until_pulse])
        known, known_pulses = until, until_pulse
        monitor.look(float(now_s), last=now_s >= run_time_s)
        if len(monitor.decisions) == len(slos):
            break
    return _verdicts(monitor, slos, run_time_s)


def watched_beside(
    duet: tuple[Run, Run], slos: Sequence[Slo], run_time_s: float, users: int
) -> list[Verdict]:
    """Return the verdict on each change of the first server against the second one.

    The users keep a core of either server busy.
    """
    candidate, sides = _monitors(duet, slos)
    ticks_s = np.arange(1, round(run_time_s / _TICK_S) + 1, dtype=np.float64) * _TICK_S
    cpu_s = [np.interp(ticks_s, run.ended_s, np.cumsum(run.latencies_ms) / 1000 / users) for run in duet]
    requests = [np.searchsorted(run.ended_s, ticks_s, side="right") for run in duet]
    known = [0, 0]
    for at, now_s in enumerate(ticks_s.tolist()):
        for side in (1, 0):
            monitor, run = sides[side]
            new = slice(known[side], requests[side][at])
            known[side] = new.stop
            monitor.add(run.ended_s[new], run.latencies_ms[new], run.failed[new])
            monitor.add_cpu(ticks_s[: at + 1], cpu_s[side][: at + 1])
            monitor.look(now_s, last=now_s >= run_time_s)
        if len(candidate.decisions) == len(slos):
            break
    return _verdicts(candidate, slos, run_time_s)


def changes_in(
    duet: tuple[Run, Run], length_s: float, keys: Sequence[str]
) -> dict[str, tuple[float, float, float]]:
    """Return the changes from the second server to the first one with their intervals."""
    candidate, sides = _monitors(duet, ())
    for monitor, run in reversed(sides):
        monitor.add(run.ended_s, run.latencies_ms, run.failed)
        monitor.look(length_s, last=True)
    found = candidate.changes(length_s)
    return {key: (found[key].value, found[key].low, found[key].high) for key in keys}


def _monitors(duet: tuple[Run, Run], slos: Sequence[Slo]) -> tuple[SloMonitor, list[tuple[SloMonitor, Run]]]:
    """Return the candidate's monitor, and both with their runs."""
    baseline = SloMonitor(
        (), DEFAULT_ALPHA, has_baseline=False, noise_memory_s=NOISE_MEMORY_S, keeps_requests=True
    )
    candidate = SloMonitor(
        slos, DEFAULT_ALPHA, has_baseline=False, noise_memory_s=NOISE_MEMORY_S, against=baseline
    )
    for monitor in (candidate, baseline):
        monitor.settle(0.0)
    return candidate, list(zip((candidate, baseline), duet, strict=True))


def _verdicts(monitor: SloMonitor, slos: Sequence[Slo], run_time_s: float) -> list[Verdict]:
    decisions = (monitor.decisions.get(slo.text) for slo in slos)
    return [
        Verdict(PASS if each.holds else FAIL, each.after_s) if each else Verdict(NEITHER, run_time_s)
        for each in decisions
    ]
