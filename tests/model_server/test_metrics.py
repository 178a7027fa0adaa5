"""What Prometheus reads."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from grpc_client import Client
from pytest_tfserving.model_server.metrics import Metrics
from server_process import Server

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
    ],
)
def test_requests_are_counted_and_measured(models: Path, tmp_path: Path, text: str, path: str) -> None:
    config = tmp_path / "monitoring.txt"
    config.write_text(text)
    flag = f"--monitoring_config_file={config}"
    with Server("kinds", models / "kinds", flag) as server, Client(f"127.0.0.1:{server.grpc_port}") as client:
        server.predict({"instances": [1]})
        server.predict({"instances": ["x"]})
        server.session.post(f"{server.address}/v1/models/other:predict", json={"instances": [1]}, timeout=60)
        server.post({"signature_name": "regress", "examples": [{}] * 3}, ":regress")
        server.get("/v1/models/kinds")
        client.predict("kinds", {"x": np.zeros(1, np.float32)})
        response = server.get(path)

    assert response.headers["Content-Type"] == "text/plain"
    lines = response.text.splitlines()
    prefix, loading = ":tensorflow:serving:", ":tensorflow:cc:saved_model:"
    for line in (
        f"# TYPE {prefix}request_count counter",
        f'{prefix}request_count{{model_name="kinds",status="OK"}} 4',
        f'{prefix}request_count{{model_name="kinds",status="INVALID_ARGUMENT"}} 1',
        f'{prefix}request_count{{model_name="other",status="NOT_FOUND"}} 1',
        f"# TYPE {prefix}request_latency histogram",
        f'{prefix}request_latency_count{{model_name="kinds",API="predict",entrypoint="REST"}} 1',
        f'{prefix}request_latency_count{{model_name="kinds",API="Predict",entrypoint="GRPC"}} 1',
        f'{prefix}request_latency_count{{model_name="kinds",API="",entrypoint="REST"}} 1',
        f'{prefix}request_example_counts_bucket{{model="kinds",le="2"}} 0',
        f'{prefix}request_example_counts_bucket{{model="kinds",le="4"}} 1',
        f'{prefix}request_example_counts_bucket{{model="kinds",le="+Inf"}} 1',
        f'{prefix}request_example_counts_sum{{model="kinds"}} 3',
        f'{prefix}request_example_count_total{{model="kinds"}} 3',
        f'{loading}load_attempt_count{{model_path="{models}/kinds/1",status="success"}} 1',
    ):
        assert line in lines
    taken_us = next(line for line in lines if line.startswith(f"{loading}load_latency{{")).split()[-1]
    assert 1000 < int(taken_us) < 60_000_000
    assert all(re.fullmatch(r"# TYPE \S+ (counter|histogram)|\S+\{.*\} [0-9.e+]+", line) for line in lines)


def test_there_are_none_unless_asked_for(half: Server) -> None:
    assert half.get("/monitoring/prometheus/metrics").status_code == 404


def test_buckets_of_latencies() -> None:
    metrics = Metrics()
    metrics.observe("request_latency", 17.9, model_name='a"b\\')

    lines = metrics.text().splitlines()

    assert ':tensorflow:serving:request_latency_bucket{model_name="a\\"b\\\\",le="10"} 0' in lines
    assert ':tensorflow:serving:request_latency_bucket{model_name="a\\"b\\\\",le="18"} 1' in lines
    assert sum("_bucket" in line for line in lines) == 33


def test_values_that_several_threads_add_are_all_counted_while_others_read() -> None:
    metrics = Metrics()
    threads = [threading.Thread(target=_observe, args=(metrics, 5000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metrics.text()

    lines = metrics.text().splitlines()
    assert ':tensorflow:serving:request_latency_sum{model_name="m"} 400000' in lines
    assert ':tensorflow:serving:request_latency_count{model_name="m"} 20000' in lines
    assert ':tensorflow:serving:request_latency_bucket{model_name="m",le="18"} 0' in lines
    assert ':tensorflow:serving:request_latency_bucket{model_name="m",le="32.4"} 20000' in lines


def _observe(metrics: Metrics, count: int) -> None:
    for _ in range(count):
        metrics.observe("request_latency", 20, model_name="m")


def test_labels_from_requests_do_not_grow_without_end() -> None:
    metrics = Metrics()
    for number in range(5000):
        metrics.count("request_count", model_name=str(number))
        metrics.observe("request_latency", 1, model_name=str(number))

    assert metrics.text().count("request_count{") == 1000
    assert metrics.text().count("request_latency_count{") == 1000
