"""README's main job again and again: three verdicts on ResNet50, how soon, and beside a neighbour.

Each run is a pytest of its own, `pytest perf_tests -k 1cpu`, as in README's first command; the first one also
exports the model. Runs on a calm machine take turns with runs beside another process, which takes the
server's core for 0.3 to 4 s every 6 s on average. Counted are runs whose three judged experiments all PASS,
FAIL verdicts, and seconds.

The interval of the efficiency is compared with what two looks at the baseline would give, one before the load
and one after it: the interval of the rate, as wide as these two differ. They are made of the pulses in the
first and in the last 3 s of the same runs.

Needs the extra embedded, two cores and 2 GB of RAM.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import _common as common
from _neighbour import neighbour
from _targets import PERF_TESTS

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

SOON_S = 150.0
JUDGED = 3
RUNS, QUICK_RUNS = 20, 1
# Of 20 runs.
_CALM_PASSES, _NEIGHBOUR_PASSES = 19 / 20, 17 / 20
# How long a look at the baseline before the load, and after it, would take.
_LOOK_S = 3.0


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the main job."""

    seconds: float
    exit_code: int
    verdicts: tuple[str, ...]
    reasons: tuple[str, ...]
    narrower: tuple[float, ...]

    @property
    def passed(self) -> bool:
        """Whether all three judged experiments passed."""
        return self.verdicts.count("PASS") == JUDGED


def main() -> None:
    args = common.arguments(__doc__, runs=(None, "runs of each kind (default: 20, 1 when --quick)"))
    runs = args.runs or (QUICK_RUNS if args.quick else RUNS)
    jobs: dict[str, list[Job]] = {"calm": [], "neighbour": []}
    with common.scratch() as folder:
        for number in range(runs):
            for kind, done in jobs.items():
                common.note(f"run {number + 1}/{runs}, {kind}")
                beside = (
                    neighbour(common.cores()[-1], number) if kind == "neighbour" else contextlib.nullcontext()
                )
                with beside:
                    done.append(run(folder / "results.json"))
                print(f"{kind:10} {done[-1].seconds:6.1f} s  {', '.join(done[-1].verdicts)}", flush=True)
                for reason in done[-1].reasons:
                    print(f"           {reason}", flush=True)
    common.note("")
    finish(args, jobs)


def run(report: Path) -> Job:
    """Run README's first command once."""
    report.unlink(missing_ok=True)
    options = ["-q", "-k", "1cpu", "-p", "no:cacheprovider", "-p", "no:locust"]
    command = [sys.executable, "-m", "pytest", str(PERF_TESTS), *options, f"--tfserving-json={report}"]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=PERF_TESTS.parent, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if not report.exists():
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    results = json.loads(report.read_text(encoding="utf-8"))["results"]
    judged = [each for each in results if not each["not_judged"]]
    narrower = tuple(filter(None, (narrowing(each) for each in judged)))
    verdicts = tuple(each["verdict"] for each in judged)
    reasons = {
        f"{slo['slo']}: {slo['verdict']}: {slo['reason']}"
        for each in judged
        for slo in each["slos"]
        if slo["verdict"] != "PASS"
    }
    return Job(seconds, done.returncode, verdicts, tuple(sorted(reasons)), narrower)


def narrowing(result: dict[str, Any]) -> float | None:
    """Return the width of the efficiency's interval over that of two looks at the baseline."""
    baseline, window = result["baseline"], result["window"]
    if not baseline or "efficiency" not in result["intervals"] or "rps" not in result["intervals"]:
        return None
    pulses = list(zip(baseline["at_s"], baseline["rps"], strict=True))
    first = [rps for at_s, rps in pulses if at_s <= window["start_s"] + _LOOK_S]
    last = [rps for at_s, rps in pulses if at_s >= window["end_s"] - _LOOK_S]
    if not first or not last:
        return None
    looks = statistics.fmean(first), statistics.fmean(last)
    low, high = result["intervals"]["rps"]
    own_low, own_high = result["intervals"]["efficiency"]
    return float((own_high - own_low) / (high / min(looks) - low / max(looks)))


def finish(args: argparse.Namespace, jobs: dict[str, list[Job]]) -> None:
    """Print what came out, and end."""
    common.table(
        ["", "runs", "three PASS", "FAIL verdicts", "median s", "longest s", "interval / two looks"],
        [
            [
                kind,
                len(done),
                sum(job.passed for job in done),
                sum(job.verdicts.count("FAIL") for job in done),
                statistics.median(job.seconds for job in done),
                max(job.seconds for job in done),
                narrowed(done),
            ]
            for kind, done in jobs.items()
        ],
    )
    calm, beside = jobs["calm"], jobs["neighbour"]
    common.finish(
        args,
        {
            kind: [
                {"seconds": job.seconds, "exit_code": job.exit_code, "verdicts": job.verdicts} for job in done
            ]
            for kind, done in jobs.items()
        }
        | {"interval_over_two_looks": {kind: narrowed(done) for kind, done in jobs.items()}},
        [
            common.Target("calm, share of runs with three PASS", share(calm), _CALM_PASSES, at_least=True),
            common.Target(
                "beside a neighbour, share of runs with three PASS",
                share(beside),
                _NEIGHBOUR_PASSES,
                at_least=True,
            ),
            common.Target(
                "beside a neighbour, FAIL verdicts", sum(job.verdicts.count("FAIL") for job in beside), 0
            ),
            common.Target("calm, median seconds", statistics.median(job.seconds for job in calm), SOON_S),
            common.Target(
                "beside a neighbour, efficiency's interval over that of two looks", narrowed(beside), 0.5
            ),
        ],
    )


def share(jobs: list[Job]) -> float:
    """Return the share of jobs that passed."""
    return statistics.fmean(job.passed for job in jobs)


def narrowed(jobs: list[Job]) -> float:
    """Return the median over all experiments."""
    found = [each for job in jobs for each in job.narrower]
    return statistics.median(found) if found else math.nan


if __name__ == "__main__":
    main()
