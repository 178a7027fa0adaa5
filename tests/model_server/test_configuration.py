"""Several models, version policies, labels, and configurations that change."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests

from grpc_client import Client, serving, tensor
from harness import until
from pytest_tfserving.model_server.core import Labels
from pytest_tfserving.model_server.manager import LoadOptions, Manager
from pytest_tfserving.model_server.model_config import ModelConfig
from pytest_tfserving.model_server.status import Code, ServingError
from pytest_tfserving.model_server.tensor_proto import to_array
from server_process import Server, free_port

if TYPE_CHECKING:
    from google.protobuf.message import Message


def model(name: str, path: Path, more: str = "") -> str:
    return f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" {more} }}\n'


def configured(file: Path, *models: str) -> Path:
    """Write a configuration at once, as nobody may see half of it."""
    side = file.with_suffix(".new")
    side.write_text(f"model_config_list {{\n{''.join(models)}}}\n", encoding="utf-8")
    side.rename(file)
    return file


def answer(server: Server, path: str = "", name: str = "") -> object:
    url = f"{server.address}/v1/models/{name or server.name}{path}:predict"
    response = server.session.post(url, json={"instances": [0]}, timeout=60)
    return response.json().get("predictions", [response.json().get("error")])[0]


@pytest.fixture
def numbered(models: Path, tmp_path: Path) -> Path:
    """A base folder with version 1; others come from `add`."""
    add(models, tmp_path / "base", 1)
    return tmp_path / "base"


def add(models: Path, base: Path, version: int) -> None:
    base.mkdir(exist_ok=True)
    side = base.parent / f"{version}.new"
    shutil.copytree(models / "numbered" / str(version), side)
    side.rename(base / str(version))


NEXT = "the next server\n"
# Starts servers of one flag each, which have to fail, one after the other.
ALL_REFUSE = f"""
import sys
from pytest_tfserving.model_server.main import main

port, *flags = sys.argv[1:]
for flag in flags:
    sys.stderr.write({NEXT!r})
    assert main([port, flag]) == 1
"""

# The versions of a model that a policy has served.
POLICIES = {
    "default": ("", [4]),
    "latest": ("model_version_policy { latest { num_versions: 2 } }", [4, 3]),
    "none": ("model_version_policy { latest { num_versions: 0 } }", [4]),
    "all": ("model_version_policy { all {} }", [4, 3, 2, 1]),
    "specific": ("model_version_policy { specific { versions: 1 versions: 3 versions: 9 } }", [3, 1]),
}


def test_version_policies(models: Path, tmp_path: Path) -> None:
    each_policy = (model(name, models / "numbered", policy) for name, (policy, _) in POLICIES.items())
    file = configured(tmp_path / "models.txt", *each_policy, model("b", models / "half_plus_two"))
    with Server("b", None, f"--model_config_file={file}") as server:
        for name, (_, served) in POLICIES.items():
            until(lambda name=name: set(server.states(name).values()) == {"AVAILABLE"}, "all versions")  # type: ignore[misc] # mypy infers no defaults of lambdas

            assert list(server.states(name).items()) == [(str(version), "AVAILABLE") for version in served]
            assert answer(server, name=name) == max(served)
            assert [answer(server, f"/versions/{version}", name) for version in served] == served
        assert answer(server) == 2.0
        assert re.findall(r"version 9 of (\w+) is to be served, but not in", server.log()) == ["specific"]


def test_labels(models: Path, tmp_path: Path) -> None:
    everything = "model_version_policy { all {} } "
    file = configured(tmp_path / "models.txt", model("a", models / "numbered", everything))
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"]
    with Server("a", None, *flags) as server:
        until(lambda: list(server.states().values()) == ["AVAILABLE"] * 4, "all versions")
        labels = 'version_labels { key: "stable" value: 2 } version_labels { key: "canary" value: 4 }'
        configured(file, model("a", models / "numbered", everything + labels))
        until(lambda: answer(server, "/labels/stable") == 2.0, "the labels")

        assert answer(server, "/labels/canary") == 4.0
        assert answer(server, "/labels/other") == "Unrecognized servable version label: other"
        assert server.get("/v1/models/a/labels/stable/metadata").json()["model_spec"]["version"] == "2"
        configured(file, model("a", models / "numbered", 'version_labels { key: "stable" value: 9 }'))
        text = (
            "Request to assign label to version 9 of model a, which is not currently available for inference"
        )
        until(lambda: text in server.log(), "the refusal")
        assert answer(server, "/labels/stable") == 2.0


def test_labels_of_the_first_configuration(models: Path, tmp_path: Path) -> None:
    label = 'version_labels { key: "stable" value: 4 }'
    file = configured(tmp_path / "models.txt", model("a", models / "numbered", label))

    done = failed(f"--model_config_file={file}")
    flags = [f"--model_config_file={file}", "--allow_version_labels_for_unavailable_models"]
    with Server("a", None, *flags) as server:
        assert answer(server, "/labels/stable") == 4.0

    assert done.endswith(
        "Failed to start server. Error: FAILED_PRECONDITION: Request to assign label to version 4 of model "
        "a, which is not currently available for inference"
    )


def test_a_label_in_use_is_not_moved_to_a_version_that_is_not_there() -> None:
    manager = Manager(lambda *_: pytest.fail("nothing is loaded"), LoadOptions())
    labels = Labels(manager, unavailable_allowed=True)
    with pytest.raises(ServingError) as early:
        labels.version("m", "foo")
    labels.configure([config("m", {"stable": 1})])
    with pytest.raises(ServingError) as moved:
        labels.configure([config("m", {"stable": 2})])
    manager.stop()

    assert (early.value.code, str(early.value)) == (Code.UNAVAILABLE, "Model labels does not init yet.foo")
    assert moved.value.code is Code.FAILED_PRECONDITION
    assert labels.version("m", "stable") == 1


def config(name: str, labels: dict[str, int]) -> ModelConfig:
    return ModelConfig(name, Path("/nowhere"), labels=labels)


def failed(*flags: str) -> str:
    """What a server says that does not start."""
    command = [sys.executable, "-m", "pytest_tfserving.model_server", f"--port={free_port()}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.rstrip()


# What a file of models may have in it, None where it is not there, and why the server does not start.
UNFIT = [
    (None, "Error: NOT_FOUND: {file}; No such file or directory"),
    ("improperly formatted file", "Error: INVALID_ARGUMENT: Invalid protobuf file: '{file}'"),
    (
        'model_config_list { config { name: "m" base_path: "rel" model_platform: "tensorflow" } }',
        "Expected model m to have an absolute path or URI; got base_path()=rel",
    ),
    (
        'model_config_list { config { name: "m" base_path: "/m" } }',
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
        "ModelServerConfig::model_platform.",
    ),
    (
        'model_config_list { config { name: "m" base_path: "/m" model_platform: "onnx" } }',
        "Model m requests unsupported platform onnx",
    ),
    (
        'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" '
        "logging_config { sampling_config { sampling_rate: 0.1 } } } }",
        "Error: INVALID_ARGUMENT: No request-logger-creator provided. Model m has a logging_config: "
        "this server needs --enable_request_logging for it, and the stock binary of TensorFlow Serving "
        "refuses it",
    ),
    (
        'model_config_list { config { name: "m" base_path: "/m" model_platform: "tensorflow" '
        "logging_config {} } }",
        "Error: INVALID_ARGUMENT: No request-logger-creator provided. Model m has a logging_config: "
        "this server needs --enable_request_logging for it, and the stock binary of TensorFlow Serving "
        "refuses it",
    ),
    (
        'model_config_list { config { name: "m" base_path: "/m" model_type: TENSORFLOW } '
        'config { name: "m" base_path: "/n" model_platform: "tensorflow" } }',
        "Illegal to list model m multiple times in config list",
    ),
]


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, str]]:
    """The file of each unfit configuration, and what its server says; one process is all servers."""
    folder = tmp_path_factory.mktemp("unfit")
    files = [folder / f"{number}.txt" for number in range(len(UNFIT))]
    for file, (text, _) in zip(files, UNFIT, strict=True):
        if text is not None:
            file.write_text(text, encoding="utf-8")
    flags = [f"--port={free_port()}", *(f"--model_config_file={file}" for file in files)]
    command = [sys.executable, "-c", ALL_REFUSE, *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "Traceback" not in done.stderr
    return list(zip(files, done.stderr.split(NEXT)[1:], strict=True))


@pytest.mark.parametrize("number", range(len(UNFIT)))
def test_configurations_that_do_not_fit(refusals: list[tuple[Path, str]], number: int) -> None:
    (file, told), (text, message) = refusals[number], UNFIT[number]

    assert told.rstrip().endswith(message.replace("{file}", str(file)))
    assert ("Error parsing text-format tensorflow.serving.ModelServerConfig: " in told) is (
        text == "improperly formatted file"
    )


def test_a_configuration_that_changes(models: Path, tmp_path: Path) -> None:
    file = configured(tmp_path / "models.txt", model("a", models / "numbered"))
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"]
    with Server("a", None, *flags) as server:
        file.write_text("improperly formatted file", encoding="utf-8")
        until(
            lambda: "Failed to read ModelServerConfig file: Invalid protobuf file: " in server.log(),
            "the refusal",
        )
        assert answer(server) == 4.0
        configured(file, model("b", models / "half_plus_two"))
        until(lambda: answer(server, name="b") == 2.0, "the other model")
        until(lambda: f"{file}: all its models are available" in server.log(), "a word about it")
        until(lambda: server.states("a") == {"4": "END"}, "the end of the first model")

        assert answer(server) == "Servable not found for request: Latest(a)"


# What a file may have in it while somebody writes it, None where it is gone, and what is logged.
IN_MOTION = (
    ("", "Failed to read ModelServerConfig file: {file}; Invalid argument"),
    ("# nothing\n", "PollFilesystemAndReloadConfig failed to ReloadConfig: Cannot transition to requested"),
    ("model_config_list { config {", "Failed to read ModelServerConfig file: Invalid protobuf file: "),
    (" \n", "PollFilesystemAndReloadConfig failed to ReloadConfig: Cannot transition to requested"),
    (
        'model_config_list { config { name: "a" base_path: "/m" model_platform: "tensorflow" '
        'logging_config { log_collector_config { type: "file" } } } }',
        "failed to ReloadConfig: No request-logger-creator provided. Model a has a logging_config",
    ),
    (None, "Failed to read ModelServerConfig file: {file}; No such file or directory"),
)


def test_a_configuration_in_motion_changes_nothing(models: Path, tmp_path: Path) -> None:
    file = configured(tmp_path / "models.txt", model("a", models / "numbered"))
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"]
    with Server("a", None, *flags) as server:
        for content, logged in IN_MOTION:
            before, text = len(server.log()), logged.replace("{file}", str(file))
            file.unlink()
            if content is not None:
                file.write_text(content, encoding="utf-8")
            until(lambda before=before, text=text: text in server.log()[before:], "the log")  # type: ignore[misc] # mypy infers no defaults of lambdas
            assert answer(server) == 4.0
            assert server.states() == {"4": "AVAILABLE"}

        configured(file, "")
        until(lambda: server.states() == {"4": "END"}, "the end of all models")


def test_a_first_configuration_that_says_nothing(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.txt"
    file.write_text("# later\n", encoding="utf-8")
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"]
    with Server("a", None, *flags) as server:
        assert "Taking no action for empty config." in server.log()
        assert answer(server) == "Servable not found for request: Latest(a)"
        configured(file, model("a", models / "numbered"))
        until(lambda: server.states() == {"4": "AVAILABLE"}, "the model")


@pytest.mark.parametrize(
    "flag",
    [
        *("model_config_file", "batching_parameters_file", "tensorflow_session_config_file"),
        *("monitoring_config_file", "ssl_config_file"),
    ],
)
def test_an_empty_file_at_the_start(models: Path, tmp_path: Path, flag: str) -> None:
    (tmp_path / "empty.txt").touch()

    told = failed(
        f"--model_base_path={models / 'half_plus_two'}",
        "--enable_batching",
        f"--rest_api_port={free_port()}",
        f"--{flag}={tmp_path / 'empty.txt'}",
    )

    path = tmp_path / "empty.txt"
    assert told.endswith(f"Failed to start server. Error: INVALID_ARGUMENT: {path}; Invalid argument")


def reload_request(*configs: dict[str, Any]) -> Message:
    request = serving("ReloadConfigRequest")()
    for each in configs:
        request.config.model_config_list.config.add(**{"model_platform": "tensorflow", **each})
    return request


def test_a_configuration_over_grpc(models: Path, numbered: Path) -> None:
    with Server("a", numbered) as server, Client(f"127.0.0.1:{server.grpc_port}") as client:
        both = reload_request(
            {"name": "a", "base_path": str(numbered)},
            {"name": "b", "base_path": str(models / "numbered")},
        )
        response = client.call("HandleReloadConfigRequest", both)
        (bad := numbered.parent / "bad" / "1").mkdir(parents=True)
        refused = client.failure(
            "HandleReloadConfigRequest", reload_request({"name": "c", "base_path": str(bad.parent)})
        )
        until(lambda: server.states("a") == {"1": "END"}, "the end of the first model")

        assert response.status.error_code == 0
        assert refused == (
            "UNKNOWN",
            "Some models did not become available: {{name: c version: 1}, }",
        )


def test_twenty_exchanges_at_full_load(models: Path) -> None:
    base, stop = models / "numbered", threading.Event()
    flags = ["--num_load_threads=1", "--num_unload_threads=1"]

    def over_rest(server: Server) -> list[Any]:
        with requests.Session() as session:
            url, body = f"{server.model}:predict", {"instances": [0]}
            return [session.post(url, json=body, timeout=60).json() for _ in iter(stop.is_set, True)]

    def over_grpc(server: Server) -> list[tuple[int, float]]:
        with Client(f"127.0.0.1:{server.grpc_port}", **{"grpc.use_local_subchannel_pool": 1}) as client:
            request = client.request("Predict", "a")
            request.inputs["x"].CopyFrom(tensor(np.zeros(1, np.float32)))
            answers = [client.call("Predict", request) for _ in iter(stop.is_set, True)]
        return [(each.model_spec.version.value, to_array(each.outputs["y"])[0]) for each in answers]

    with (
        Server("a", base, *flags) as server,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
        ThreadPoolExecutor(4) as pool,
    ):
        rest = [pool.submit(over_rest, server) for _ in range(2)]
        rpc = [pool.submit(over_grpc, server) for _ in range(2)]
        try:
            for version in (1, 2, 3, 4) * 5:
                policy = {"specific": {"versions": [version]}}
                wanted = {"name": "a", "base_path": str(base), "model_version_policy": policy}
                client.call("HandleReloadConfigRequest", reload_request(wanted))
                until(partial(only, server, str(version)), f"version {version}")
        finally:
            stop.set()

    versions = {float(number) for number in (1, 2, 3, 4)}
    assert {each["predictions"][0] for call in rest for each in call.result()} == versions
    answers = [answer for call in rpc for answer in call.result()]
    assert {value for _, value in answers} == versions
    assert all(version == value for version, value in answers)


def only(server: Server, version: str) -> bool:
    """Whether all versions of the server's model but one are at their end."""
    return {each for each, state in server.states().items() if state != "END"} == {version}


def test_models_that_polling_brings_and_do_not_load(models: Path, tmp_path: Path) -> None:
    file = configured(tmp_path / "models.txt", model("a", models / "numbered"))
    (tmp_path / "bad" / "1").mkdir(parents=True)
    flags = [f"--model_config_file={file}", "--model_config_file_poll_wait_seconds=1"]
    with Server("a", None, *flags) as server:
        late = model("late", tmp_path / "nowhere")
        configured(file, model("a", models / "numbered"), late)
        until(lambda: "Could not find base path" in server.log(), "the model that is waited for")
        configured(file, model("a", models / "numbered"), model("bad", tmp_path / "bad"))
        told = f"{file}: Some models did not become available: {{{{name: bad version: 1}}, }}"
        until(lambda: told in server.log(), "the failure")

        assert answer(server) == 4.0
        assert answer(server, name="late") == "Servable not found for request: Latest(late)"


def test_a_model_that_goes_and_comes_again(models: Path, numbered: Path) -> None:
    first = reload_request({"name": "a", "base_path": str(numbered)})
    other = reload_request({"name": "b", "base_path": str(models / "half_plus_two")})
    with Server("a", numbered) as server, Client(f"127.0.0.1:{server.grpc_port}") as client:
        client.call("HandleReloadConfigRequest", other)
        until(lambda: server.states("a") == {"1": "END"}, "the end of the first model")
        client.call("HandleReloadConfigRequest", first)

        assert answer(server) == 1.0
        changed = reload_request({"name": "a", "base_path": str(numbered), "model_platform": "onnx"})
        assert client.failure("HandleReloadConfigRequest", changed) == (
            "INVALID_ARGUMENT",
            "Illegal to change a model's platform. For model a platform was tensorflow and new platform "
            "requested is onnx",
        )
        custom = serving("ReloadConfigRequest")()
        custom.config.custom_model_config.SetInParent()
        assert client.failure("HandleReloadConfigRequest", custom)[0] == "INVALID_ARGUMENT"


# Versions that come and go


def test_versions_that_come_and_go(models: Path, numbered: Path) -> None:
    with Server("a", numbered) as server:
        add(models, numbered, 3)
        until(lambda: server.states() == {"3": "AVAILABLE", "1": "END"}, "version 3")
        add(models, numbered, 2)
        (numbered / "notes").mkdir()
        shutil.rmtree(numbered / "3")
        until(lambda: server.states().get("2") == "AVAILABLE", "version 2")
        until(lambda: server.states()["3"] == "END", "the end of version 3")
        assert answer(server) == 2.0
        moved = numbered.rename(numbered.with_name("moved"))
        until(lambda: "Could not find base path" in server.log(), "the missing folder")
        assert answer(server) == 2.0
        moved.rename(numbered)
        for version in (1, 2):
            shutil.rmtree(numbered / str(version))
        until(lambda: set(server.states().values()) == {"END"}, "the end of all")
        assert answer(server) == "Servable not found for request: Latest(a)"
        add(models, numbered, 1)
        until(lambda: server.states()["1"] == "AVAILABLE", "version 1 again")


def test_folders_that_are_looked_at_once(models: Path, numbered: Path) -> None:
    add(models, numbered, 3)
    (numbered / "1").rename(numbered / "0003")
    with Server("a", numbered, "--file_system_poll_wait_seconds=0") as server:
        add(models, numbered, 4)
        twice = f"{numbered} has version 3 of a more than once: 0003, 3; the first is served"

        assert twice in server.log()
        assert server.states() == {"3": "AVAILABLE"}
        assert answer(server) == 1.0


def test_folders_that_are_never_looked_at(numbered: Path) -> None:
    with Server("a", numbered, "--file_system_poll_wait_seconds=-1", ready=False) as server:
        until(lambda: "--file_system_poll_wait_seconds" in server.log(), "a word about it")

        assert not server.serves()
        assert "loading" not in server.log()


def test_a_missing_folder_keeps_all_models_as_they_are(models: Path, numbered: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    add(models, other, 2)
    file = configured(tmp_path / "models.txt", model("a", numbered), model("b", other))
    with Server("a", None, f"--model_config_file={file}") as server:
        other.rename(tmp_path / "moved")
        until(lambda: "Could not find base path" in server.log(), "the missing folder")
        add(models, numbered, 4)
        seen = server.log().count("loading")
        (tmp_path / "moved").rename(other)
        until(lambda: server.states("a").get("4") == "AVAILABLE", "version 4")

        assert seen == 2
        assert answer(server, name="b") == 2.0


def test_a_load_that_fails_is_tried_again(models: Path, numbered: Path) -> None:
    flags = ["--max_num_load_retries=100", "--load_retry_interval_micros=200000"]
    with Server("a", numbered, *flags) as server:
        (numbered / "2").mkdir()
        until(lambda: server.log().count("a version 2 did not load") > 1, "a second try")
        assert server.states() == {"2": "LOADING", "1": "AVAILABLE"}
        assert answer(server) == 1.0
        shutil.copytree(models / "numbered" / "2", numbered / "2", dirs_exist_ok=True)
        until(lambda: server.states() == {"2": "AVAILABLE", "1": "END"}, "version 2")

        assert answer(server) == 2.0


def test_a_load_that_failed_is_told_and_not_tried_again(numbered: Path) -> None:
    with Server("a", numbered, "--num_load_threads=2", "--num_unload_threads=1") as server:
        (numbered / "2").mkdir()
        until(lambda: server.states().get("2") == "END", "the failure")
        status = server.get("/v1/models/a/versions/2").json()["model_version_status"][0]["status"]

        assert status["error_code"] == "NOT_FOUND"
        assert "Could not find SavedModel .pb" in status["error_message"]
        assert answer(server) == 1.0


def test_exchanges_under_load(models: Path, numbered: Path) -> None:
    with (
        Server("a", numbered) as server,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
        ThreadPoolExecutor(4) as pool,
    ):
        import numpy as np

        def rest() -> list[Any]:
            return [answer(server) for _ in range(100)]

        def grpc() -> list[Any]:
            zero = {"x": np.zeros(1, np.float32)}
            return [client.predict("a", zero)["y"][0] for _ in range(100)]

        given: list[Any] = []
        for version in (2, 3, 4):
            asked = [pool.submit(ask) for ask in (rest, grpc)]
            add(models, numbered, version)
            until(lambda version=version: server.states().get(str(version)) == "AVAILABLE", "the version")  # type: ignore[misc] # mypy infers no defaults of lambdas
            given += [each for future in asked for each in future.result()]

        assert set(given) <= {1.0, 2.0, 3.0, 4.0}
        assert answer(server) == 4.0


def test_a_version_in_use_is_not_unloaded(models: Path, tmp_path: Path) -> None:
    base = tmp_path / "kinds"
    shutil.copytree(models / "kinds", base)
    with Server("kinds", base) as server, ThreadPoolExecutor(1) as pool:
        held = tmp_path / "held"
        first = pool.submit(server.predict, {"signature_name": "hold", "inputs": [str(held)]})
        until(held.with_name("held.arrived").exists, "the request")
        shutil.copytree(models / "kinds" / "1", tmp_path / "new")
        (tmp_path / "new").rename(base / "2")
        until(lambda: server.states() == {"2": "AVAILABLE", "1": "UNLOADING"}, "the exchange")
        gone = server.predict({"instances": [1]}, "/versions/1")
        held.touch()

        assert gone.status_code == 404
        assert first.result().json() == {"outputs": [str(held)]}
        until(lambda: server.states() == {"2": "AVAILABLE", "1": "END"}, "the end")
