"""What requests for half_plus_two wait beside others: bodies of 8 MB of every kind, and a slow model.

Two callers, one over REST and one over gRPC, call half_plus_two from one core; the server has another. Beside
them a process of low priority sends bodies of 8 MB to a second model, so that sending takes no time from the
two callers. Then four callers keep ResNet50 busy.
Then ResNet50 runs without a server, in another process on the server's core: what requests wait beside that,
they wait for the core. For each body the longest latency of a small request meanwhile counts. This latency,
less the median of small requests when nothing else runs, is the delay.

Targets: a delay of at most 20 ms by each body; beside ResNet50 1.25 x the p99 beside the other process.
Needs Linux with two cores.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import _common as common
import numpy as np
from _serving import ONE_THREAD, Bare, Calls, GrpcCaller, RestCaller, calling, embedded

from pytest_tfserving.models.store import exported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from _serving import Ports

BODY_BYTES = 8_000_000
_SLOW_CALLERS = 4
_GRPC = "gRPC"
_SPAWN = multiprocessing.get_context("spawn")
_NICENESS = 19
_EXPORT = """
import sys
import tensorflow as tf
class Large(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def numbers(self, x):
        return {"y": tf.reduce_sum(x)[None]}
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "s")])
    def texts(self, s):
        return {"y": tf.reduce_sum(tf.strings.length(s))[None]}
    @tf.function(
        input_signature=[tf.TensorSpec([None, 10], tf.float32, "a"), tf.TensorSpec([None], tf.string, "b")]
    )
    def rows(self, a, b):
        return {"y": tf.reduce_sum(a)[None] + tf.cast(tf.size(b), tf.float32)}
model = Large()
names = ("numbers", "texts", "rows")
tf.saved_model.save(model, sys.argv[1], signatures={name: getattr(model, name) for name in names})
"""


def bodies() -> dict[str, bytes]:
    """Return a body of each kind."""
    rng = random.Random(0)
    numbers = [round(rng.random(), 5) for _ in range(BODY_BYTES // 9)]
    encoded = base64.b64encode(rng.randbytes(BODY_BYTES * 3 // 4)).decode()
    row = {"a": numbers[:10], "b": "a text of some length, as users write it"}
    documents: dict[str, tuple[str, list[object]]] = {
        "numbers": ("numbers", [*numbers]),
        "one text in base64": ("texts", [{"b64": encoded}]),
        "texts": ("texts", ["a text of some length, as users write it é"] * (BODY_BYTES // 46)),
        "objects": ("rows", [row] * (BODY_BYTES // len(json.dumps(row)))),
    }
    found = {
        kind: json.dumps({"signature_name": name, "instances": instances}, ensure_ascii=False).encode()
        for kind, (name, instances) in documents.items()
    }
    return {**found, "numbers, the last one damaged": found["numbers"][:-2] + b"x]}"}


def small_callers(server: Ports) -> list[Callable[[], bytes]]:
    """Return the callers that are delayed."""
    return [
        RestCaller(server.rest, common.PREDICT_PATH, common.REQUEST),
        GrpcCaller(server.grpc, "half_plus_two", {"x": np.array([1, 2, 5], np.float32)}),
    ]


def calm(server: Ports, length_s: float) -> Calls:
    """Return the small requests when nothing else runs."""
    with calling(small_callers(server), right=bool) as calls:
        time.sleep(length_s)
    return calls


@functools.cache
def sender(kind: str, rest: int, rpc: int) -> Callable[[], bytes]:
    """Return what sends a body of a kind to a server that listens on two ports."""
    if kind == _GRPC:
        return GrpcCaller(rpc, "large", {"x": np.zeros(BODY_BYTES // 4, np.float32)}, "numbers")
    return RestCaller(rest, "/v1/models/large:predict", bodies()[kind])


def sent(kind: str, rest: int, rpc: int) -> tuple[float, float]:
    """Send a body; return when that began and when the response was there."""
    send = sender(kind, rest, rpc)
    began = time.perf_counter()
    with contextlib.suppress(RuntimeError):  # a damaged body is refused
        send()
    return began, time.perf_counter()


def beside_bodies(server: Ports, process: Executor, kind: str, count: int) -> list[float]:
    """Return the longest latency of a small request beside each of ``count`` bodies, in ms."""
    spans = []
    process.submit(sent, kind, server.rest, server.grpc).result()
    with calling(small_callers(server), right=bool) as calls:
        for _ in range(count):
            time.sleep(0.2)
            spans.append(process.submit(sent, kind, server.rest, server.grpc).result())
        time.sleep(0.2)
    return [calls.longest_ms(span) for span in spans]


def picture() -> bytes:
    """Return a request for ResNet50."""
    image = np.random.default_rng(0).random((1, 224, 224, 3)).round(4)
    return json.dumps({"instances": image.tolist()}).encode()


def beside_a_model(server: Ports, length_s: float) -> Calls:
    """Return the small requests while callers keep ResNet50 busy."""
    path = "/v1/models/resnet50:predict"
    slow = [RestCaller(server.rest, path, picture()) for _ in range(_SLOW_CALLERS)]
    with calling([*slow], right=bool):
        time.sleep(1)
        return calm(server, length_s)


def beside_a_process(server: Ports, core: int, folder: Path, length_s: float) -> Calls:
    """Return the small requests while ResNet50 runs without a server on ``core``."""
    body = folder / "picture.json"
    body.write_bytes(picture())
    version = next(exported("resnet50", common.note).glob("[0-9]*"))
    with Bare(core, version, body) as bare, ThreadPoolExecutor(1) as pool:
        running = pool.submit(bare.rate, length_s + 2)
        time.sleep(1)
        found = calm(server, length_s)
        running.result()
    return found


def configuration(folder: Path, large: Path) -> Path:
    """Write the configuration of the three models."""
    bases = {
        "half_plus_two": exported("half_plus_two", common.note),
        "resnet50": exported("resnet50", common.note),
        "large": large,
    }
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" }}\n'
        for name, base in bases.items()
    )
    file = folder / "models.txt"
    file.write_text(f"model_config_list {{\n{entries}}}\n")
    return file


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    length_s, count = (3.0, 5) if args.quick else (15.0, 30)
    with common.scratch() as folder, common.pinned(core):
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        subprocess.run([sys.executable, "-c", _EXPORT, folder / "large" / "1"], check=True, env=quiet)
        config = f"--model_config_file={configuration(folder, folder / 'large')}"
        with embedded(server_core, "", folder, config, *ONE_THREAD) as server:
            alone = calm(server, length_s)
            median_ms = statistics.median(alone.latencies_s) * 1e3
            delays_ms = {}
            with ProcessPoolExecutor(1, _SPAWN, os.nice, (_NICENESS,)) as process:
                for kind in (*bodies(), _GRPC):
                    common.note(kind)
                    longest_ms = beside_bodies(server, process, kind, count)
                    delays_ms[kind] = [each - median_ms for each in longest_ms]
            common.note("ResNet50")
            shared = beside_a_model(server, length_s)
            apart = beside_a_process(server, server_core, folder, length_s)
    common.note("")
    common.table(
        ["8 MB of", "delay ms, median", "longest"],
        [[kind, statistics.median(found), max(found)] for kind, found in delays_ms.items()],
    )
    common.table(
        ["half_plus_two", "p99 ms"],
        [
            ["alone", alone.p99_ms()],
            ["beside ResNet50", shared.p99_ms()],
            ["beside ResNet50 in another process", apart.p99_ms()],
        ],
    )
    failed = sum(len(calls.failures) for calls in (alone, shared, apart))
    figures = {
        "delays_ms": delays_ms,
        "p99_ms_alone": alone.p99_ms(),
        "p99_ms_beside_resnet50": shared.p99_ms(),
        "p99_ms_beside_another_process": apart.p99_ms(),
        "failed": failed,
    }
    common.finish(
        args,
        figures,
        [
            *(
                common.Target(f"longest delay by 8 MB of {kind}, ms", max(found), 20)
                for kind, found in delays_ms.items()
            ),
            common.Target("p99 beside ResNet50 / the other process", shared.p99_ms() / apart.p99_ms(), 1.25),
            common.Target("failed", failed, 0),
        ],
    )


if __name__ == "__main__":
    main()
