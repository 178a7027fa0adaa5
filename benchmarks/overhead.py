"""What one experiment costs beside its load: the wait a person has for nothing.

A whole `pytest` run of the experiment 1cpu-2gb-1n-interop1 of ``perf_tests`` with 5 s of load, from its
start to its end, minus the load (``run_s`` of its JSON) and minus the baseline's pulses, which measure
too. What is left is pytest's own start, the server's, the warm-up, the load generator's start, and the end of
it all. It is compared with a process that imports TensorFlow and loads the same model on one core, as many as
the server has.

Then the same experiment is only deployed, made ready and taken down, on each target that this machine has,
and compared with the start of a server as a process.

Targets: at most 1.5 x, as the median of interleaved rounds; at most 5 s on docker and 10 s on Kubernetes.
Needs Linux with two cores, and the extra `embedded`; the model is exported first if it is not there yet.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import os
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import _common as common
import _targets as targets

from pytest_tfserving.models.store import exported
from pytest_tfserving.targets.common.served_model import latest_version

if TYPE_CHECKING:
    from pathlib import Path

BARE, OURS = "import tensorflow + load the model", "the experiment, beside its load"
_RUN_TIME_S = 5
# Seconds beside the server's own start.
_LIMITS_S = {"docker": 5.0, "kubernetes": 10.0}


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds of one run of pytest: what it measured, and what it spent around that."""

    whole_s: float
    load_s: float
    pulses_s: float
    until_load_s: float

    @property
    def overhead_s(self) -> float:
        """What was not measuring."""
        return self.whole_s - self.load_s - self.pulses_s

    @property
    def after_s(self) -> float:
        """What came once the load generator was told to start."""
        return self.overhead_s - self.until_load_s


def experiment_round(folder: Path) -> Round:
    """One run of pytest, with its two tests of one experiment."""
    started_at, start = time.time(), time.perf_counter()
    result = targets.run_experiment(folder, ["--tfserving-target=local"], _RUN_TIME_S)
    whole_s = time.perf_counter() - start
    if not result["baseline"]:
        sys.exit("there was no baseline")
    baseline = result["baseline"]
    # One caller: a pulse takes as long as its calls.
    pulses_s = sum(calls / rps for calls, rps in zip(baseline["calls"], baseline["rps"], strict=True))
    load_began = dt.datetime.fromisoformat(result["started_at"]).timestamp()
    return Round(whole_s, result["run_s"], pulses_s, load_began - started_at)


def deployments(rounds: int) -> tuple[dict[str, dict[str, list[float]]], list[common.Target]]:
    """Seconds to deploy and to take down on each target, and what that is beside the server's own start.

    A server that is started as a process, by target ``local``, takes nothing but its own start and its
    model's loading.
    """
    seconds: dict[str, dict[str, list[float]]] = {}
    options = targets.available()
    with common.scratch() as folder:

        def whole_s(name: str) -> float:
            deploy_s, teardown_s = targets.deploy_and_take_down(folder, options[name])
            found = seconds.setdefault(name, {"deploy": [], "teardown": []})
            found["deploy"].append(deploy_s)
            found["teardown"].append(teardown_s)
            return deploy_s + teardown_s

        taken = common.interleaved({name: partial(whole_s, name) for name in options}, rounds)
    own_s = statistics.median(seconds["local"]["deploy"])
    beside_s = {name: statistics.median(values) - own_s for name, values in taken.items()}
    common.table(
        ["target", "deploy and ready, s", "teardown, s", "beside the server's own start, s"],
        [
            [
                name,
                *(f"{statistics.median(values):.2f}" for values in parts.values()),
                f"{beside_s[name]:.2f}",
            ]
            for name, parts in seconds.items()
        ],
    )
    wanted = [
        common.Target(f"deploy, ready and teardown on {name}, s", beside_s[name], limit_s)
        for name, limit_s in _LIMITS_S.items()
        if name in beside_s
    ]
    return seconds, wanted


def main() -> None:
    args = common.arguments(__doc__)
    _, core = common.two_cores()
    if importlib.util.find_spec("tensorflow") is None:
        sys.exit("this benchmark needs TensorFlow: pip install 'pytest-tfserving[embedded]'")
    version = latest_version(exported("resnet50", print))
    rounds: list[Round] = []
    with common.scratch() as folder:

        def overhead_s() -> float:
            rounds.append(experiment_round(folder))
            return rounds[-1].overhead_s

        # The model's files and TensorFlow's are in the page cache for all that follow.
        common.bare_load_s(version, core)
        taken = common.interleaved(
            {BARE: lambda: common.bare_load_s(version, core), OURS: overhead_s}, 1 if args.quick else 3
        )
    medians = {name: statistics.median(values) for name, values in taken.items()}
    against = common.ratio(taken, OURS, BARE)
    parts = {
        "  pytest, server and first responses, until the load generator starts": "until_load_s",
        "  the load generator's start, the last answers, the end": "after_s",
    }
    common.table(
        ["", "s", "x bare"],
        [
            [BARE, f"{medians[BARE]:.2f}", "1.00"],
            [OURS, f"{medians[OURS]:.2f}", f"{against:.2f}"],
            *(
                [text, f"{statistics.median(getattr(each, part) for each in rounds):.2f}", ""]
                for text, part in parts.items()
            ),
        ],
    )
    whole, load, pulses = (
        statistics.median(getattr(each, part) for each in rounds)
        for part in ("whole_s", "load_s", "pulses_s")
    )
    print(f"\nthe whole run took {whole:.2f} s, of which {load:.2f} s load and {pulses:.2f} s baseline")
    print()
    deployed, limits = deployments(1 if args.quick else 3)
    figures = {
        "seconds": taken,
        "rounds": [asdict(each) for each in rounds],
        "cores": os.cpu_count(),
        "deployments": deployed,
    }
    common.finish(args, figures, [common.Target("overhead / bare", against, 1.5), *limits])


if __name__ == "__main__":
    main()
