"""Which signatures may run in the thread of their request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from grpc_client import Client, tensor
from harness import until
from pytest_tfserving.model_server.inline_policy import InlinePolicy
from server_process import Server

if TYPE_CHECKING:
    from pathlib import Path


def _in_threads(pace: InlinePolicy, run_s: float, runs: int) -> None:
    for _ in range(runs):
        pace.took_in_thread(run_s)


def _on_loop(pace: InlinePolicy, run_s: float, runs: int, cpu_s: float = 0.0001) -> None:
    for _ in range(runs):
        pace.took_on_loop(run_s, cpu_s)


def _short() -> InlinePolicy:
    pace = InlinePolicy()
    _in_threads(pace, 0.0001, 20)
    assert pace.is_short
    return pace


def test_short_runs_come_to_the_loop_after_a_trial() -> None:
    pace = InlinePolicy()
    _in_threads(pace, 0.0001, 19)
    assert not pace.is_short
    # Runs that waited for others do not count against it.
    pace.took_in_thread(0.1)
    assert pace.is_short


def test_long_runs_never_do() -> None:
    pace = InlinePolicy()
    _in_threads(pace, 0.001, 1000)
    assert not pace.is_short


def test_two_long_runs_on_the_loop_double_the_trial() -> None:
    pace = _short()
    _on_loop(pace, 0.006, 2, cpu_s=0.006)
    assert not pace.is_short
    _in_threads(pace, 0.0001, 39)
    assert not pace.is_short
    pace.took_in_thread(0.0001)
    assert pace.is_short


def test_runs_on_the_loop_that_waited_for_their_core_are_still_short() -> None:
    pace = _short()
    _on_loop(pace, 0.02, 100)
    assert pace.is_short


def test_one_hiccup_of_the_machine_is_forgotten_after_a_thousand_runs() -> None:
    pace = _short()
    _on_loop(pace, 0.2, 1)
    assert pace.is_suspect
    _on_loop(pace, 0.0001, 1000)
    assert not pace.is_suspect
    _on_loop(pace, 0.2, 1)
    assert pace.is_short


def test_only_long_runs_of_a_suspect_need_their_cpu_time() -> None:
    pace = _short()
    assert not pace.is_in_doubt(0.006)
    _on_loop(pace, 0.006, 1)
    assert pace.is_in_doubt(0.006)
    assert not pace.is_in_doubt(0.004)


def test_runs_that_wait_for_something_else_go_back_to_threads() -> None:
    pace = _short()
    _on_loop(pace, 0.1, 2)
    assert not pace.is_short


def test_hiccups_without_end_do_not_keep_it_in_threads() -> None:
    pace = _short()
    for _ in range(50):
        _on_loop(pace, 0.2, 2)
        assert not pace.is_short
        _in_threads(pace, 0.0001, 20_000)
        assert pace.is_short


def test_short_runs_do_not_wait_for_another_models_long_ones(models: Path, tmp_path: Path) -> None:
    """TensorFlow has one thread for operations, and a run that does not end holds it."""
    config, held = tmp_path / "models.txt", tmp_path / "held"
    entries = [
        f'config {{ name: "{name}" base_path: "{models / name}" model_platform: "tensorflow" }}'
        for name in ("half_plus_two", "kinds")
    ]
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    flags = [f"--model_config_file={config}", "--tensorflow_inter_op_parallelism=1"]
    with (
        Server("half_plus_two", None, *flags) as server,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
        ThreadPoolExecutor(1) as pool,
    ):
        inputs = {"x": np.array([1], np.float32)}
        for _ in range(400):
            client.predict("half_plus_two", inputs)
        path = {"path": np.array([str(held).encode()], object)}
        long = pool.submit(client.predict, "kinds", path, "hold")
        until(held.with_name("held.arrived").exists, "the long run")
        try:
            request = client.request("Predict", "half_plus_two")
            request.inputs["x"].CopyFrom(tensor(inputs["x"]))
            over_grpc = [client.call("Predict", request, timeout_s=20).outputs["y"] for _ in range(5)]
            over_rest = [server.predict({"instances": [1]}).json() for _ in range(5)]
            assert not long.done()
        finally:
            held.touch()
        assert long.result()["path"].tolist() == [str(held).encode()]

    assert len(over_grpc) == 5
    assert over_rest == [{"predictions": [2.5]}] * 5
