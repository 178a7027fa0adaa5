"""Whether the gate against a baseline server is right, and how soon.

* simulated: two servers that take turns on noise that wanders, as verdict.py has it, watched by the live
  monitor. In the first part the change is the limit, so that every verdict is wrong; in the second one both
  servers are the same, and a gate of the default SLOs fails if one of them does.
* real: the embedded server against itself, and beside it two runs one after the other, in the same time or
  a minute each, whose point estimates are compared.
* planted: the embedded server against one that computes longer in each call: by 5 % and 10 % of what a
  request takes, and by 2 % of its CPU. The limits are changes of 0 %.

Each real run, and each round of simulated ones, is added to the file of --append at once, so that a part can
be made in pieces, and that a piece which is ended loses nothing. The summary is of the whole file. With
--runs 0, or --simulated 0, nothing is run, and the summary is printed.

Load goes to each of the two servers for half of the time: seconds are those of both together. Targets on
shares allow what chance does in so few runs (a binomial test of 5 %, Bonferroni).

The parts real and planted need the extra embedded, two cores and 2 GB of RAM.
"""

from __future__ import annotations

import math
import statistics
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import _common as common
import numpy as np
from _ab_runs import SHAPES, Gate, RunError
from _chance import most_by_chance, within_chance
from _kept import Kept, Pace, until_interrupted
from _noise import Noise, Server
from _trials import Cell, Trials
from _watch import FAIL, PASS, changes_in, watched_beside

from pytest_tfserving.slo.language import parse_slos
from pytest_tfserving.slo.monitor import DEFAULT_ALPHA
from pytest_tfserving.statistics.ratio import Z_95

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from _noise import Floats
    from _trials import Batch

SIMULATED, QUICK_SIMULATED = 50, 4
# So many simulated runs a cell are added to the file at a time.
_ROUND = 10
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
RUNS = 4
CHANGED = ("p50_ms", "p95_ms", "mean_ms", "rps", "cpu_per_request_ms")
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


def simulated(args: argparse.Namespace, kept: Kept) -> Found:
    """Count wrong verdicts at the limit, and false alarms of a gate on the same server twice."""
    runs = _runs(args.simulated, args, SIMULATED, QUICK_SIMULATED)
    cells = _cells(quick=args.quick)
    rounds = [min(_ROUND, runs - first) for first in range(0, runs, _ROUND)]
    pace = Pace(len(rounds))
    with suppress(KeyboardInterrupt):
        for count in rounds:
            seed = args.seed + len(kept.of("simulated"))
            kept.add({"part": "simulated", "quick": args.quick, **_round(cells, count, seed)})
            pace.made(f"{count} simulated runs of each of {len(cells)} kinds of noise")
    known = [each for each in kept.of("simulated") if each["quick"] == args.quick]
    return _of_rounds(cells, known) if known else Found({}, [])


def _cells(*, quick: bool) -> list[Cell]:
    noises = [
        Noise(tau_s, share, sigma)
        for tau_s in ((0.0, 10.0) if quick else (0.0, 1.0, 5.0, 10.0))
        for share in ((0.5,) if quick else (0.3, 0.5, 0.8))
        for sigma in ((0.25,) if quick else (0.10, 0.25))
    ]
    return [Cell(SERVER, noise, RUN_TIME_S) for noise in noises]


def _round(cells: Sequence[Cell], runs: int, seed: int) -> dict[str, Any]:
    """Return what ``runs`` runs of each cell found, by what was tried, and then by cell."""
    tried = {
        "limit": try_limit,
        "same": try_same,
        "one after the other": try_estimates,
        "intervals": try_intervals,
    }
    with Trials(runs, seed) as trials:
        found = {name: trials.each(function, cells, name) for name, function in tried.items()}
    return {
        "seed": seed,
        "found": {
            name: {str(cell): np.round(rows.astype(float), 6).tolist() for cell, rows in by_cell.items()}
            for name, by_cell in found.items()
        },
    }


def _of_rounds(cells: Sequence[Cell], rounds: Sequence[dict[str, Any]]) -> Found:
    """Print what all rounds found."""
    limit, same, estimates, intervals = (
        {
            cell: np.concatenate([np.array(each["found"][name][str(cell)]) for each in rounds])
            for cell in cells
        }
        for name in ("limit", "same", "one after the other", "intervals")
    )
    runs = len(limit[cells[0]])
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


def real(args: argparse.Namespace, kept: Kept) -> Found:
    """Compare the embedded server with itself, again and again."""
    with common.scratch() as folder, until_interrupted():
        gates = _gates(args, folder)
        pace = Pace(len(gates))
        alone: dict[str, dict[str, float]] = {}
        for gate in gates:
            try:
                run = gate.against_itself(SAME, alone.get(str(gate)))
            except RunError as error:
                kept.add(_failed("real", gate, error))
                pace.made(f"{gate}: failed: {error}")
                continue
            alone[str(gate)] = run["alone"]
            kept.add({"part": "real", **run})
            pace.made(f"{gate}: {_in_words(run, SAME)}; {_in_words_of_estimates(run)}")
    return _of_real(kept, quick=args.quick)


def _of_real(kept: Kept, *, quick: bool) -> Found:
    """Print what all real runs found."""
    groups = _groups(kept.of("real"))
    if not groups:
        return Found({}, _failures("real", kept))
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
    _print_changes(groups)
    every = [run for found in groups.values() for run in found]
    alarms = sum(map(_alarms, every))
    text = f"real, the same twice, false alarms in {len(every)} runs"
    targets = [common.Target(text, alarms, max(1, len(every) // 100))]
    targets += _failures("real", kept)
    # Quick runs are too short for a PASS.
    for model, (soon_s, p95_soon_s) in ({} if quick else SOON_S).items():
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


def _print_changes(groups: dict[str, list[dict[str, Any]]]) -> None:
    """Print the changes of all runs: two processes of one program differ by some more than one run shows."""
    several = {name: runs for name, runs in groups.items() if len(runs) > 1}
    if not several:
        return
    print("\nchanges, %: mean and deviation of all runs, mean standard error within a run\n")
    common.table(
        ["", *CHANGED],
        [
            [f"{name}, {what}", *(f"{each[at]:.2f}" for each in found)]
            for name, runs in several.items()
            for found in [[_spread(runs, key) for key in CHANGED]]
            for at, what in enumerate(("mean", "deviation", "standard error", "intervals with 0 in them"))
        ],
    )


def _spread(runs: Sequence[dict[str, Any]], key: str) -> tuple[float, float, float, float]:
    """Return the mean, the deviation, the mean standard error and the coverage of a change, in %."""
    ends = "value", "low", "high"
    known = [run["changes"][key] for run in runs if key in run["changes"]]
    changes = np.array([[change[end] for end in ends] for change in known])
    if len(changes) < 2:
        return (math.nan,) * 4
    values, low, high = _ALL * changes.T
    errors = (high - low) / (2 * Z_95)
    covered = _ALL * ((low <= 0) & (high >= 0)).mean()
    return float(values.mean()), float(values.std(ddof=1)), float(errors.mean()), float(covered)


def _gates(args: argparse.Namespace, folder: Path) -> list[Gate]:
    """Return the gate of each real run."""
    runs = _runs(args.runs, args, RUNS, 1)
    models = ("half_plus_two",) if args.quick else args.model
    return [
        Gate(folder, model, QUICK_RUN_TIME_S if args.quick else REAL_RUN_TIME_S[model], args.neighbour)
        for model in models
        for _ in range(runs)
    ]


def _runs(given: int | None, args: argparse.Namespace, usual: int, quick: int) -> int:
    """Return the number of runs: what was given, 0 too."""
    return (quick if args.quick else usual) if given is None else given


def _failed(part: str, gate: Gate, error: RunError) -> dict[str, Any]:
    return {"part": "failed", "of": part, "gate": str(gate), "cause": str(error)}


def _failures(part: str, kept: Kept) -> list[common.Target]:
    """Return the target that no run failed."""
    failed = [each for each in kept.of("failed") if each["of"] == part]
    return [common.Target(f"{part}, runs that failed", len(failed), 0)] if failed else []


def _in_words(run: dict[str, Any], slos: Sequence[str]) -> str:
    verdicts = [(slo, run["verdicts"][slo]) for slo in slos]
    return ", ".join(f"{slo} {found} {_seconds(_decided_s(run, slo, found))} s" for slo, found in verdicts)


def _in_words_of_estimates(run: dict[str, Any]) -> str:
    worse = max(run["one_after_the_other"].values())
    return f"one run after the other {_ALL * worse:+.1f} %"


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


def planted(args: argparse.Namespace, kept: Kept) -> Found:
    """Compare the embedded server with one that computes longer in each call."""
    kinds = PLANTED[1:2] if args.quick else PLANTED
    with common.scratch() as folder, until_interrupted():
        turns = [(gate, each) for gate in _gates(args, folder) for each in kinds]
        pace = Pace(len(turns))
        known: dict[str, dict[str, float]] = {}
        for gate, each in turns:
            try:
                figures = known.get(str(gate)) or gate.alone()
                taken_s = figures["cpu_per_request_ms"] / 1e3 if each.of_cpu else 1 / figures["rps"]
                run = gate.against_slower(each.slos, each.share * taken_s)
            except RunError as error:
                kept.add(_failed("planted", gate, error))
                pace.made(f"{gate}, {each.name}: failed: {error}")
                continue
            known[str(gate)] = run["baseline"]
            kept.add({"part": "planted", "planted": each.name, **run})
            pace.made(f"{gate}, {each.name} planted: {_in_words(run, each.slos)}")
    found = _found(_groups(kept.of("planted")))
    return Found(found.figures, found.targets + _failures("planted", kept))


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
    if rows:
        print("\ncomputing longer in each call: found in time in %, median s\n")
        common.table(["", "runs", "found, %", "median s"], rows)
    return Found(figures, targets)


SECTIONS = {"simulated": simulated, "real": real, "planted": planted}


def main() -> None:
    args = common.arguments(
        __doc__,
        {"neighbour": "real runs beside a process that takes the server's core now and then"},
        {"only": (tuple(SECTIONS), "which parts to try"), "model": (tuple(SHAPES), "models of real runs")},
        {"append": "keep runs in this file, and count those it has already"},
        runs=(None, f"real runs of each kind (default: {RUNS}, 1 when --quick)"),
        simulated=(None, f"simulated runs a cell (default: {SIMULATED}, {QUICK_SIMULATED} when --quick)"),
        seed=(1, "of the first round of simulated noise; each further one has the next (default: 1)"),
    )
    kept, figures = Kept(args.append), dict[str, Any]()
    targets = []
    for name in args.only:
        found = SECTIONS[name](args, kept)
        figures[name] = found.figures
        targets += found.targets
    common.finish(args, figures, targets)


if __name__ == "__main__":
    main()
