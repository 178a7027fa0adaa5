"""The embedded server beside what it could be: the same model without a server, other servers, no batching.

Servers and the bare model are pinned to one core, callers to another; rounds are interleaved, ratios are
medians of the rounds' ratios.

ResNet50, in each round with processes of their own: requests a second over REST (JSON numbers), REST (a JPEG
file as base64) and gRPC, of the bare model's calls of the same signature on the same core. Two callers keep
the server busy. With one caller, which is shown beside it, a server waits while a request is on its way.
half_plus_two: requests a second under wrk, of those of FastAPI with uvicorn, of LitServe and of BentoML,
each with one worker, and the 99th percentiles. FastAPI runs twice: with a prepared call of TensorFlow's
public Python API, and with the call that the embedded server makes, which LitServe and BentoML have too.
A dense model: requests a second of 32 callers over gRPC with batching, of those without.
A REST body of 1 MB of numbers: megabytes a second that the server's decoder reads, of those that simdjson
alone parses.

Targets: 0.90 (numbers), 0.95 (JPEG) and 0.97 (gRPC) of the bare model; 4 x FastAPI with either call, and
half its p99; 3 x each other server; 3 x without batching; 1,000 MB/s, or two thirds of what
simdjson reaches on a slower machine.
Needs Linux with two cores and wrk; `pip install fastapi uvicorn litserve bentoml`: what is missing or does
not start is left out.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import _common as common
import numpy as np
import psutil
import requests
from _serving import ONE_THREAD, Bare, GrpcCaller, Ports, RestCaller, embedded, rate, wrk

from pytest_tfserving.model_server.json_tensor import decode
from pytest_tfserving.model_server.memory import keep_between_requests
from pytest_tfserving.model_server.servable import Servable
from pytest_tfserving.models.store import exported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CALLERS = 32
# So many callers keep a server of one core busy: one request is computed while the other one is on its way.
SATURATING = 2
# Some ten calls of ResNet50. A machine's speed wanders over seconds, so ratios are of neighbouring slices.
_SLICE_S = 1.0
_START_S = 30.0
_LOOK_S = 0.1
_BATCHING = """
max_batch_size { value: 32 } batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 100 } num_batch_threads { value: 1 }
"""
_WIDTH = 2048
_DECODED_MB = 1000.0
FASTAPI = "FastAPI"
_FASTAPI = """
import sys
from pathlib import Path
import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
class Body(BaseModel):
    instances: list[float]
app = FastAPI()
@app.post("/v1/models/half_plus_two:predict")
async def predict(body: Body):
    return {"predictions": call(np.array(body.instances, np.float32)).tolist()}
"""
# A prepared call, which leaves out what `Session.run` does anew each time.
_TENSORFLOW_CALL = """
import tensorflow as tf
v1 = tf.compat.v1
session = v1.Session(
    graph=tf.Graph(),
    config=v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1),
)
with session.graph.as_default():
    meta_graph = v1.saved_model.load(session, ["serve"], sys.argv[1])
    signature = meta_graph.signature_def["serving_default"]
    run = session.make_callable(signature.outputs["y"].name, [signature.inputs["x"].name])
def call(x):
    return run(x.reshape(-1, 1)).reshape(-1)  # Python's API insists on the signature's shape
"""
_OWN_CALL = """
from pytest_tfserving.model_server.servable import Servable
servable = Servable.load(Path(sys.argv[1]), intra_op=1, inter_op=1)
def call(x):
    return servable.run("serving_default", {"x": x}, inline=True)["y"]
"""
_UVICORN = """
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
"""
_LITSERVE = """
import sys
from pathlib import Path
import litserve
import numpy as np
from pytest_tfserving.model_server.servable import Servable
class Half(litserve.LitAPI):
    def setup(self, device):
        self.servable = Servable.load(Path(sys.argv[1]), intra_op=1, inter_op=1)
    def decode_request(self, request):
        return np.array(request["instances"], np.float32)
    def predict(self, x):
        return self.servable.run("serving_default", {"x": x}, inline=True)["y"]
    def encode_response(self, output):
        return {"predictions": output.tolist()}
if __name__ == "__main__":
    api = Half(api_path="/v1/models/half_plus_two:predict")
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), log_level="error", generate_client_file=False)
"""
# Its worker imports this file by its name, without arguments.
_BENTOML = """
import os
import sys
from pathlib import Path
import bentoml
import numpy as np
from pytest_tfserving.model_server.servable import Servable
if __name__ == "__main__":
    os.environ["VERSION"] = sys.argv[1]
@bentoml.service(workers=1, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Half:
    def __init__(self):
        self.servable = Servable.load(Path(os.environ["VERSION"]), intra_op=1, inter_op=1)
    @bentoml.api(route="/v1/models/half_plus_two:predict")
    async def predict(self, instances: list[float]) -> dict:
        answer = self.servable.run("serving_default", {"x": np.array(instances, np.float32)}, inline=True)
        return {"predictions": answer["y"].tolist()}
if __name__ == "__main__":
    Half.serve_http(host="127.0.0.1", port=int(sys.argv[2]))
"""
_DENSE = """
import sys
import tensorflow as tf
v1 = tf.compat.v1
width = int(sys.argv[2])
with v1.Graph().as_default(), v1.Session() as session:
    x = v1.placeholder(tf.float32, [None, width], name="x")
    y = x
    for seed in range(2):
        y = tf.nn.relu(tf.matmul(y, v1.Variable(tf.random.normal([width, width], seed=seed))))
    session.run(v1.global_variables_initializer())
    signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y[:, :4]})
    builder = v1.saved_model.Builder(sys.argv[1])
    builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
    builder.save()
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server.

    Attributes:
        name: its name in tables.
        packages: what it needs installed.
        program: the program that serves half_plus_two with it.
        target: the least requests a second of the embedded server, of those of this one.
    """

    name: str
    packages: tuple[str, ...]
    program: str
    target: float


_FASTAPI_PACKAGES = ("fastapi", "uvicorn")
PEERS = (
    Peer(FASTAPI, _FASTAPI_PACKAGES, _FASTAPI + _TENSORFLOW_CALL + _UVICORN, 4.0),
    Peer(f"{FASTAPI}, the embedded server's call", _FASTAPI_PACKAGES, _FASTAPI + _OWN_CALL + _UVICORN, 4.0),
    Peer("LitServe", ("litserve",), _LITSERVE, 3.0),
    Peer("BentoML", ("bentoml",), _BENTOML, 3.0),
)


class LeftOutError(Exception):
    """A peer that cannot be measured, and why."""


@contextlib.contextmanager
def serving(core: int, folder: Path, peer: Peer, version: Path) -> Iterator[int]:
    """Run a peer and yield its port; its program is a file, because some peers start processes from it."""
    missing = [name for name in peer.packages if importlib.util.find_spec(name) is None]
    if missing:
        raise LeftOutError(f"not installed: pip install {' '.join(missing)}")
    port, file = common.free_port(), folder / f"peer_{PEERS.index(peer)}.py"
    file.write_text(peer.program)
    log = file.with_suffix(".log")
    own = {"BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    with common.pinned(core), log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, file, str(version), str(port)],
            cwd=folder,
            env={**os.environ, **own},
            stdout=output,
            stderr=output,
        )
    try:
        wait_for_answer(port, process, log)
        yield port
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process with those that it started, some of them in sessions of their own."""
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def wait_for_answer(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the right answer comes: some listen long before their worker is there."""
    deadline, seen = time.monotonic() + _START_S, "no response"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            seen = requests.post(
                f"http://{common.HOST}:{port}{common.PREDICT_PATH}",
                common.REQUEST,
                headers={"Content-Type": "application/json"},
                timeout=_START_S,
            ).text
        except requests.RequestException:
            time.sleep(_LOOK_S)
            continue
        with contextlib.suppress(ValueError):
            if json.loads(seen) == json.loads(common.ANSWER):
                return
        raise LeftOutError(f"its response is wrong: {seen[:200]}")
    last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
    raise LeftOutError(f"it did not start; its last output: {last}")


def version_of(base: Path) -> Path:
    """Return the folder of the only version."""
    return next(path for path in base.iterdir() if path.name.isdecimal())


def resnet(core: int, folder: Path, rounds: int, length_s: float) -> dict[str, list[float]]:
    """Compare the servers and the bare model, in each round with processes of their own.

    Two processes of one program differ by some percent, by the addresses that they get.
    """
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, rates in _resnet_round(core, folder, round(length_s / _SLICE_S)).items():
            taken.setdefault(name, []).extend(rates)
    return taken


def _resnet_round(core: int, folder: Path, slices: int) -> dict[str, list[float]]:
    """Take each figure in short slices, beside the bare model with the same signature."""
    base, path = exported("resnet50", common.note), "/v1/models/resnet50:predict"
    version = version_of(base)
    image = np.random.default_rng(0).random((1, 224, 224, 3), np.float32)
    numbers, jpeg = folder / "numbers.json", folder / "jpeg.json"
    numbers.write_text(json.dumps({"instances": image.astype(float).round(4).tolist()}))
    encoded = base64.b64encode(
        resources.files("pytest_tfserving.protocols").joinpath("picture.jpg").read_bytes()
    )
    jpeg.write_text(json.dumps({"signature_name": "jpeg", "instances": [{"b64": encoded.decode()}]}))
    with (
        embedded(core, "resnet50", base, *ONE_THREAD) as server,
        Bare(core, version, numbers) as bare,
        Bare(core, version, jpeg) as bare_jpeg,
    ):
        inputs = {_only_input(server): image}
        callers: dict[str, Callable[[], Callable[[], bytes]]] = {
            "REST": lambda: RestCaller(server.rest, path, numbers.read_bytes()),
            "gRPC": lambda: GrpcCaller(server.grpc, "resnet50", inputs),
            "REST JPEG": lambda: RestCaller(server.rest, path, jpeg.read_bytes()),
        }

        def taker(name: str, count: int) -> Callable[[], float]:
            made = [callers[name]() for _ in range(count)]
            return lambda: rate(made, _SLICE_S)

        served = {
            f"{name}{', one caller' if count == 1 else ''}": taker(name, count)
            for name in callers
            for count in (1, SATURATING)
        }
        bares = {"bare": lambda: bare.rate(_SLICE_S), "bare JPEG": lambda: bare_jpeg.rate(_SLICE_S)}
        return common.interleaved(bares | served, slices)


def _only_input(server: Ports) -> str:
    url = f"http://{common.HOST}:{server.rest}/v1/models/resnet50/metadata"
    document = requests.get(url, timeout=10).json()
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    (alias,) = signature["inputs"]
    return str(alias)


def half(
    core: int, folder: Path, rounds: int, length_s: float
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Compare the embedded server and others under wrk: requests a second, 99th percentiles in ms."""
    base = exported("half_plus_two", common.note)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(embedded(core, "half_plus_two", base, *ONE_THREAD))
        ports = {"embedded": server.rest}
        for peer in PEERS:
            try:
                ports[peer.name] = stack.enter_context(serving(core, folder, peer, version_of(base)))
            except LeftOutError as error:
                print(f"{peer.name} is left out: {error}")
        p99s_ms: dict[str, list[float]] = {name: [] for name in ports}

        def taker(name: str) -> Callable[[], float]:
            def take() -> float:
                found = wrk(ports[name], length_s)
                p99s_ms[name].append(found["p99_ms"])
                return float(found["requests"] / length_s)

            return take

        takers = {name: taker(name) for name in ports}
        return common.interleaved(takers, rounds), p99s_ms


def batching(core: int, folder: Path, rounds: int, length_s: float) -> dict[str, list[float]]:
    """Compare the dense model with batching and without."""
    base, config = folder / "dense", folder / "batching.txt"
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    subprocess.run([sys.executable, "-c", _DENSE, base / "1", str(_WIDTH)], check=True, env=quiet)
    config.write_text(_BATCHING)
    flags = (*ONE_THREAD, f"--grpc_max_threads={2 * CALLERS}")
    on = (*flags, "--enable_batching", f"--batching_parameters_file={config}")
    inputs = {"x": np.ones((1, _WIDTH), np.float32)}
    with (
        embedded(core, "dense", base, *flags) as without,
        embedded(core, "dense", base, *on) as batched,
    ):

        def taker(server: Ports) -> Callable[[], float]:
            callers: list[Any] = [GrpcCaller(server.grpc, "dense", inputs) for _ in range(CALLERS)]
            return lambda: rate(callers, length_s)

        return common.interleaved({"batching": taker(batched), "without": taker(without)}, rounds)


def decoding(rounds: int, length_s: float) -> dict[str, list[float]]:
    """Return the megabytes a second of the decoder, and of simdjson alone, on a body of numbers."""
    import simdjson

    keep_between_requests()
    servable = Servable.load(version_of(exported("half_plus_two", common.note)))
    numbers = np.random.default_rng(0).random(2**17).round(5).tolist()
    body = json.dumps({"instances": numbers}, separators=(",", ":")).encode()

    def taker(work: Callable[[], object]) -> Callable[[], float]:
        def take() -> float:
            calls, start = 0, time.perf_counter()
            while time.perf_counter() - start < length_s:
                work()
                calls += 1
            return calls * len(body) / 1e6 / (time.perf_counter() - start)

        return take

    return common.interleaved(
        {
            "decoder": taker(lambda: decode(body, servable)),
            "simdjson": taker(lambda: simdjson.Parser().parse(body)),
        },
        rounds,
    )


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    common.program("wrk")
    rounds, length_s = (2, 2.0) if args.quick else (5, 8.0)
    with common.scratch() as folder, common.pinned(core):
        megabytes = decoding(rounds, length_s / 4)
        half_rates, p99s_ms = half(server_core, folder, rounds, length_s)
        taken = {
            "ResNet50": resnet(server_core, folder, rounds, length_s),
            "half_plus_two": half_rates,
            "dense": batching(server_core, folder, rounds, length_s),
        }
    common.table(
        ["model, served by", "requests/s"],
        [
            [f"{model}, {name}", statistics.median(rates)]
            for model, found in taken.items()
            for name, rates in found.items()
        ],
    )
    common.table(
        ["half_plus_two, served by", "p99 ms"],
        [[name, statistics.median(found)] for name, found in p99s_ms.items()],
    )
    rates_mb = {name: statistics.median(found) for name, found in megabytes.items()}
    common.table(["a body of 1 MB read by", "MB/s"], [*rates_mb.items()])
    peers = [peer for peer in PEERS if peer.name in half_rates]
    ratios = (
        ("ResNet50", "REST", "bare", 0.9),
        ("ResNet50", "gRPC", "bare", 0.97),
        ("ResNet50", "REST JPEG", "bare JPEG", 0.95),
        *(("half_plus_two", "embedded", peer.name, peer.target) for peer in peers),
        ("dense", "batching", "without", 3),
    )
    targets = [
        common.Target(f"{model}: {of} / {to}", common.ratio(taken[model], of, to), limit, at_least=True)
        for model, of, to, limit in ratios
    ]
    targets += [
        common.Target(
            f"half_plus_two: p99 of embedded / {peer.name}",
            common.ratio(p99s_ms, "embedded", peer.name),
            0.5,
        )
        for peer in peers
        if peer.name.startswith(FASTAPI)
    ]
    able = min(_DECODED_MB, 2 / 3 * rates_mb["simdjson"])
    targets.append(common.Target("1 MB body decoded, MB/s", rates_mb["decoder"], able, at_least=True))
    figures = {"rounds": taken, "half_plus_two_p99_ms": p99s_ms, "decoded_mb_s": megabytes}
    common.finish(args, figures, targets)


if __name__ == "__main__":
    main()
