"""What a target does to the figures: requests a second in a container, beside a process on the same cores.

The experiment 1cpu-2gb-1n-interop1 of ``perf_tests``, ResNet50, is run by pytest on the target ``local`` and
on every other target that this machine has, in interleaved rounds. The server is the embedded one everywhere,
on the same core, under the same load from another core.

Beside requests a second stands the CPU time that the server takes for one: other work on the machine, which a
container of its own control group fends off better than a process does, hardly changes it.

Target: between 0.9 and 1.1 of ``local`` in a container, as the median of the rounds' ratios; a Pod, which may
be on any of the cluster's cores and shares them with what the cluster itself needs, is only shown.
Needs Linux with two cores, the extras `embedded` and `docker`, and an engine that has this project's image.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial
from typing import TYPE_CHECKING

import _common as common
import _targets as targets

if TYPE_CHECKING:
    from collections.abc import Callable

_RUN_TIME_S = 20
_QUICK_S = 8


def main() -> None:
    args = common.arguments(__doc__)
    common.two_cores()
    options = targets.available()
    if len(options) == 1:
        sys.exit("there is no target to compare with local")
    efficiency: dict[str, list[float | None]] = {name: [] for name in options}
    cpu_ms: dict[str, list[float]] = {name: [] for name in options}
    reached: dict[str, str] = {}
    with common.scratch() as folder:

        def rps(name: str) -> float:
            result = targets.run_experiment(folder, options[name], _QUICK_S if args.quick else _RUN_TIME_S)
            efficiency[name].append(result["metrics"]["efficiency"])
            cpu_ms[name].append(1000 * result["server"]["cores"] / result["metrics"]["rps"])
            reached[name] = result["via"]
            return float(result["metrics"]["rps"])

        takers: dict[str, Callable[[], float]] = {name: partial(rps, name) for name in options}
        taken = common.interleaved(takers, 1 if args.quick else 5)
    ratios = {name: common.ratio(taken, name, "local") for name in options}
    common.table(
        ["", "rps", "x local", "CPU ms a request", "reached by"],
        [
            [
                name,
                f"{statistics.median(taken[name]):.2f}",
                f"{ratios[name]:.3f}",
                f"{statistics.median(cpu_ms[name]):.1f}",
                reached[name],
            ]
            for name in options
        ],
    )
    wanted = []
    for name in options.keys() & {"docker"}:
        wanted.append(common.Target(f"{name} / local", ratios[name], 0.9, at_least=True))
        wanted.append(common.Target(f"{name} / local", ratios[name], 1.1))
    figures = {
        "rps": taken,
        "ratios": ratios,
        "cpu_ms": cpu_ms,
        "efficiency": efficiency,
        "reached": reached,
    }
    common.finish(args, figures, wanted)


if __name__ == "__main__":
    main()
