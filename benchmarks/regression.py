"""Whether the gate against a baseline server is right, and how soon.

* simulated: two servers that take turns on noise that wanders, as verdict.py has it, watched by the live
  monitor. In the first part the change is the limit, so that every verdict is wrong; in the second one both
  servers are the same, and a gate of the default SLOs fails if one of them does.
* real: the embedded server against itself, and beside it two runs one after the other whose point estimates
  are compared. Each run is added to the file of --append at once, so that it may be made in pieces.
* planted: the embedded server against one that computes longer in each call: by 5 % and 10 % of what a
  request takes, and by 2 % of its CPU. The limits are changes of 0 %.

Load goes to each of the two servers for half of the time: seconds are those of both together. Targets on
shares allow what chance does in so few runs (a binomial test of 5 %, Bonferroni).

The parts real and planted need the extra embedded, two cores and 2 GB of RAM.
"""

from __future__ import annotations

import json
import math
import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

import _common as common
import numpy as np
from _ab_runs import SHAPES, Gate
from _chance import most_by_chance, within_chance
from _noise import Noise, Server
from _trials import Cell, Trials
from _watch import FAIL, PASS, changes_in, watched_beside

from pytest_tfserving.slo.language import parse_slos
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from _noise import Floats
    from _trials import Batch

SIMULATED, QUICK_SIMULATED = 50, 4
RUN_TIME_S = 120.0
LIMIT = 1.05
SERVER = Server(users=2, rps=50.0)
# The rate of a server that takes 1.05 times as long a request is 1/1.05 of the other's.
AT_LIMIT = ("p50<=+5%", "p95<=+5%", "p99<=+5%", "mean<=+5%", "rps>=-4.761904762%", "cpu_per_request<=+5%")
GATE = ("p95<=+5%", "rps>=-5%", "cpu_per_request<=+5%")
SAME = (*GATE, "mean<=+5%")
COVERED = ("p50_ms", "p95_ms", "p99_ms", "mean_ms", "rps")
LEAST_COVERED, MOST_COVERED = 0.93, 0.97
SLOWER = ("rps>=-0%", "mean<=+0%", "cpu_per_request<=+0%")
# By model: the longest median seconds to "not slower than 5 %" on rps and mean, and on p95.
SOON_S = {"half_plus_two": (60.0, 120.0), "resnet50": (150.0, 300.0)}
REAL_RUN_TIME_S = {"half_plus_two": 120.0, "resnet50": 300.0}
QUICK_RUN_TIME_S = 10.0
_ALL = 100.0
_ALLOWED = 0.05


class Planted(NamedTuple):
    """A change for the worse: a share of a request's time or of its CPU, and how it has to be found."""

    name: str
    share: float
    of_cpu: bool
    slos: tuple[str, ...]
    within_s: float
    at_least: float


PLANTED = (
    Planted("+5 %", 0.05, False, SLOWER[:2], 120.0, 0.95),
    Planted("+10 %", 0.10, False, SLOWER[:2], 45.0, 0.95),
    Planted("+2 % CPU", 0.02, True, SLOWER[2:], math.inf, 0.9),
)


class Found(NamedTuple):
    """What a part found: figures for the JSON, and targets."""

    figures: dict[str, Any]
    targets: list[common.Target]


# --- simulated -------------------------------------------------------------------------------------


def try_limit(batch: Batch) -> Floats:
    """Return each run's verdicts on `AT_LIMIT`, which are all wrong."""
    slos = parse_slos(AT_LIMIT)
    return np.array(
        [watched_beside(each, slos, batch.cell.length_s, SERVER.users) for each in batch.duets(LIMIT)]
    )


def try_same(batch: Batch) -> Floats:
    """Return each run's verdicts on `SAME`."""
    slos = parse_slos(SAME)
    return np.array(
        [watched_beside(each, slos, batch.cell.length_s, SERVER.users) for each in batch.duets(1.0)]
    )


def try_intervals(batch: Batch) -> Floats:
    """Return each run's changes with their intervals."""
    duets, length_s = batch.duets(1.0), batch.cell.length_s
    return np.array([[*changes_in(each, length_s, COVERED).values()] for each in duets])


def try_estimates(batch: Batch) -> Floats:
    """Return whether the estimates of two runs one after the other differ by more than 5 % for the worse."""
    duets = batch.duets(1.0)
    pairs = [(first, second) for (first, _), (_, second) in zip(duets, duets[1:] + duets[:1], strict=True)]
    worse = [
        (
            np.percentile(second.latencies_ms, 95) / np.percentile(first.latencies_ms, 95) - 1,
            1 - len(second.ended_s) / len(first.ended_s),
        )
        for first, second in pairs
    ]
    return np.array(np.array(worse).max(axis=1) > _ALLOWED)


def simulated(args: argparse.Namespace, _: _Kept) -> Found:
    """Count wrong verdicts at the limit, and false alarms of a gate on the same server twice."""
    runs = args.simulated or (QUICK_SIMULATED if args.quick else SIMULATED)
    noises = [
        Noise(tau_s, share, sigma)
        for tau_s in ((0.0, 10.0) if args.quick else (0.0, 1.0, 5.0, 10.0))
        for share in ((0.5,) if args.quick else (0.3, 0.5, 0.8))
        for sigma in ((0.25,) if args.quick else (0.10, 0.25))
    ]
    cells = [Cell(SERVER, noise, RUN_TIME_S) for noise in noises]
    with Trials(runs, args.seed) as trials:
        limit = trials.each(try_limit, cells, "at the limit")
        same = trials.each(try_same, cells, "the same twice")
        estimates = trials.each(try_estimates, cells, "one after the other")
        intervals = trials.each(try_intervals, cells, "intervals")
    wrong, alarms, covered = _at_limit(limit, runs), _same(same, estimates, runs), _covered(intervals)
    return Found(
        {"runs": runs, "limit": wrong.figures, "same": alarms.figures, "intervals": covered.figures},
        wrong.targets + alarms.targets + covered.targets,
    )


def _at_limit(rows: dict[Cell, Floats], runs: int) -> Found:
    shares = {
        cell: {name: (row[..., 0] == of).mean(axis=0) for name, of in (("PASS", PASS), ("FAIL", FAIL))}
        for cell, row in rows.items()
    }
    print(f"\nthe change is the limit, +5 %: wrong PASS/FAIL in % of {runs} runs of {RUN_TIME_S:g} s each\n")
    common.table(
        ["", *(each.split("%")[0] + "%" for each in AT_LIMIT)],
        [
            [
                str(cell),
                *(
                    f"{_ALL * passed:.1f}/{_ALL * failed:.1f}"
                    for passed, failed in zip(found["PASS"], found["FAIL"], strict=True)
                ),
            ]
            for cell, found in shares.items()
        ],
    )
    targets = []
    for name in ("PASS", "FAIL"):
        worst = max(float(found[name].max()) for found in shares.values())
        pooled = float(np.mean([found[name] for found in shares.values()]))
        tried = len(shares) * len(AT_LIMIT)
        text = f"simulated, at the limit, wrong {name}"
        targets += [
            within_chance(f"{text} in the worst cell", worst, DEFAULT_ALPHA, runs, tried),
            common.Target(f"{text} in all cells, %", _ALL * pooled, _ALL * DEFAULT_ALPHA),
        ]
    figures = {
        str(cell): {name: each.tolist() for name, each in found.items()} for cell, found in shares.items()
    }
    return Found(figures, targets)


def _same(rows: dict[Cell, Floats], estimates: dict[Cell, Floats], runs: int) -> Found:
    gates = {cell: (row[:, : len(GATE), 0] == FAIL).any(axis=1) for cell, row in rows.items()}
    medians_s = {cell: 2 * np.median(row[..., 1], axis=0) for cell, row in rows.items()}
    passed = {cell: (row[..., 0] == PASS).mean(axis=0) for cell, row in rows.items()}
    print(f"\nthe same server twice: false alarms of the gate, PASS in % and median s of {runs} runs each\n")
    common.table(
        ["", "alarms", "one after the other", *SAME],
        [
            [
                str(cell),
                int(gates[cell].sum()),
                int(estimates[cell].sum()),
                *(
                    f"{_ALL * share:.0f}, {after_s:.0f} s"
                    for share, after_s in zip(passed[cell], medians_s[cell], strict=True)
                ),
            ]
            for cell in rows
        ],
    )
    total = runs * len(rows)
    alarms = sum(int(each.sum()) for each in gates.values())
    figures = {
        str(cell): {
            "alarms": int(gates[cell].sum()),
            "alarms_one_after_the_other": int(estimates[cell].sum()),
            "passed": passed[cell].tolist(),
            "median_s": medians_s[cell].tolist(),
        }
        for cell in rows
    }
    text = f"simulated, the same twice, false alarms of the gate in {total:,} runs, %"
    return Found(figures, [common.Target(text, _ALL * alarms / total, _ALL * DEFAULT_ALPHA)])


def _covered(rows: dict[Cell, Floats]) -> Found:
    """Count how often intervals of fixed runs have no change in them, and the mean change."""
    pooled = np.concatenate(list(rows.values()))
    covered = ((pooled[..., 1] <= 0) & (pooled[..., 2] >= 0)).mean(axis=0)
    values = pooled[..., 0]
    errors = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    print(f"\nthe same server twice: intervals that cover 0, and the mean change, of {len(pooled):,} runs\n")
    common.table(
        ["", *COVERED],
        [
            ["covered, %", *(f"{_ALL * each:.1f}" for each in covered)],
            ["mean change, %", *(f"{_ALL * each:+.3f}" for each in values.mean(axis=0))],
            ["its standard error, %", *(f"{_ALL * each:.3f}" for each in errors)],
        ],
    )
    count = len(pooled)
    least = 1 - most_by_chance(count, 1 - LEAST_COVERED, len(COVERED))
    targets = [
        common.Target(
            "simulated, least coverage of a change, %",
            _ALL * float(covered.min()),
            _ALL * least,
            at_least=True,
        )
    ]
    by_cell = {
        str(cell): ((row[..., 1] <= 0) & (row[..., 2] >= 0)).mean(axis=0).tolist()
        for cell, row in rows.items()
    }
    figures = {
        "covered": dict(zip(COVERED, covered.tolist(), strict=True)),
        "mean_change": dict(zip(COVERED, values.mean(axis=0).tolist(), strict=True)),
        "covered_by_cell": by_cell,
    }
    return Found(figures, targets)


# --- real ------------------------------------------------------------------------------------------


def real(args: argparse.Namespace, kept: _Kept) -> Found:
    """Compare the embedded server with itself, again and again."""
    runs = args.runs or (1 if args.quick else 4)
    with common.scratch() as folder:
        for model in ("half_plus_two",) if args.quick else args.model:
            run_time_s = QUICK_RUN_TIME_S if args.quick else REAL_RUN_TIME_S[model]
            gate = Gate(folder, model, run_time_s, args.neighbour)
            for number in range(runs):
                common.note(f"{model} against itself, {number + 1} of {runs}")
                kept.add({"part": "real", **gate.against_itself(SAME)})
    common.note("")
    groups = _groups(kept.of("real"))
    print("\nthe embedded server against itself: false alarms, median s until each PASS\n")
    common.table(
        ["", "runs", "alarms", "one after the other", *SAME],
        [
            [
                name,
                len(found),
                sum(map(_alarms, found)),
                sum(map(_alarms_of_estimates, found)),
                *(_seconds(_median_s(found, slo, "PASS")) for slo in SAME),
            ]
            for name, found in groups.items()
        ],
    )
    every = [run for found in groups.values() for run in found]
    share = statistics.fmean(map(_alarms, every))
    targets = [within_chance("real, the same twice, false alarms", share, DEFAULT_ALPHA, len(every))]
    # Quick runs are too short for a PASS.
    for model, (soon_s, p95_soon_s) in ({} if args.quick else SOON_S).items():
        if found := groups.get(model):
            targets += [
                common.Target(
                    f"{model}, median s to a PASS on {slo}",
                    _median_s(found, slo, "PASS"),
                    p95_soon_s if slo.startswith("p95") else soon_s,
                )
                for slo in (*GATE[:2], SAME[-1])
            ]
    figures = {
        name: {
            "runs": len(found),
            "alarms": sum(map(_alarms, found)),
            "alarms_one_after_the_other": sum(map(_alarms_of_estimates, found)),
            "median_s": {slo: _finite(_median_s(found, slo, "PASS")) for slo in SAME},
            "changes": [run["changes"] for run in found],
        }
        for name, found in groups.items()
    }
    return Found(figures, targets)


class _Kept:
    """Runs that were made, of earlier pieces too if there is a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._runs: list[dict[str, Any]] = []
        if path and path.exists():
            self._runs = json.loads(path.read_text(encoding="utf-8"))

    def add(self, run: dict[str, Any]) -> None:
        """Keep a run, in the file if there is one."""
        self._runs.append(run)
        if self._path:
            self._path.write_text(json.dumps(self._runs, indent=1) + "\n", encoding="utf-8")

    def of(self, part: str) -> list[dict[str, Any]]:
        """Return the runs of a part of the benchmark."""
        return [run for run in self._runs if run["part"] == part]


def _groups(runs: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the runs by model, those beside a neighbour apart."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault(run["model"] + (" beside a neighbour" if run["neighbour"] else ""), []).append(run)
    return found


def _alarms(run: dict[str, Any]) -> bool:
    """Return whether a gate of the default SLOs fails."""
    return any(run["verdicts"][slo] == "FAIL" for slo in GATE)


def _alarms_of_estimates(run: dict[str, Any]) -> bool:
    """Return whether a figure of a gate by default is more than 5 % worse from one run to the next."""
    worse = run["one_after_the_other"]
    return any(worse.get(name, 0.0) > _ALLOWED for name in ("p95_ms", "rps", "cpu_per_request_ms"))


def _median_s(runs: Sequence[dict[str, Any]], slo: str, verdict: str) -> float:
    """Return the median seconds until a verdict; infinite if most runs do not have it."""
    return statistics.median(_decided_s(run, slo, verdict) for run in runs)


def _decided_s(run: dict[str, Any], slo: str, verdict: str) -> float:
    return float(run["decided_s"].get(slo, math.inf)) if run["verdicts"][slo] == verdict else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _seconds(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "open"


# --- planted ---------------------------------------------------------------------------------------


def planted(args: argparse.Namespace, kept: _Kept) -> Found:
    """Compare the embedded server with one that computes longer in each call."""
    runs = args.runs or (1 if args.quick else 4)
    with common.scratch() as folder:
        for model in ("half_plus_two",) if args.quick else args.model:
            run_time_s = QUICK_RUN_TIME_S if args.quick else REAL_RUN_TIME_S[model]
            gate = Gate(folder, model, run_time_s, args.neighbour)
            before = [run for run in kept.of("real") if run["model"] == model] if args.quick else []
            known = (before[-1] if before else gate.against_slower(SLOWER, 0.0))["baseline"]
            for each in PLANTED[1:2] if args.quick else PLANTED:
                taken_s = known["cpu_per_request_ms"] / 1e3 if each.of_cpu else 1 / known["rps"]
                for number in range(runs):
                    common.note(f"{model}, {each.name} planted, {number + 1} of {runs}")
                    run = gate.against_slower(each.slos, each.share * taken_s)
                    kept.add({"part": "planted", "planted": each.name, **run})
    common.note("")
    return _found(_groups(kept.of("planted")))


def _found(groups: dict[str, list[dict[str, Any]]]) -> Found:
    """Print how soon planted changes were found."""
    rows, targets, figures = [], [], {}
    for name, runs in groups.items():
        for each in PLANTED:
            found_s = [
                min(_decided_s(run, slo, "FAIL") for slo in each.slos)
                for run in runs
                if run["planted"] == each.name
            ]
            if not found_s:
                continue
            share = statistics.fmean(at_s <= each.within_s for at_s in found_s)
            median_s = statistics.median(found_s)
            rows.append([f"{name}, {each.name}", len(found_s), _ALL * share, _seconds(median_s)])
            figures[f"{name}, {each.name}"] = [_finite(at_s) for at_s in found_s]
            within = f" within {each.within_s:g} s" if math.isfinite(each.within_s) else ""
            if "neighbour" not in name:
                text = f"{name}, {each.name} planted, found{within}, share"
                targets.append(common.Target(text, share, each.at_least, at_least=True))
    print("\ncomputing longer in each call: found in time in %, median s\n")
    common.table(["", "runs", "found, %", "median s"], rows)
    return Found(figures, targets)


SECTIONS = {"simulated": simulated, "real": real, "planted": planted}


def main() -> None:
    args = common.arguments(
        __doc__,
        {"neighbour": "real runs beside a process that takes the server's core now and then"},
        {"only": (tuple(SECTIONS), "which parts to try"), "model": (tuple(SHAPES), "models of real runs")},
        {"append": "keep real runs in this file, and count those it has already"},
        runs=(None, "real runs of each kind (default: 4, 1 when --quick)"),
        simulated=(None, f"simulated runs a cell (default: {SIMULATED}, {QUICK_SIMULATED} when --quick)"),
        seed=(1, "of the simulated noise (default: 1)"),
    )
    kept, figures = _Kept(args.append), dict[str, Any]()
    targets = []
    for name in args.only:
        found = SECTIONS[name](args, kept)
        figures[name] = found.figures
        targets += found.targets
    common.finish(args, figures, targets)


if __name__ == "__main__":
    main()
