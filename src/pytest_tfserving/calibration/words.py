"""Texts about a calibration: what this machine is fit for, what disturbs it most, what helps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfserving.calibration.wander import P95_NOISE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.calibration.content import Calibration, Floor, Gate, Measurements, Neighbour
    from pytest_tfserving.calibration.wander import Wander

_LIMITS = (0.05, 0.10, 0.20)
_LENGTHS_S = (10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 420, 600, 900, 1200, 1800)
# A gate whose run takes longer is not practical.
_PATIENCE_S = 120
_STEADY_SD = 0.02
_LEAST_STEAL = 0.01
_LEAST_NEIGHBOUR = 0.05
_MOST_NAMED = 3


def answer(content: Measurements, wall: Wander, cpu: Wander) -> list[str]:
    """Return sentences: what the machine is fit for, advice, the largest disturbance, wrong verdicts."""
    sentences = (_fitness(wall), _cpu_advice(wall, cpu), _cause(content), _false_alarms(content["gate"]))
    return [sentence for sentence in sentences if sentence]


def lines(content: Calibration) -> list[str]:
    """Return all lines for the terminal."""
    changes = [
        f"  {length:>4} s {_percent(found['p95']):>8} {_percent(found['rps']):>8} "
        f"{_percent(found['cpu_per_request']):>17}"
        for length, found in content["smallest_change"].items()
    ]
    return [
        *content["answer"],
        "",
        *[f"{name:<16}{text}" for name, text in figures(content).items()],
        "",
        "smallest change that a run of this length can show (alpha 1 %, power 50 %)",
        f"{'p95':>15} {'rps':>8} {'cpu_per_request':>17}",
        *changes,
        *[f"left out: {each}" for each in content["left_out"]],
    ]


def figures(content: Measurements) -> dict[str, str]:
    """Return a line of figures for each part of the calibration, by the part's name."""
    core = content["cores"][-1]
    wall, steal = core["wall"], core["steal"]
    return {
        "noise memory": f"{content['noise_memory_s']:.3g} s",
        "scatter": f"wall time {_percent(wall['scatter'])}, CPU time {_percent(core['cpu']['scatter'])}",
        "slow part": f"{_percent(wall['slow_share'])} of the variance, forgets in {wall['memory_s']:.2g} s"
        if wall["memory_s"]
        else "none seen",
        "cores": f"waited for {_percent(core['waited'])} of the time, "
        + ("steal not known" if steal is None else f"steal {_percent(steal)}"),
        "load generator": _floor(content["generator"]),
        "A/A": _against_itself(content["gate"]),
    }


def _floor(floor: Floor | None) -> str:
    if not floor:
        return "not measured"
    return (
        f"p50 {floor['p50_ms']:.3g} ms, p95 {floor['p95_ms']:.3g} ms, "
        f"lag {floor['lag_p95_ms']:.3g} ms (p95), {floor['rps']:,.0f} requests/s at most"
    )


def _against_itself(gate: Gate | None) -> str:
    if not gate:
        return "not measured"
    runs = "1 run" if len(gate["runs"]) == 1 else f"{len(gate['runs'])} runs"
    verdicts = (
        f"{gate['inconclusive']} inconclusive, {gate['passed']} passed, {gate['failed']} failed, "
        f"{gate['invalid']} invalid"
    )
    return f"{gate['server']} against itself, {runs} of {gate['run_time_s']:.3g} s: {verdicts}"


def needed_s(wander: Wander, change: float, noise_factor: float = 1.0) -> float:
    """Return how many seconds a window needs to show a relative change; infinite beyond half an hour."""
    return next(
        (each for each in _LENGTHS_S if wander.smallest_change(each, noise_factor) <= change), math.inf
    )


def _fitness(wander: Wander) -> str:
    needed = {limit: needed_s(wander, limit, P95_NOISE) for limit in _LIMITS}
    fit = [
        f"at {_percent(limit)} with runs of {_time(length_s)}"
        for limit, length_s in needed.items()
        if length_s <= _PATIENCE_S
    ]
    slow = [
        f"{_percent(limit)} takes {_time(length_s)}"
        for limit, length_s in needed.items()
        if _PATIENCE_S < length_s < math.inf
    ]
    never = [_percent(limit) for limit, length_s in needed.items() if length_s == math.inf]
    parts = [f"fit to gate {_listed(fit)}" if fit else "not fit for quick gates", *slow]
    if never:
        parts.append(f"no run of half an hour sees {_listed(never, 'or')}")
    return f"This machine is {'; '.join(parts)}."


def _cpu_advice(wall: Wander, cpu: Wander) -> str:
    seen, by_cpu = wall.smallest_change(60, P95_NOISE), cpu.smallest_change(60)
    if by_cpu > seen / 2:
        return ""
    return (
        f"CPU time is steadier than latency here: a run of 60 s sees a change of {_percent(by_cpu)} in CPU "
        f"a request, and of {_percent(seen)} in p95."
    )


def _cause(content: Measurements) -> str:
    """Return the largest disturbance of the machine, and what would help most, as sentences."""
    core = content["cores"][-1]
    wall, cpu = core["wall"]["scatter"], core["cpu"]["scatter"]
    if wall < _STEADY_SD:
        return "Nothing disturbs it much."
    if cpu**2 > wall**2 / 2:
        return (
            "The largest cause is the speed of the core itself: its frequency, or neighbours that share its "
            "caches. A fixed frequency, or a machine of your own, would help most."
        )
    waited = f"work waits for a core for {_percent(core['waited'])} of its time"
    return _why_it_waits(waited, core["steal"], content["neighbours"])


def _why_it_waits(waited: str, steal: float | None, neighbours: Sequence[Neighbour]) -> str:
    if steal is not None and steal >= _LEAST_STEAL:
        return (
            f"The largest cause is the machine's host: {waited}, and the host takes {_percent(steal)} of it "
            "(steal). Dedicated cores would help most."
        )
    busy = [
        f"{each['name']} (process {each['pid']}, {_percent(each['cpu'])} of a core)"
        for each in neighbours
        if each["cpu"] >= _LEAST_NEIGHBOUR
    ]
    if busy:
        return (
            f"The largest cause is other processes: {waited}, and {_listed(busy[:_MOST_NAMED])} ran at the "
            "same time. Ending them, or keeping them on other cores, would help most."
        )
    return (
        f"The largest cause is something that cannot be seen from here: {waited}, and neither the host nor a "
        "process shows that it took this time. A machine of your own would help most."
    )


def _false_alarms(gate: Gate | None) -> str:
    if not gate:
        return ""
    decided, asked = gate["passed"] + gate["failed"], 2 * len(gate["runs"])
    if not decided:
        return ""
    return (
        f"One server judged by its own figures was decided in {decided} of {asked} verdicts, and each of "
        "those is wrong: do not set limits so close to what is measured."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"


def _time(seconds: float) -> str:
    return f"{seconds:g} s" if seconds <= _PATIENCE_S else f"{seconds / 60:g} min"


def _listed(texts: Sequence[str], last: str = "and") -> str:
    return f" {last} ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
