"""How long the embedded server takes to start, beside a process that imports TensorFlow and loads the model.

A server's start ends when its port answers that the model is AVAILABLE; the other process ends once the model
is loaded. Both are fresh processes on the same core with one thread an operation, for half_plus_two and for
ResNet50, in interleaved rounds after one start of each that brings the files into the page cache.

Target: at most 1.3 x, as the median of the rounds' ratios.
Needs Linux with two cores, and the extra `embedded`; the models are exported first if they are not there yet.
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import _common as common
from _serving import ONE_THREAD, embedded, states

from pytest_tfserving.models.store import exported
from pytest_tfserving.targets.common.served_model import latest_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BARE, OURS = "import tensorflow + load", "the embedded server, AVAILABLE"
MODELS = ("half_plus_two", "resnet50")
_LONGEST_S = 60.0
_LOOK_S = 0.01


def server_s(core: int, model: str, base: Path) -> float:
    """Start a server, until its port answers that the model is AVAILABLE."""
    started = time.perf_counter()
    with embedded(core, model, base, *ONE_THREAD) as server:
        while "AVAILABLE" not in states(server.rest, model).values():
            if time.perf_counter() - started > _LONGEST_S:
                sys.exit(f"{model} was not AVAILABLE within {_LONGEST_S:g} s")
            time.sleep(_LOOK_S)
        return time.perf_counter() - started


def measured(core: int, model: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each start of one model."""
    base = exported(model, common.note)
    takers: dict[str, Callable[[], float]] = {
        BARE: partial(common.bare_load_s, latest_version(base), core),
        OURS: partial(server_s, core, model, base),
    }
    for take in takers.values():
        take()
    return common.interleaved(takers, rounds)


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    if importlib.util.find_spec("tensorflow") is None:
        sys.exit("this benchmark needs TensorFlow: pip install 'pytest-tfserving[embedded]'")
    rounds = 2 if args.quick else 9
    with common.pinned(core):
        taken = {model: measured(server_core, model, rounds) for model in MODELS}
    ratios = {model: common.ratio(found, OURS, BARE) for model, found in taken.items()}
    common.table(
        ["model", f"{BARE}, s", f"{OURS}, s", "x"],
        [
            [model, *(f"{statistics.median(found[name]):.2f}" for name in (BARE, OURS)), ratios[model]]
            for model, found in taken.items()
        ],
    )
    targets = [common.Target(f"{model}: server / bare", found, 1.3) for model, found in ratios.items()]
    common.finish(args, {"seconds": taken}, targets)


if __name__ == "__main__":
    main()
