"""The bare session's process: a plan as its argument; a line of seconds in, a line of rates out."""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_WARM_UP_CALLS = 3


def main() -> None:
    """Load, warm up, then measure a slice for every line on standard input; leave at its end."""
    plan = json.loads(sys.argv[1])
    _pin(plan["start_cores"])
    call, answer = _load(plan)
    answers = [answer() for _ in range(_WARM_UP_CALLS)]
    _pin(plan["cores"])
    _say(answer=json.loads(answers[0]), deterministic=len(set(answers)) == 1)
    for line in sys.stdin:
        rps, latency_ms = _measure(call, plan["callers"], float(line))
        _say(rps=rps, latency_ms=latency_ms)
    os._exit(0)


def _pin(cores: list[int]) -> None:
    """Move every thread of this process, TensorFlow's too, to ``cores``."""
    if cores and hasattr(os, "sched_setaffinity"):
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)


def _load(plan: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], bytes]]:
    from pytest_tfserving.model_server import json_tensor
    from pytest_tfserving.model_server.servable import Servable

    servable = Servable.load(Path(plan["model"]), intra_op=plan["intra_op"], inter_op=plan["inter_op"])
    request = json_tensor.decode(Path(plan["body"]).read_bytes(), servable)

    def call() -> Any:
        return servable.run(request.signature_name, request.inputs)

    def answer() -> bytes:
        return json_tensor.encode(call(), request.row_format)

    return call, answer


def _measure(call: Callable[[], Any], callers: int, length_s: float) -> tuple[float, float]:
    """Whole calls of each caller, over the time that they took: calls a second, and the median call in ms."""
    barrier = threading.Barrier(callers)

    def one_caller(_: int) -> tuple[float, list[float]]:
        barrier.wait()
        start, latencies = time.perf_counter(), []
        now = start
        while now - start < length_s:
            call()
            before, now = now, time.perf_counter()
            latencies.append((now - before) * 1e3)
        return now - start, latencies

    with ThreadPoolExecutor(callers) as pool:
        done = list(pool.map(one_caller, range(callers)))
    rps = sum(len(latencies) / taken_s for taken_s, latencies in done)
    return rps, statistics.median(latency for _, latencies in done for latency in latencies)


def _say(**values: Any) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
