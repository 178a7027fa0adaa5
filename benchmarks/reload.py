"""What loading and unloading a large model leaves in the embedded server's memory.

A model of 1 GB of weights is served, and a new version exchanged for it 100 times: each is loaded beside the
one before, which is then unloaded. After every exchange a request has to get the answer that the first
version gave, and the server's resident memory is noted.

TensorFlow's oneDNN builds keep freed tensors for later ones, unless the environment has
TF_ONEDNN_USE_SYSTEM_ALLOCATOR=1, which the server sets where it is not set; then the C library decides, which
the server asks after every unload to give back what is free. The server inherits this variable and
MALLOC_MMAP_THRESHOLD_, from which size the C library gives back at once, from this command; the figures name
them.

Target: after the last exchange the resident memory is at most 1.1 x what it was after the first load.
Needs Linux with two cores, and 1 GB of disk and 3 GB of memory; `--quick` has 100 MB and 10 exchanges.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import _common as common
import psutil
from _serving import RestCaller, embedded
from swap import exchange

if TYPE_CHECKING:
    from pathlib import Path

    from _serving import Ports

MODEL = "weights"
_PIECE_MB = 10
_ALLOCATOR = ("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "MALLOC_MMAP_THRESHOLD_")
# Every piece is a variable of its own, and part of the answer: whole numbers, whose sum has no order.
_EXPORT = """
import sys
import tensorflow as tf
v1 = tf.compat.v1
pieces, piece_mb = map(int, sys.argv[2:])
with v1.Graph().as_default(), v1.Session() as session:
    x = v1.placeholder(tf.float32, [None], name="x")
    shape = [piece_mb * 10**6 // 4]
    kept = [
        v1.Variable(tf.floor(256 * tf.random.stateless_uniform(shape, [number, 0])), use_resource=True)
        for number in range(pieces)
    ]
    y = x + tf.add_n([each[0] for each in kept])
    for each in kept:
        session.run(each.initializer)
    signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
    builder = v1.saved_model.Builder(sys.argv[1])
    builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
    builder.save()
"""


def export(version: Path, size_mb: int) -> None:
    """Write a SavedModel with so many megabytes of weights, in a process of its own."""
    command = [sys.executable, "-c", _EXPORT, str(version), str(size_mb // _PIECE_MB), str(_PIECE_MB)]
    subprocess.run(command, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})


def exchanged(server: Ports, base: Path, count: int) -> dict[str, list[float]]:
    """Resident megabytes and seconds: of the first version, then of each exchange."""
    process = psutil.Process(server.process.pid)
    ask = RestCaller(server.rest, f"/v1/models/{MODEL}:predict", b'{"instances": [0.0, 1.0]}')
    right = ask()
    taken: dict[str, list[float]] = {"rss_mb": [process.memory_info().rss / 1e6], "exchange_s": []}
    for version in range(2, count + 2):
        began, ended = exchange(server, base, version, MODEL)
        shutil.rmtree(base / str(version - 1))
        if (content := ask()) != right:
            sys.exit(f"version {version} answers {content!r}, not {right!r}")
        taken["rss_mb"].append(process.memory_info().rss / 1e6)
        taken["exchange_s"].append(ended - began)
        common.note(f"{version - 1} of {count}: {taken['rss_mb'][-1]:.0f} MB")
    common.note("")
    return taken


def report(taken: dict[str, list[float]], size_mb: int) -> list[common.Target]:
    """Print the memory over time, and compare its end with its start."""
    rss_mb = taken["rss_mb"]
    middle = len(rss_mb) // 2
    rows: list[list[Any]] = [
        ["the first load", rss_mb[0]],
        [f"{middle} exchanges", rss_mb[middle]],
        [f"{len(rss_mb) - 1} exchanges", rss_mb[-1]],
        ["the most after any of them", max(rss_mb)],
    ]
    common.table([f"after, with {size_mb} MB of weights", "resident MB"], rows)
    return [common.Target("memory, last / first load", rss_mb[-1] / rss_mb[0], 1.1)]


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    size_mb, count = (100, 10) if args.quick else (1000, 100)
    with common.scratch() as folder, common.pinned(core):
        base = folder / MODEL
        export(base / "1", size_mb)
        written_mb = sum(file.stat().st_size for file in base.rglob("*") if file.is_file()) / 1e6
        with embedded(server_core, MODEL, base) as server:
            started = time.perf_counter()
            taken = exchanged(server, base, count)
            took_s = time.perf_counter() - started
    targets = report(taken, size_mb)
    print(f"\n{count} exchanges of {written_mb:.0f} MB in {took_s / 60:.1f} minutes")
    figures = {
        "allocator": {name: os.environ.get(name) for name in _ALLOCATOR},
        "model_mb": written_mb,
        "exchanges": count,
        "took_s": took_s,
        **taken,
    }
    common.finish(args, figures, targets)


if __name__ == "__main__":
    main()
