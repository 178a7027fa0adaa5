"""How often verdicts are wrong, and how soon they come, on simulated servers whose speed wanders.

The logarithm of a latency is a level that forgets within tau, and has a share of the variance, plus noise of
each request's own; sigma is the deviation of both together. The live monitor watches every run as it goes on,
alpha 1 %, noise memory 10 s, all SLOs of a cell at once.

* boundary: the truth is on the limit, so that every verdict is wrong; and the server is 15 % over it
* arrivals: the same with bursts, in an open loop whose schedule is known and whose requests wait in a queue
* stalls: a server far below its limit, but for stalls that take 5 % of its requests over it
* independent: seconds to a verdict where nothing wanders and the truth is 15 % away
* far: seconds to a verdict where the limit is out of reach, simulated and on benchmarks/recordings
* intervals: how often 95 % intervals cover the truth, and how wide they are
* goodput: the share of requests within their limit is on its own limit; and the server is 15 % over theirs
* windows: the worst of the windows of 10 s is on the limit, given the level in each; and 15 % over it
* recovery: the 5 s that decide are on the limit; and recoveries that are in time, or not
* scoreboard: the rules of other tools on the same noise

Targets on shares allow what chance does where the runs are fewer than 1000 a cell: the most that a one-sided
binomial test of all its cells together (5 %, Bonferroni) does not call more than the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import _common as common
import numpy as np
from _chance import MANY_RUNS, at_most, most_by_chance, within_chance
from _far import FAR, far_times, recorded
from _figures import FIGURES, figures_of
from _noise import Noise, Server
from _parts import try_goodput, try_recovery, try_windows
from _rules import RULES
from _trials import Cell, Trials
from _watch import FAIL, PASS, watched

from pytest_tfserving.experiments.arrivals import ArrivalProcess
from pytest_tfserving.slo.language import parse_slos
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA
from pytest_tfserving.slo.open_loop import DueRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _noise import Floats, Run, Truth
    from _trials import Batch

QUICK_RUNS = 30
RUN_TIME_S, LONG_RUN_TIME_S = 120.0, 300.0
OVER = 1.15
CLOSED, OPEN = Server(users=2, rps=50.0), Server(users=0, rps=50.0)
MEMORIES_S = (0.0, 1.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Found:
    """What a section found: figures for the JSON, and targets."""

    figures: dict[str, Any]
    targets: list[common.Target]


def long_cells(*, quick: bool) -> list[Cell]:
    """Return runs of five minutes with memories from none to the longest that is assumed."""
    memories = MEMORIES_S[::3] if quick else MEMORIES_S
    return [Cell(CLOSED, Noise(memory_s, 0.5, 0.25), LONG_RUN_TIME_S) for memory_s in memories]


def shares(rows: dict[Cell, Floats], outcome: int) -> dict[Cell, Floats]:
    """Return how many of each cell's runs had an outcome, a share an SLO."""
    return {cell: (row[..., 0] == outcome).mean(axis=0) for cell, row in rows.items()}


def worst(found: dict[Cell, Floats], names: Sequence[str]) -> tuple[float, str]:
    """Return the highest figure of all cells, which have one a name, and where it is."""
    cell, name = max(
        ((cell, at) for cell in found for at in range(len(names))), key=lambda at: found[at[0]][at[1]]
    )
    return float(found[cell][name]), f"{names[name]}; {cell}"


def named(names: Sequence[str], values: Floats) -> dict[str, float | None]:
    """Return values by their names; None for what JSON has no word for."""
    known = (value if math.isfinite(value) else None for value in values.tolist())
    return dict(zip(names, known, strict=True))


# --- boundary --------------------------------------------------------------------------------------

METRICS = ("p95", "p99", "mean", "rps", "efficiency", "errors")
# No server can have 15 % more or less errors and be the same otherwise.
METRICS_OVER = METRICS[:5]
# The last memory is longer than the one that is assumed: what verdicts do then is told, and no more.
BOUNDARY_MEMORIES_S = (0.0, 0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
QUICK_MEMORIES_S = (0.0, 2.0, 10.0)
LONGEST_JUDGED_S = 10.0
MOST_WRONG, MOST_WRONG_OVER = DEFAULT_ALPHA, 0.001


def slos_at(truth: Truth, over: float) -> list[str]:
    """Return SLOs that the server is over by that factor."""
    return [*_latencies_and_rate(truth, over), f"efficiency>={100 * truth.efficiency * over:.9g}%"]


def _latencies_and_rate(truth: Truth, over: float) -> list[str]:
    latencies = [f"{name}<{getattr(truth, name) / over:.9g}ms" for name in METRICS[:3]]
    return [*latencies, f"rps>={truth.rps * over:.9g}"]


def try_boundary(batch: Batch, truth: Truth) -> Floats:
    errors = f"errors<{100 * truth.errors:.9g}%"
    slos = parse_slos([*slos_at(truth, 1), errors, *slos_at(truth, OVER)])
    return np.array([watched(run, slos, batch.cell.length_s) for run in batch.runs()])


def boundary(trials: Trials, *, quick: bool) -> Found:
    """Count wrong verdicts where the truth is the limit, and where the server is 15 % over it."""
    cells = [
        Cell(server, Noise(memory_s, share, sigma), RUN_TIME_S)
        for server in (CLOSED, OPEN)
        for memory_s in (QUICK_MEMORIES_S if quick else BOUNDARY_MEMORIES_S)
        for share in ((0.3, 0.8) if quick else (0.3, 0.5, 0.8))
        for sigma in ((0.25,) if quick else (0.10, 0.25))
    ]
    rows = trials.each_with_truth(try_boundary, cells, "boundary")
    return _on_and_over(rows, METRICS, METRICS_OVER, trials.runs)


def _on_and_over(
    rows: dict[Cell, Floats], metrics: Sequence[str], metrics_over: Sequence[str], runs: int
) -> Found:
    """Return wrong verdicts: on the limit, the first columns of each row, and 15 % over it, the others."""
    on = {cell: row[:, : len(metrics)] for cell, row in rows.items()}
    over = {cell: row[:, len(metrics) :] for cell, row in rows.items()}
    passed, failed, passed_over = shares(on, PASS), shares(on, FAIL), shares(over, PASS)
    print(f"\non the limit: wrong PASS/FAIL, 15 % over: wrong PASS, in % of {runs} runs\n")
    common.table(
        ["", *metrics, *(f"{name} over" for name in metrics_over)],
        [
            [
                str(cell),
                *(f"{100 * a:.1f}/{100 * b:.1f}" for a, b in zip(passed[cell], failed[cell], strict=True)),
                *(f"{100 * share:.1f}" for share in passed_over[cell]),
            ]
            for cell in rows
        ],
    )
    figures = {
        str(cell): {
            "pass": named(metrics, passed[cell]),
            "fail": named(metrics, failed[cell]),
            "pass_over": named(metrics_over, passed_over[cell]),
            "median_s_over": named(metrics_over, np.median(over[cell][..., 1], axis=0)),
        }
        for cell in rows
    }
    targets = _on_limit_targets(_judged(passed), _judged(failed), metrics, runs)
    return Found(figures, targets + _over_targets(_judged(passed_over), metrics_over, runs))


def _judged(found: dict[Cell, Floats]) -> dict[Cell, Floats]:
    return {cell: shares for cell, shares in found.items() if cell.noise.tau_s <= LONGEST_JUDGED_S}


def _on_limit_targets(
    passed: dict[Cell, Floats], failed: dict[Cell, Floats], metrics: Sequence[str], runs: int
) -> list[common.Target]:
    targets = []
    for name, wrong in (("PASS", passed), ("FAIL", failed)):
        most, where = worst(wrong, metrics)
        text = f"on the limit, wrong {name} in the worst cell ({where})"
        targets.append(at_most(text, most, MOST_WRONG, runs, len(wrong) * len(metrics)))
    return targets


def _over_targets(passed: dict[Cell, Floats], metrics: Sequence[str], runs: int) -> list[common.Target]:
    pooled, (most, where) = float(np.mean(list(passed.values()))), worst(passed, metrics)
    cells = len(passed) * len(metrics)
    text = "15 % over the limit, PASS in all cells"
    return [
        common.Target(f"{text}, %", 100 * pooled, 100 * MOST_WRONG_OVER)
        if runs >= MANY_RUNS
        else within_chance(text, pooled, MOST_WRONG_OVER, runs * cells),
        within_chance(
            f"15 % over the limit, PASS in the worst cell ({where})", most, MOST_WRONG_OVER, runs, cells
        ),
    ]


# --- arrivals --------------------------------------------------------------------------------------

ARRIVALS = (
    ArrivalProcess(),
    ArrivalProcess("gamma", cv=3),
    ArrivalProcess("mmpp", burst_factor=5, burst_s=1, calm_s=4),
)
# A burst takes 83 % of the server's time.
BUSY = 0.3
ARRIVAL_METRICS = ("p95", "p99", "mean", "rps", "errors")


def try_arrivals(batch: Batch, truth: Truth) -> Floats:
    """Return verdicts in an open loop whose schedule is known."""
    errors, server = f"errors<{100 * truth.errors:.9g}%", batch.cell.server
    slos = parse_slos([*_latencies_and_rate(truth, 1), errors, *_latencies_and_rate(truth, OVER)])
    return np.array([watched(run, slos, batch.cell.length_s, due=_due(run, server)) for run in batch.runs()])


def _due(run: Run, server: Server) -> DueRequests:
    assert server.arrivals
    due_s = np.sort(run.ended_s - run.latencies_ms / 1e3)
    process, rps = server.arrivals, server.rps
    return DueRequests(iter(due_s), rps, process.memory_s(rps), process.clump(rps))


def arrivals(trials: Trials, *, quick: bool) -> Found:
    """Count wrong verdicts in open loops with bursts, on a server with a queue."""
    cells = [
        Cell(Server(0, 50.0, arrivals=process, busy=BUSY), Noise(memory_s, 0.5, 0.25), RUN_TIME_S)
        for process in ARRIVALS
        for memory_s in (QUICK_MEMORIES_S[::2] if quick else QUICK_MEMORIES_S)
    ]
    rows = trials.each_with_truth(try_arrivals, cells, "arrivals")
    return _on_and_over(rows, ARRIVAL_METRICS, ARRIVAL_METRICS[:4], trials.runs)


# --- stalls ----------------------------------------------------------------------------------------

# Latencies are 80 ms without a stall, a stall is 800 ms.
STALLING = Server(users=4, rps=50.0, stalled=0.05, stall_s=0.8)
STALL_LIMIT_MS = 320


def try_stalls(batch: Batch) -> Floats:
    slos = parse_slos([f"p95<{STALL_LIMIT_MS}ms"])
    return np.array([watched(run, slos, batch.cell.length_s) for run in batch.runs()])


def stalls(trials: Trials, *, quick: bool) -> Found:
    """Count verdicts on a server that stalls take over its limit, as often as is just not allowed."""
    memories = (0.0, 10.0) if quick else (0.0, 2.0, 10.0)
    cells = [Cell(STALLING, Noise(memory_s, 0.5, 0.1), RUN_TIME_S) for memory_s in memories]
    rows = trials.each(try_stalls, cells, "stalls")
    passed, failed = shares(rows, PASS), shares(rows, FAIL)
    print(f"\n5 % of the requests over the limit by stalls of all in flight, in % of {trials.runs} runs\n")
    common.table(
        ["", "wrong PASS", "wrong FAIL"],
        [[str(cell), *(f"{100 * each[cell][0]:.1f}" for each in (passed, failed))] for cell in cells],
    )
    most, where = worst(passed, ["p95"])
    return Found(
        {str(cell): {"pass": float(passed[cell][0]), "fail": float(failed[cell][0])} for cell in cells},
        [at_most(f"stalls, PASS in the worst cell ({where})", most, MOST_WRONG, trials.runs, len(cells))],
    )


# --- independent -----------------------------------------------------------------------------------

AWAY = {"p95 PASS": PASS, "p95 FAIL": FAIL, "p99 PASS": PASS, "p99 FAIL": FAIL}
SOON_S = 20.0
# The first is held to it.
SIGMAS = (0.25, 0.35)


def try_independent(batch: Batch, truth: Truth) -> Floats:
    limits_ms = truth.p95 * OVER, truth.p95 / OVER, truth.p99 * OVER, truth.p99 / OVER
    names = (name.split()[0] for name in AWAY)
    slos = parse_slos([f"{name}<{limit_ms:.9g}ms" for name, limit_ms in zip(names, limits_ms, strict=True)])
    return np.array([watched(run, slos, batch.cell.length_s) for run in batch.runs()])


def independent(trials: Trials, *, quick: bool) -> Found:
    """Take the time to a verdict where nothing wanders and the truth is 15 % away."""
    del quick
    cells = [Cell(Server(users=2, rps=100.0), Noise(0.0, 0.5, sigma), RUN_TIME_S) for sigma in SIGMAS]
    rows = trials.each_with_truth(try_independent, cells, "independent")
    medians_s = {cell: np.median(row[..., 1], axis=0) for cell, row in rows.items()}
    decided = {cell: (row[..., 0] == list(AWAY.values())).mean(axis=0) for cell, row in rows.items()}
    print(
        f"\nindependent latencies, 100 requests/s, truth 15 % away, {trials.runs} runs of {RUN_TIME_S:g} s: "
        "median s to a verdict, right ones in %\n"
    )
    common.table(
        ["sigma", *AWAY],
        [
            [
                f"{cell.noise.sigma:g}",
                *(
                    f"{at_s:.1f}, {100 * share:.1f}"
                    for at_s, share in zip(medians_s[cell], decided[cell], strict=True)
                ),
            ]
            for cell in cells
        ],
    )
    names = tuple(AWAY)
    return Found(
        {
            f"sigma {cell.noise.sigma:g}": {
                "median_s": named(names, medians_s[cell]),
                "right": named(names, decided[cell]),
            }
            for cell in cells
        },
        [
            common.Target(f"15 % away, independent, {name}, median s", float(medians_s[cells[0]][at]), SOON_S)
            for at, name in enumerate(names[:2])
        ],
    )


# --- far -------------------------------------------------------------------------------------------

MOST_TIMES_THE_COUNT = 1.3
# What the shortest window takes, with what is held back and the next look.
HOPELESS_S = 6.0
# In a few runs the first seconds look like a warm-up or a drift: load is not steady yet.
STEADY_SHARE = 0.95
QUANTILES = {
    "half of the runs by": 0.5,
    "95 % of the runs by": STEADY_SHARE,
    "99 % of the runs by": 0.99,
    "all runs by": 1.0,
}


def try_far(batch: Batch) -> Floats:
    return np.array([far_times(run, batch.cell.length_s) for run in batch.runs()])


def far(trials: Trials, *, quick: bool) -> Found:
    """Take the time to a verdict where the limit is out of reach."""
    del quick
    cell = Cell(Server(users=4, rps=10.0), Noise(2.0, 0.5, 0.25), LONG_RUN_TIME_S)
    times = trials.each(try_far, [cell], "far")[cell]
    rows = {text: np.quantile(times, share, axis=0, method="higher") for text, share in QUANTILES.items()}
    recordings = {name: far_times(run, float(run.ended_s[-1])) for name, run in recorded().items()}
    names = tuple(FAR)
    print(
        f"\nlimits out of reach ({cell}; {trials.runs} runs): PASS on percentiles in multiples of what "
        "counting requests takes, the rest in s\n"
    )
    common.table(
        ["", *names],
        [[text, *(f"{each:.2f}" for each in row)] for text, row in (rows | recordings).items()],
    )
    half, nearly_all, *_ = rows.values()
    targets = [
        common.Target(
            f"far, {names[at]}, median multiple of the count's time", float(half[at]), MOST_TIMES_THE_COUNT
        )
        for at in (0, 1)
    ]
    targets += [
        common.Target(
            f"far, {names[at]}, {100 * STEADY_SHARE:g} % of the runs by s", float(nearly_all[at]), HOPELESS_S
        )
        for at in (2, 3, 4)
    ]
    for name, row in recordings.items():
        multiple, latest_s = float(row[0]), float(row[2:].max())
        targets += [
            common.Target(
                f"far, {name}, p95 PASS, multiple of the count's time", multiple, MOST_TIMES_THE_COUNT
            ),
            common.Target(f"far, {name}, p95 FAIL and rps, latest s", latest_s, HOPELESS_S),
        ]
    return Found({text: named(names, row) for text, row in (rows | recordings).items()}, targets)


# --- intervals -------------------------------------------------------------------------------------

COVERED = 0.93, 0.97
VARIANCE = 0.8, 1.25
_Z = 1.96


def try_intervals(batch: Batch, truth: Truth) -> Floats:
    """Return of each figure: the estimate over the truth, whether that is covered, the variance predicted."""
    true = np.array([getattr(truth, name) for name in FIGURES])
    found = np.array([figures_of(run, batch.cell.length_s) for run in batch.runs()])
    value, low, high = np.moveaxis(found, -1, 0) / true
    covered = np.where(np.isnan(low), math.nan, (low <= 1) & (high >= 1))
    return np.stack([value, covered, ((high - low) / 2 / _Z) ** 2], axis=-1)


def intervals(trials: Trials, *, quick: bool) -> Found:
    """Compare intervals with the truth, and with how much the figures scatter from run to run."""
    cells = long_cells(quick=quick)
    rows = trials.each_with_truth(try_intervals, cells, "intervals")
    covered = {cell: np.nanmean(row[..., 1], axis=0) for cell, row in rows.items()}
    ratios = {
        cell: row[..., 0].var(axis=0, ddof=1) / np.nanmean(row[..., 2], axis=0) for cell, row in rows.items()
    }
    missing = {cell: np.isnan(row[..., 1]).mean(axis=0) for cell, row in rows.items()}
    print(
        f"\n95 % intervals of {LONG_RUN_TIME_S:g} s, {trials.runs} runs: truth covered in %, realised "
        "variance over predicted, runs without an interval in %\n"
    )
    common.table(
        ["", *FIGURES],
        [
            [
                str(cell),
                *(
                    f"{100 * share:.1f}, {ratio:.2f}, {100 * without:.0f}"
                    for share, ratio, without in zip(covered[cell], ratios[cell], missing[cell], strict=True)
                ),
            ]
            for cell in cells
        ],
    )
    figures = {
        str(cell): {
            name: named(FIGURES, found[cell])
            for name, found in (("covered", covered), ("variance", ratios), ("missing", missing))
        }
        for cell in cells
    }
    targets = _covered_targets(covered, trials.runs) + _variance_targets(ratios, trials.runs)
    return Found(figures, targets)


def _covered_targets(covered: dict[Cell, Floats], runs: int) -> list[common.Target]:
    """Return targets of the lowest and the highest coverage, as far from theirs as chance makes them."""
    missed, where_missed = worst({cell: 1 - share for cell, share in covered.items()}, FIGURES)
    most, where_most = worst(covered, FIGURES)
    (lowest, highest), test = COVERED, ""
    if runs < MANY_RUNS:
        cells = len(covered) * len(FIGURES)
        lowest = 1 - most_by_chance(runs, 1 - lowest, cells)
        highest = most_by_chance(runs, highest, cells)
        test = f" (binomial test of {100 * COVERED[0]:g} to {100 * COVERED[1]:g} % in {runs} runs)"
    return [
        common.Target(
            f"least coverage ({where_missed}), %{test}", 100 * (1 - missed), 100 * lowest, at_least=True
        ),
        common.Target(f"most coverage ({where_most}), %{test}", 100 * most, 100 * highest),
    ]


def _variance_targets(ratios: dict[Cell, Floats], runs: int) -> list[common.Target]:
    """Return targets of the lowest and the highest ratio, which few runs know within a factor only."""
    least, where_least = worst({cell: -ratio for cell, ratio in ratios.items()}, FIGURES)
    most, where_most = worst(ratios, FIGURES)
    factor, known = 1.0, ""
    if runs < MANY_RUNS:
        # Three standard errors of the logarithm of a variance.
        factor = math.exp(3 * math.sqrt(2 / (runs - 1)))
        known = f" ({runs} runs know it within a factor of {factor:.2f})"
    text = "realised variance over predicted"
    return [
        common.Target(f"least {text} ({where_least}){known}", -least, VARIANCE[0] / factor, at_least=True),
        common.Target(f"most {text} ({where_most}){known}", most, VARIANCE[1] * factor),
    ]


# --- goodput, windows and recovery -----------------------------------------------------------------

PARTS_RUN_TIME_S = 60.0
# A window, and the time after a spike, have to have enough requests to be decided.
BUSY_CLOSED, BUSY_OPEN = Server(users=2, rps=100.0), Server(users=0, rps=100.0)


def parts_cells(*, quick: bool, run_time_s: float) -> list[Cell]:
    """Return runs in closed and open loop with memories from none to the longest that is assumed."""
    memories = QUICK_MEMORIES_S if quick else BOUNDARY_MEMORIES_S[:-1]
    return [
        Cell(server, Noise(memory_s, 0.5, 0.25), run_time_s)
        for server in (BUSY_CLOSED, BUSY_OPEN)
        for memory_s in memories
    ]


def goodput(trials: Trials, *, quick: bool) -> Found:
    """Count wrong verdicts on goodput."""
    cells = parts_cells(quick=quick, run_time_s=RUN_TIME_S)
    rows = trials.each_with_truth(try_goodput, cells, "goodput")
    return _wrong_or_not("goodput", ("on the limit", "15 % over"), rows, trials.runs)


def windows(trials: Trials, *, quick: bool) -> Found:
    """Count wrong verdicts on windows."""
    rows = trials.each(try_windows, parts_cells(quick=quick, run_time_s=PARTS_RUN_TIME_S), "windows")
    return _wrong_or_not("windows", ("on the limit", "15 % over"), rows, trials.runs)


def recovery(trials: Trials, *, quick: bool) -> Found:
    """Count wrong verdicts on recovery, and right ones where the server recovers in time, and too late."""
    rows = trials.each(try_recovery, parts_cells(quick=quick, run_time_s=40.0), "recovery")
    found = _wrong_or_not("recovery", ("on the limit", "in time", "late"), rows, trials.runs)
    in_time = min(float((row[:, 1, 0] == PASS).mean()) for row in rows.values())
    late = min(float((row[:, 2, 0] == FAIL).mean()) for row in rows.values())
    return Found(
        found.figures,
        [
            *found.targets,
            common.Target("recovery in time, PASS in the worst cell, %", 100 * in_time, 95, at_least=True),
            common.Target("recovery too late, FAIL in the worst cell, %", 100 * late, 95, at_least=True),
        ],
    )


def _wrong_or_not(what: str, scenes: tuple[str, ...], rows: dict[Cell, Floats], runs: int) -> Found:
    """Return PASS and FAIL in each scene; on the limit both are wrong, and in the last one a PASS is."""
    passed, failed = shares(rows, PASS), shares(rows, FAIL)
    print(f"\n{what}: PASS/FAIL in % of {runs} runs, and median s to a verdict\n")
    medians_s = {cell: np.median(row[..., 1], axis=0) for cell, row in rows.items()}
    common.table(
        ["", *scenes],
        [
            [
                str(cell),
                *(
                    f"{100 * a:.1f}/{100 * b:.1f}, {at_s:.0f} s"
                    for a, b, at_s in zip(passed[cell], failed[cell], medians_s[cell], strict=True)
                ),
            ]
            for cell in rows
        ],
    )
    targets = []
    for name, wrong in (("PASS", passed), ("FAIL", failed)):
        most, where = worst({cell: found[:1] for cell, found in wrong.items()}, scenes[:1])
        text = f"{what}, {where}: wrong {name} in the worst cell"
        targets.append(at_most(text, most, MOST_WRONG, runs, len(wrong)))
    most, where = worst({cell: found[-1:] for cell, found in passed.items()}, scenes[-1:])
    text = f"{what}, {where}: wrong PASS in the worst cell"
    targets.append(within_chance(text, most, MOST_WRONG_OVER, runs, len(passed)))
    figures = {
        str(cell): {"pass": named(scenes, passed[cell]), "fail": named(scenes, failed[cell])} for cell in rows
    }
    return Found(figures, targets)


# --- scoreboard ------------------------------------------------------------------------------------

OURS = "this plugin"
# By what factor the server is over the limit of its p95.
SCENES = {"on its limit": 1.0, "15 % over its limit": OVER, "15 % under its limit": 1 / OVER}


def try_rules(batch: Batch, truth: Truth) -> Floats:
    """Return each run's verdicts, ours first, in each of `SCENES`: shape ``(runs, rules, scenes, 2)``."""
    limits_ms = [truth.p95 / over for over in SCENES.values()]
    slos = parse_slos([f"p95<{limit_ms:.9g}ms" for limit_ms in limits_ms])
    length_s = batch.cell.length_s
    return np.array(
        [
            [
                watched(run, slos, length_s),
                *([rule(run, limit_ms, length_s) for limit_ms in limits_ms] for rule in RULES.values()),
            ]
            for run in batch.runs()
        ]
    )


def scoreboard(trials: Trials, *, quick: bool) -> Found:
    """Compare the rules of other tools on the same noise."""
    cells = long_cells(quick=quick)
    rows = trials.each_with_truth(try_rules, cells, "scoreboard")
    memories = [f"tau {cell.noise.tau_s:g} s" for cell in cells]
    figures = {
        scene: {
            rule: {
                memory: _score(rows[cell][:, at, of]) for memory, cell in zip(memories, cells, strict=True)
            }
            for at, rule in enumerate((OURS, *RULES))
        }
        for of, scene in enumerate(SCENES)
    }
    for scene, rules in figures.items():
        print(
            f"\nserver {scene}, {trials.runs} runs of {LONG_RUN_TIME_S:g} s: PASS / FAIL in %, median s to a "
            "verdict\n"
        )
        common.markdown(
            ["rule", *memories],
            [[rule, *(_score_text(each) for each in row.values())] for rule, row in rules.items()],
        )
    on, over, _ = (found[OURS].values() for found in figures.values())
    most, passed = max(max(each["pass"], each["fail"]) for each in on), max(each["pass"] for each in over)
    text = "scoreboard, this plugin"
    return Found(
        figures,
        [
            at_most(
                f"{text}, wrong on the limit in the worst cell", most, MOST_WRONG, trials.runs, 2 * len(cells)
            ),
            within_chance(
                f"{text}, PASS 15 % over the limit in the worst cell",
                passed,
                MOST_WRONG_OVER,
                trials.runs,
                len(cells),
            ),
        ],
    )


def _score(verdicts: Floats) -> dict[str, float]:
    passed, failed = ((verdicts[:, 0] == outcome).mean() for outcome in (PASS, FAIL))
    return {"pass": float(passed), "fail": float(failed), "median_s": float(np.median(verdicts[:, 1]))}


def _score_text(score: dict[str, float]) -> str:
    return f"{100 * score['pass']:.1f} / {100 * score['fail']:.1f}, {score['median_s']:.0f} s"


SECTIONS: dict[str, Callable[..., Found]] = {
    "boundary": boundary,
    "arrivals": arrivals,
    "stalls": stalls,
    "independent": independent,
    "far": far,
    "intervals": intervals,
    "goodput": goodput,
    "windows": windows,
    "recovery": recovery,
    "scoreboard": scoreboard,
}


def main() -> None:
    args = common.arguments(
        __doc__,
        choices={"only": (tuple(SECTIONS), "which parts to try")},
        runs=(None, f"runs a cell (default: {MANY_RUNS}, {QUICK_RUNS} when --quick)"),
        seed=(1, "of the noise (default: 1)"),
    )
    runs = args.runs or (QUICK_RUNS if args.quick else MANY_RUNS)
    figures: dict[str, Any] = {"runs": runs, "seed": args.seed}
    targets = []
    with Trials(runs, args.seed) as trials:
        for name in args.only:
            found = SECTIONS[name](trials, quick=args.quick)
            figures[name] = found.figures
            targets += found.targets
    common.finish(args, figures, targets)


if __name__ == "__main__":
    main()
