"""What unloaded versions leave in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from grpc_client import Client, serving
from harness import until
from server_process import Server

EXPORT = """
import sys
import tensorflow as tf
v1 = tf.compat.v1
with v1.Graph().as_default(), v1.Session() as session:
    x = v1.placeholder(tf.float32, [None], name="x")
    pieces = [v1.Variable(tf.random.stateless_uniform([2_500_000], [number, 0])) for number in range(10)]
    session.run(v1.global_variables_initializer())
    y = x + tf.add_n([each[0] for each in pieces])
    signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
    builder = v1.saved_model.Builder(sys.argv[1])
    builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
    builder.save()
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with 100 MB of weights."""
    base = tmp_path_factory.mktemp("weights")
    subprocess.run([sys.executable, "-c", EXPORT, str(base / "1")], check=True, capture_output=True)
    for version in range(2, 6):
        (base / str(version)).symlink_to(base / "1")
    return base


def exchange(client: Client, server: Server, base: Path, version: int) -> None:
    """Serve a version instead of the one that is served."""
    request = serving("ReloadConfigRequest")()
    config = request.config.model_config_list.config.add(
        name=server.name, base_path=str(base), model_platform="tensorflow"
    )
    config.model_version_policy.specific.versions.append(version)
    client.call("HandleReloadConfigRequest", request)
    until(
        lambda: {each for each, state in server.states().items() if state != "END"} == {str(version)},
        f"version {version}",
    )


def resident_bytes(server: Server) -> int:
    """What a server holds that has answered."""
    assert server.predict({"instances": [1]}).status_code == 200
    return int(psutil.Process(server.process.pid).memory_info().rss)


@pytest.mark.needs("linux")
@pytest.mark.parametrize("kept", [False, True], ids=["default", "chosen"])
def test_the_system_has_the_memory_of_unloaded_versions_again(
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    kept: bool,  # noqa: FBT001
) -> None:
    monkeypatch.delenv("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", raising=False)
    if kept:
        monkeypatch.setitem(os.environ, "TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "0")
    flags = ["--num_load_threads=1", "--num_unload_threads=1", "--file_system_poll_wait_seconds=0"]
    with Server("w", weights, *flags) as server, Client(f"127.0.0.1:{server.grpc_port}") as client:
        first = resident_bytes(server)
        for version in range(1, 5):
            exchange(client, server, weights, version)
        last = resident_bytes(server)

    assert (last > 1.1 * first) is kept, f"{first / 1e6:.0f} MB, then {last / 1e6:.0f} MB"


@pytest.mark.needs("linux")
def test_a_large_request_has_the_memory_of_the_one_before(models: Path) -> None:
    """Each page that the system gives is a fault."""
    body = json.dumps({"signature_name": "sum", "instances": [[0.12345] * 100_000]}).encode()
    with Server("kinds", models / "kinds") as server:
        for _ in range(20):
            assert server.predict(body).status_code == 200
        before = faults(server)
        for _ in range(20):
            server.predict(body)

        assert (faults(server) - before) / 20 < 200


def faults(server: Server) -> int:
    """The pages that a server was given so far."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[7])


FAULTS = """
import ctypes, resource, sys
from pytest_tfserving.model_server.memory import give_back, keep_between_requests, populate
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
ctypes.CDLL(None).prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a fault for each page
keep_between_requests()
give_back()
if sys.argv[1] == "populated":
    populate(20_000_000, 2)
before = faults()
blocks = [b"x" * 20_000_000 for _ in range(2)]
print((faults() - before) * resource.getpagesize() / 40_000_000)
"""


@pytest.mark.needs("linux")
@pytest.mark.parametrize(("kind", "least", "most"), [("as it is", 0.9, 1.1), ("populated", 0.0, 0.1)])
def test_blocks_find_the_memory_that_was_got_for_them(kind: str, least: float, most: float) -> None:
    found = subprocess.run(
        [sys.executable, "-c", FAULTS, kind], check=True, capture_output=True, text=True
    ).stdout

    assert least <= float(found) <= most


PEAK = """
import resource
from pytest_tfserving.model_server.memory import keep_between_requests, populate
def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
keep_between_requests()
before = peak_mb()
populate(100_000_000, 2)
print(peak_mb() - before)
"""


@pytest.mark.needs("linux")
def test_a_huge_request_takes_no_memory_before_it_is_parsed() -> None:
    found = subprocess.run([sys.executable, "-c", PEAK], check=True, capture_output=True, text=True).stdout

    assert float(found) < 10
