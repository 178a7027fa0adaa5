"""Request logs: real traffic recorded as TFRecords of PredictionLog, read back, replayed."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from google.protobuf.unknown_fields import UnknownFieldSet

from grpc_client import Client, add_examples, serving, tensor
from harness import until
from pytest_tfserving.model_server.metrics import Metrics
from pytest_tfserving.model_server.model_config import ModelConfig, RequestLogging
from pytest_tfserving.model_server.prediction_log import LoggedRequest
from pytest_tfserving.model_server.request_log import RequestLogOptions, RequestLogs
from pytest_tfserving.model_server.status import ServingError
from pytest_tfserving.model_server.tensor_proto import to_array
from pytest_tfserving.model_server.tfrecord import records
from server_process import Server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from google.protobuf.message import Message

METHODS = {
    "predict_log": "Predict",
    "classify_log": "Classify",
    "regress_log": "Regress",
    "multi_inference_log": "MultiInference",
}
REGRESS = "tensorflow/serving/regress"
LOGS_ALL = RequestLogOptions(enabled=True)


def logged(folder: Path, prefix: str = "log") -> list[Message]:
    """The records of all files, in the order of the files."""
    found = []
    for path in sorted(folder.glob(f"{prefix}*")):
        with path.open("rb") as file:
            found += [serving("PredictionLog").FromString(record) for record in records(file)]
    return found


def asked_over_rest(server: Server) -> None:
    example = {"x": 3.0, "name": "a"}
    for body, path in (
        ({"instances": [1.0, 2.0, 5.0]}, ":predict"),
        ({"signature_name": "text", "inputs": ["a", {"b64": "AP8="}]}, "/versions/1:predict"),
        ({"signature_name": "classify", "context": {"word": "all"}, "examples": [example]}, ":classify"),
        ({"signature_name": "regress", "examples": [example]}, ":regress"),
    ):
        assert server.post(body, path).status_code == 200, path


def asked_over_grpc(client: Client) -> None:
    client.predict("kinds", {"x": np.array([7.0], np.float32)})
    client.call("Classify", add_examples(client.request("Classify", "kinds", "classify"), [b""]))
    client.call("Regress", add_examples(client.request("Regress", "kinds", "regress"), [b"", b""]))
    several = serving("MultiInferenceRequest")()
    task = several.tasks.add(method_name=REGRESS)
    task.model_spec.name, task.model_spec.signature_name = "kinds", "regress"
    client.call("MultiInference", add_examples(several, [b""]))


def eight(found: list[Message]) -> list[Message]:
    return found if len(found) >= 8 else []


def test_requests_are_logged_read_back_and_replayed(models: Path, tmp_path: Path) -> None:
    began_s = int(time.time())
    flags = ["--enable_request_logging", f"--request_log_prefix={tmp_path / 'log'}"]
    with (
        Server("kinds", models / "kinds", *flags) as server,
        Client(f"127.0.0.1:{server.grpc_port}") as client,
    ):
        asked_over_rest(server)
        asked_over_grpc(client)
        refused = server.predict({"instances": []})
        found = until(lambda: eight(logged(tmp_path)), "all requests in the log")
        answers = [_replayed(client, entry) for entry in found]
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(60)
        after_all = logged(tmp_path)

        assert f"requests for kinds are logged in {tmp_path / 'log-kinds-'}" in server.log()

    # The replayed ones are logged too, before the server ends; the refused one is not.
    assert refused.status_code == 400
    assert after_all[:8] == found
    assert [_content(entry).request for entry in after_all[8:]] == [
        _content(entry).request for entry in found
    ]
    assert answers == [_content(entry).response for entry in found]
    assert [entry.WhichOneof("log_type") for entry in found] == [
        *("predict_log", "predict_log", "classify_log", "regress_log"),
        *("predict_log", "classify_log", "regress_log", "multi_inference_log"),
    ]
    specs = [entry.log_metadata.model_spec for entry in found]
    assert {(spec.name, spec.version.value) for spec in specs} == {("kinds", 1)}
    assert [spec.signature_name for spec in specs] == [
        *("serving_default", "text", "classify", "regress"),
        *("serving_default", "classify", "regress", "regress"),
    ]
    metadata = found[0].log_metadata
    assert (metadata.sampling_config.sampling_rate, list(metadata.saved_model_tags)) == (1.0, ["serve"])
    assert began_s <= metadata.timestamp_secs <= time.time()
    assert to_array(found[0].predict_log.request.inputs["x"]).tolist() == [1.0, 2.0, 5.0]
    assert to_array(found[0].predict_log.response.outputs["y"]).tolist() == [2.5, 3.0, 4.5]
    assert found[1].predict_log.request.model_spec.version.value == 1
    assert list(found[1].predict_log.request.inputs["text"].string_val) == [b"a", b"\0\xff"]


def _content(entry: Message) -> Message:
    found: Message = getattr(entry, entry.WhichOneof("log_type"))
    return found


def _replayed(client: Client, entry: Message) -> Message:
    return client.call(METHODS[entry.WhichOneof("log_type")], _content(entry).request)


def test_a_log_is_a_warm_up_file(models: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "1" / "assets.extra").mkdir(parents=True)
    for path in (models / "kinds" / "1").iterdir():
        (base / "1" / path.name).symlink_to(path)
    config = tmp_path / "models.txt"
    config.write_text(
        f'model_config_list {{ config {{ name: "kinds" base_path: "{base}" model_platform: "tensorflow" '
        f'logging_config {{ log_collector_config {{ type: "tfrecord" filename_prefix: "{tmp_path}/log" }} '
        "sampling_config { sampling_rate: 1 } } } }",
        encoding="utf-8",
    )
    with Server("kinds", None, f"--model_config_file={config}", "--enable_request_logging") as server:
        asked_over_rest(server)
        until(lambda: len(logged(tmp_path)) == 4, "all requests in the log")
    (path,) = tmp_path.glob("log-*")
    path.rename(base / "1" / "assets.extra" / "tf_serving_warmup_requests")

    with Server("kinds", base) as server:
        assert "warmed up with 4 records of " in server.log()


# --- the logs alone ---


def of(model: str, number: int = 0, size_bytes: int = 100) -> LoggedRequest:
    """A predict request whose tensor x is a number."""

    def fill(entry: Message) -> None:
        entry.request.inputs["x"].CopyFrom(tensor(np.array(number)))

    return LoggedRequest(model, 1, "serving_default", "predict_log", fill, size_bytes)


def configured(name: str, folder: Path, rate: float = 1.0, prefix: str = "log") -> ModelConfig:
    return ModelConfig(name, folder, logging=RequestLogging(str(folder / prefix), rate))


def logs(
    *models: ModelConfig, options: RequestLogOptions = LOGS_ALL, metrics: Metrics | None = None
) -> RequestLogs:
    made = RequestLogs(options, metrics or Metrics())
    made.check(models)
    made.configure(models)
    return made


def numbers(folder: Path, prefix: str = "log") -> list[int]:
    return [int(to_array(entry.predict_log.request.inputs["x"])) for entry in logged(folder, prefix)]


def test_the_share_of_requests(tmp_path: Path) -> None:
    made = logs(
        configured("none", tmp_path, 0.0),
        configured("some", tmp_path, 0.1),
        configured("all", tmp_path, 1.0),
        ModelConfig("silent", tmp_path),
    )
    made.close()

    counts = {
        name: sum(made.samples(name) for _ in range(10_000)) for name in ("none", "some", "all", "silent")
    }

    assert (counts["none"], counts["all"], counts["silent"]) == (0, 10_000, 0)
    assert 700 < counts["some"] < 1300


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        (RequestLogOptions(enabled=True, file_records=2), [2, 2, 1]),
        (RequestLogOptions(enabled=True, file_bytes=50), [1] * 5),
        (LOGS_ALL, [5]),
    ],
    ids=["records", "bytes", "no limit"],
)
def test_files_follow_each_other(tmp_path: Path, options: RequestLogOptions, sizes: Sequence[int]) -> None:
    made = logs(configured("m", tmp_path), options=options)
    for number in range(5):
        made.put(of("m", number))
    made.close()

    assert [len(logged(tmp_path, path.name)) for path in sorted(tmp_path.glob("log-*"))] == sizes
    assert numbers(tmp_path) == [0, 1, 2, 3, 4]


def test_requests_beyond_the_buffer_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = Metrics()
    made = logs(configured("m", tmp_path), metrics=metrics)
    made.put(of("m", 1))
    made.put(of("m", 2, size_bytes=2**27))
    made.put(of("m", 3))
    made.close()

    assert numbers(tmp_path) == [1, 3]
    assert "1 requests for m are not in its request log: they came faster than" in capsys.readouterr().err
    for code, count in (("OK", 2), ("RESOURCE_EXHAUSTED", 1)):
        line = f':tensorflow:serving:request_log_count{{model_name="m",status_code="{code}"}} {count}\n'
        assert line in metrics.text()


def test_a_request_that_cannot_be_logged_spoils_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = logs(configured("m", tmp_path))
    made.put(of("m")._replace(fill=lambda entry: entry.request.inputs["x"].CopyFrom(None)))
    made.put(of("m", 2))
    made.close()

    assert numbers(tmp_path) == [2]
    assert "a request for m could not be logged" in capsys.readouterr().err


def test_a_folder_that_goes_and_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, metrics = tmp_path / "logs", Metrics()
    folder.mkdir()
    made = logs(configured("m", folder), metrics=metrics)
    folder.rmdir()
    made.put(of("m", 1))
    made.put(of("m", 2))
    lost = ':request_log_count{model_name="m",status_code="UNAVAILABLE"} 2\n'
    until(lambda: lost in metrics.text(), "two failures")
    folder.mkdir()
    made.put(of("m", 3))
    made.close()

    assert numbers(folder) == [3]
    text = f"the request log {folder / 'log'} cannot be written: No such file or directory"
    assert capsys.readouterr().err.count(text) == 1


FULL = """
import resource, sys
from pathlib import Path
from model_server.test_request_log import configured, logs, of
made = logs(configured("m", Path(sys.argv[1])))
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
for number in range(5):
    made.put(of("m", number))
made.close()
"""


@pytest.mark.needs("linux")
def test_a_full_disk_leaves_whole_records(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}{FULL}", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert 0 < len(numbers(tmp_path)) < 5
    assert done.stderr.count("cannot be written: ") == 1


def test_a_configuration_that_changes(tmp_path: Path) -> None:
    stays = configured("stays", tmp_path, prefix="stays")
    made = logs(stays, configured("moves", tmp_path, prefix="from"))
    for number, models in enumerate(([stays, configured("moves", tmp_path, prefix="to")], [stays])):
        made.put(of("stays", number))
        made.put(of("moves", number))
        made.configure(models)
    made.put(of("stays", 2))
    made.put(of("moves", 2))
    made.close()

    assert [numbers(tmp_path, prefix) for prefix in ("stays", "from", "to")] == [[0, 1, 2], [0], [1]]
    assert len(list(tmp_path.glob("stays-*"))) == 1


def test_every_model_has_files_of_its_own(tmp_path: Path) -> None:
    odd = ModelConfig("a/b", tmp_path)
    made = logs(
        odd,
        configured("m", tmp_path, prefix="own"),
        options=RequestLogOptions(enabled=True, prefix=str(tmp_path / "all")),
    )
    made.put(of("a/b", 1))
    made.put(of("m", 2))
    made.close()

    assert (numbers(tmp_path, "all-a%2Fb-"), numbers(tmp_path, "own-")) == ([1], [2])


@pytest.mark.parametrize(
    ("logging", "text"),
    [
        (
            RequestLogging("{folder}/log", 1.5),
            "sampling_rate is from 0 to 1, not 1.5, in the logging_config of",
        ),
        (RequestLogging("{folder}/log", float("nan")), "sampling_rate is from 0 to 1, not nan"),
        (RequestLogging("", 1.0), "filename_prefix, the beginning of the paths, is needed in the"),
        (RequestLogging("/no/such/log", 1.0), "There is no folder /no/such for the request log of model m"),
        (RequestLogging("{folder}/log", 1.0, "kafka"), "Cannot find LogCollector::Factory for type: kafka"),
    ],
)
def test_configurations_that_do_not_fit(tmp_path: Path, logging: RequestLogging, text: str) -> None:
    prefix = logging.prefix.replace("{folder}", str(tmp_path))
    model = ModelConfig(
        "m", tmp_path, logging=RequestLogging(prefix, logging.sampling_rate, logging.collector)
    )

    with pytest.raises(ServingError) as failed:
        logs(model)

    assert text in str(failed.value)


def wire(content: bytes) -> dict[int, Any]:
    """The fields of a message by their numbers, as protobuf sees them that knows none of them."""
    return {
        field.field_number: field.data for field in UnknownFieldSet(serving("OtherLog").FromString(content))
    }


def test_fields_have_the_numbers_of_tf_servings_prediction_log(tmp_path: Path) -> None:
    made = logs(configured("m", tmp_path), options=RequestLogOptions(enabled=True, tags=["serve"]))
    made.put(of("m"))
    made.close()
    (path,) = tmp_path.glob("log-*")
    with path.open("rb") as file:
        (content,) = records(file)
    entry = wire(content)
    metadata = wire(entry[1])

    assert (set(entry), set(wire(entry[6]))) == ({1, 6}, {1})
    assert set(metadata) == {1, 2, 3, 4}
    assert (wire(metadata[1])[1], metadata[3]) == (b"m", b"serve")
    assert wire(metadata[2])[1] == int.from_bytes(struct.pack("<d", 1.0), "little")
