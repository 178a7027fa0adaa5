"""Simulated and recorded runs, watched by the plugin's live monitor as they would have gone on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pytest_tfserving.slo.monitor import DEFAULT_ALPHA, SloMonitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _noise import Run

    from pytest_tfserving.slo.language import Slo

NOISE_MEMORY_S = 10.0
PASS, NEITHER, FAIL = 1, 0, -1
# The live monitor hears of requests, and looks, so often.
_TICK_S = 0.5


class Verdict(NamedTuple):
    """`PASS`, `FAIL` or `NEITHER`, and after how many seconds."""

    outcome: int
    after_s: float


def watched(run: Run, slos: Sequence[Slo], run_time_s: float) -> list[Verdict]:
    """Return the verdict on each SLO when all are watched in one run."""
    monitor = SloMonitor(slos, DEFAULT_ALPHA, has_baseline=True, noise_memory_s=NOISE_MEMORY_S)
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
    decisions = (monitor.decisions.get(slo.text) for slo in slos)
    return [
        Verdict(PASS if each.holds else FAIL, each.after_s) if each else Verdict(NEITHER, run_time_s)
        for each in decisions
    ]
