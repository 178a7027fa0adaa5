"""Payload sets in files, and one sentence for each mistake in them."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.protocols.payload_files import set_of
from request_logs import prediction_log, tfrecord

if TYPE_CHECKING:
    from pathlib import Path


def lines(tmp_path: Path, *texts: str) -> Path:
    path = tmp_path / "requests.jsonl"
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "body", "kind", "weight"),
    [
        ('{"instances": [1.0, 2.0]}', {"instances": [1.0, 2.0]}, "serving_default", 1),
        ('{"inputs": {"x": [1]}, "kind": "columns"}', {"inputs": {"x": [1]}}, "columns", 1),
        (
            '{"signature_name": "s", "instances": ["a"], "weight": 2.5}',
            {"signature_name": "s", "instances": ["a"]},
            "s",
            2.5,
        ),
        ('{"instance": {"x": 1}, "kind": "k"}', {"instances": [{"x": 1}]}, "k", 1),
        ("[1.0, 2.0]", {"instances": [[1.0, 2.0]]}, "serving_default", 1),
        ('{"height": 1, "weight": 80}', {"instances": [{"height": 1, "weight": 80}]}, "serving_default", 1),
    ],
    ids=["body", "columns", "weight", "instance", "bare instance", "bare instance with names"],
)
def test_a_line_is_a_request(tmp_path: Path, line: str, body: object, kind: str, weight: float) -> None:
    (entry,) = set_of(lines(tmp_path, "", line, ""))

    assert json.loads(entry.payload.body) == body
    assert (entry.kind, entry.weight) == (kind, weight)
    assert entry.place == f"{tmp_path / 'requests.jsonl'}:2"


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ('{"instances": [1', "the line is not JSON: Expecting ',' delimiter at column 17"),
        ("\x00", "the line is not JSON"),
        ('{"instances": [1], "knd": "a"}', "unknown field 'knd' of a request; did you mean 'kind'?"),
        ('{"instances": [1], "inputs": [1]}', "a request has 'instances' or 'inputs', not both"),
        ('{"instances": 1}', "'instances' of a request is a list, not 1"),
        ('{"instances": [1], "kind": 3}', "the kind of a request is a text, not 3"),
        ('{"instances": [1], "weight": "2"}', "the weight of a request is a number, not '2'"),
        ('{"instances": [1], "weight": 0}', "the weight of a request must be above 0, not 0"),
        ('{"instances": [1], "weight": -2}', "the weight of a request must be above 0, not -2"),
        ('{"instances": [1], "signature_name": 1}', "'signature_name' is a text, not 1"),
    ],
)
def test_a_mistake_in_a_line_has_its_number(tmp_path: Path, line: str, cause: str) -> None:
    path = lines(tmp_path, "[1.0]", line)

    with pytest.raises(ConfigurationError, match=re.escape(f"{path}:2: {cause}")):
        set_of(path)


def test_pictures_and_arrays_are_requests_whose_folder_is_the_kind(tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "b.JPG").write_bytes(b"a picture")
    (tmp_path / "README.md").write_text("no request")
    np.save(tmp_path / "a.npy", np.array([[1.5, 2.0]], np.float32))

    array, picture = set_of(tmp_path, "jpeg")

    assert json.loads(array.payload.body) == {"signature_name": "jpeg", "instances": [[1.5, 2.0]]}
    content = base64.b64encode(b"a picture").decode()
    assert json.loads(picture.payload.body)["instances"] == [{"b64": content}]
    assert (array.kind, picture.kind) == ("jpeg", "large")


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"no array", "not an array"),
        (None, "has rows of numbers, texts or truth values, not float64 of shape ()"),
    ],
)
def test_a_file_that_is_no_array_of_rows_is_named(tmp_path: Path, content: bytes | None, cause: str) -> None:
    if content is None:
        np.save(tmp_path / "a.npy", np.array(1.5))
    else:
        (tmp_path / "a.npy").write_bytes(content)

    with pytest.raises(ConfigurationError, match=re.escape(cause)) as caught:
        set_of(tmp_path)

    assert str(caught.value).startswith(str(tmp_path / "a.npy"))


@pytest.mark.parametrize(
    "name", ["log.tfrecord", "log.tfrecord-00000-of-00002", "tf_serving_warmup_requests"]
)
def test_logged_requests_are_sent_as_columns(tmp_path: Path, name: str) -> None:
    logs = [
        prediction_log(x=np.array([1.5, 2], np.float32)),
        prediction_log("texts", words=np.array([b"a", b"\xff"], object)),
    ]
    (tmp_path / name).write_bytes(b"".join(map(tfrecord, logs)))

    first, second = set_of(tmp_path / name)

    assert json.loads(first.payload.body) == {
        "signature_name": "serving_default",
        "inputs": {"x": [1.5, 2.0]},
    }
    assert json.loads(second.payload.body)["inputs"] == {"words": ["a", {"b64": "/w=="}]}
    assert second.kind == "texts"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (tfrecord(prediction_log(x=[1.0]))[:-5], ": record 1 is cut off or damaged"),
        (tfrecord(prediction_log(x=[1.0])) + b"\1", ": record 2 is cut off or damaged"),
        (tfrecord(b"\xff\xff"), ": record 1 is not a PredictionLog"),
        (tfrecord(b""), ": record 1 is a log of nothing; load sends those of predict_log"),
        (b"", " is empty: it needs a request or more"),
    ],
    ids=["cut", "cut head", "other message", "other log", "empty"],
)
def test_a_log_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "log.tfrecord"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=re.escape(f"{path}{cause}")):
        set_of(path)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("none.jsonl", "cannot read the payload {}: No such file or directory"),
        ("requests", "the payload {} is not a folder, and its name does not say what is in it"),
    ],
)
def test_a_set_that_is_not_there_is_named(tmp_path: Path, name: str, cause: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(cause.format(tmp_path / name))):
        set_of(tmp_path / name)


def test_a_folder_without_requests_is_empty(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"the payload {tmp_path} is empty")):
        set_of(tmp_path)
