"""What two load processes record, put together: is it what the requests of both, pooled, say?

Two processes under Locust's master send 20 000 requests a second over REST to one nginx worker, for a minute.
The percentiles of the result are compared with those of both processes' raw records. Up to 1 000 000 requests
they are exact; beyond, a result keeps a histogram, whose buckets are 0.05 % wide.

Targets: 19 800 requests a second, none lost, percentiles equal, or within 0.05 % of the histogram's. Needs
Linux with two cores, and the Debian package nginx.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING
from unittest.mock import patch

import _common as common
import numpy as np

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator import run as runner
from pytest_tfserving.load.generator.build_result import outcome
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.load.recorder import SUCCESS, read_records
from pytest_tfserving.statistics.latencies import MOST_EXACT
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.load.generator.generator import LoadPlan
    from pytest_tfserving.load.generator.run_state import RunState
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.server_side.cpu import CpuCurve

    Floats = NDArray[np.float64]

PROCESSES = 2
RATE = 20_000
_REACHED = 0.99
RUN_TIME_S, QUICK_RUN_TIME_S = 60, 6
_BUCKET = 0.0005


def loaded(folder: Path, port: int, run_time_s: float) -> tuple[Result, Floats]:
    """Return the result of a run, and the raw records of both processes."""
    raw: list[Floats] = []

    def kept(
        plan: LoadPlan,
        deployment: Deployment,
        run_state: RunState,
        records: Sequence[Path],
        *rest: *tuple[str, CpuCurve | None],
    ) -> Result:
        raw.extend(np.array(read_records(path)) for path in records)
        return outcome(plan, deployment, run_state, records, *rest)

    profile = LoadProfile("benchmark", rate=RATE, run_time_s=run_time_s, max_in_flight=RATE)
    plan = replace(common.plan(1, run_time_s), profile=profile)
    deployment = replace(common.deployment(port, 0), generator_cores=frozenset(common.cores()))
    with patch.object(runner, "outcome", kept), LoadGenerator(folder, PROCESSES) as child:
        child.wait_until_ready()
        result, _ = runner.run(child, plan, deployment, lambda tick: common.note(f"{tick['requests']:,}"))
    return result, np.concatenate(raw)


def pooled(records: Floats, result: Result) -> Floats:
    """Return the latencies of the window's successes, in ms."""
    ended_s = records[:, 0] + records[:, 1] / 1e3
    inside = (ended_s >= result.window.start_s) & (ended_s <= result.window.end_s)
    good = records[inside & (records[:, 2] == SUCCESS)]
    return np.asarray(good[:, 1] + good[:, 3])


def main() -> None:
    args = common.arguments(__doc__)
    server_core, _ = common.two_cores()
    run_time_s = QUICK_RUN_TIME_S if args.quick else RUN_TIME_S
    with common.scratch() as folder, common.Nginx(folder, server_core) as nginx:
        result, records = loaded(folder / "load", nginx.port, run_time_s)
    common.note("")
    if result.aborted or result.total_errors:
        sys.exit(f"the run failed: {result.aborted or dict(result.errors)}")
    latencies_ms = pooled(records, result)
    exact = {each: np.percentile(latencies_ms, each, method="inverted_cdf") for each in KEPT_PERCENTILES}
    off = {each: abs(result.percentile_ms(each) / value - 1) for each, value in exact.items()}
    common.table(
        ["percentile", "merged, ms", "pooled, ms", "off"],
        [
            [f"p{each:g}", f"{result.percentile_ms(each):.6f}", f"{value:.6f}", f"{off[each]:.2e}"]
            for each, value in exact.items()
        ],
    )
    rps = result.requests / (result.window.end_s - result.window.start_s)
    print(f"\n{len(records):,} requests in {run_time_s} s; {result.invalid or 'the load generator kept up'}")
    most_off, allowed = float(max(off.values())), 0.0 if len(latencies_ms) <= MOST_EXACT else _BUCKET
    common.finish(
        args,
        {"rps": rps, "requests": len(records), "invalid": result.invalid, "most_off": most_off},
        [
            common.Target("requests a second", rps, _REACHED * RATE, at_least=True),
            common.Target("requests lost", len(latencies_ms) - result.requests, 0),
            common.Target("percentiles, most off", most_off, allowed),
        ],
    )


if __name__ == "__main__":
    main()
