"""The target url: an endpoint that exists is loaded and judged."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from harness import EXPERIMENTS, FAKE_SERVER, JUDGED_AT_ONCE, until
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.targets import url
from pytest_tfserving.targets.url import parse_url
from server_process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Project


@pytest.fixture
def address() -> Iterator[str]:
    """A server that was there before."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, str(FAKE_SERVER), f"--rest_api_port={port}"], stderr=subprocess.DEVNULL
    )

    def listening() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(listening, "the server's start")
    yield f"http://127.0.0.1:{port}/v1/models/half"
    server.kill()
    server.wait()


def test_an_endpoint_is_judged(project: Project, address: str) -> None:
    project.write(JUDGED_AT_ONCE)

    run, (result,) = project.results("--tfserving-target=url", f"--tfserving-url={address}", server=False)

    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines([f"tfserving: 1 experiment, target url: {address} (nothing is deployed;*"])
    assert result["target"] == "url"
    run.stdout.fnmatch_lines(["1cpu-1gb-1n-interop1 * PASS"])
    assert result["experiment"] == result["label"] == "1cpu-1gb-1n-interop1"
    assert result["configuration"] == {}
    assert result["verdict"] == "PASS"


def test_cpu_that_the_target_cannot_see_is_not_judged(project: Project, address: str) -> None:
    mark = '@pytest.mark.slo("cpu_per_request<95ms")'
    project.write(tests=f'import pytest\n{mark}\ndef test_gate(load):\n    load().check("cpu_per_request")\n')

    run = project.run("--tfserving-target=url", f"--tfserving-url={address}", server=False)

    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(
        ["*NOT JUDGED: cpu_per_request<95ms: target url cannot see the server's CPU; measured *"]
    )


def test_experiments_that_ask_the_same_share_one_run(project: Project, address: str) -> None:
    project.write(
        "profiles: {tiny: {users: 2, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.01, "
        "max_lag_ms: 2000, max_cpu_wait: 1}}\n"
        "defaults: {model: ./models/half, payload: request.json, profile: tiny, slo: [rps>=1]}\n"
        "experiments:\n- {shape: [1cpu-1gb-1n, 512vCPU-16GB_2], inter_op: [1, 2]}\n"
    )

    run, results = project.results("--tfserving-target=url", f"--tfserving-url={address}", server=False)

    run.assert_outcomes(passed=4)
    assert len({result["label"] for result in results}) == 4
    assert len({result["started_at"] for result in results}) == 1


def test_an_entry_needs_no_shape_and_names_test_and_results(project: Project) -> None:
    planted.instead_of_load(project)
    project.write("experiments: [{name: mine, payload: request.json, slo: [rps>=1]}]")

    run, (result,) = project.results(
        "-v", "--tfserving-target=url", "--tfserving-url=http://127.0.0.1:1/v1/models/m", server=False
    )

    run.assert_outcomes(passed=1)
    run.stdout.fnmatch_lines(["test_perf.py::test_gate[[]mine[]]*PASSED*", "mine * PASS"])
    assert result["label"] == "mine"


def test_nobody_answers(project: Project) -> None:
    project.monkeypatch.setattr(url, "_ANSWERS_WITHIN_S", 1.0)
    run = project.run(
        "--tfserving-target=url", "--tfserving-url=http://127.0.0.1:9/v1/models/m", server=False
    )

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["the model at http://127.0.0.1:9/v1/models/m was not AVAILABLE after 1 s *no response*"]
    )


REST, GRPC = "http://127.0.0.1:9/v1/models/m", "grpc://127.0.0.1:9/m"
BOTH = EXPERIMENTS + "  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: [rps>=1], protocol: grpc}\n"


@pytest.mark.parametrize("fixture", ["load", "serving"])
@pytest.mark.parametrize(
    ("url", "of", "experiment", "over"),
    [
        (GRPC, "grpc", "1cpu-1gb-1n-interop1", "rest; write it as http://host:8501/v1/models/NAME"),
        (REST, "rest", "1cpu-1gb-1n-interop1-grpc", "grpc; write it as grpc://host:8500/NAME"),
    ],
    ids=["grpc", "rest"],
)
def test_an_experiment_of_the_other_protocol_is_a_usage_error(  # noqa: PLR0913, PLR0917 - two tables
    project: Project, fixture: str, url: str, of: str, experiment: str, over: str
) -> None:
    project.write(BOTH, f"def test_gate({fixture}):\n    pass\n")

    run = project.run("--tfserving-target=url", f"--tfserving-url={url}", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "\n".join(run.errlines).strip() == (
        f"ERROR: --tfserving-url: {url} is an address of {of}, and experiment '{experiment}' is loaded over "
        f"{over}, or choose experiments whose protocol is {of}."
    )


@pytest.mark.parametrize(("url", "chosen"), [(GRPC, "grpc"), (REST, "not grpc")])
def test_experiments_that_are_not_chosen_may_be_of_the_other_protocol(
    project: Project, url: str, chosen: str
) -> None:
    project.write(BOTH)

    run = project.run(
        "--tfserving-target=url", f"--tfserving-url={url}", "-k", chosen, "--collect-only", server=False
    )

    assert run.ret == pytest.ExitCode.OK
    run.stdout.fnmatch_lines(["*1/2 tests collected*"])


def test_a_worker_fails_the_test_of_an_experiment_of_the_other_protocol(project: Project) -> None:
    run = project.run("--tfserving-target=url", f"--tfserving-url={GRPC}", "-n", "1", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([f"*--tfserving-url: {GRPC} is an address of grpc, and experiment *"])


@pytest.mark.parametrize(
    "text",
    [
        "host:8501",
        "http://host:8501",
        "ftp://host/v1/models/m",
        "http://host/v2/models/m",
        "http://host:port/v1/models/m",
        "http:///v1/models/m",
        "",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not (the|an) address"):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "endpoint", "path"),
    [
        ("http://host:8501/v1/models/m", "http://host:8501", "/v1/models/m"),
        ("https://host/v1/models/m/", "https://host:443", "/v1/models/m"),
        ("http://[::1]:8501/v1/models/m:predict", "http://[::1]:8501", "/v1/models/m"),
        ("http://host/v1/models/m/versions/3", "http://host:80", "/v1/models/m/versions/3"),
    ],
)
def test_an_address_is_read(text: str, endpoint: str, path: str) -> None:
    found, found_path, model = parse_url(text)

    assert (endpoint, path, "m") == (str(found), found_path, model)
