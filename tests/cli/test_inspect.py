"""The command ``inspect``."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from crashing import crash
from pytest_tfserving.cli import main
from pytest_tfserving.protocols import fitting_request

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shown:
    monkeypatch.setenv("COLUMNS", "100")
    return Shown(capsys)


class Shown:
    """Runs the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def of(self, *arguments: object) -> str:
        """Return the output of a command that succeeds."""
        assert main(["inspect", *map(str, arguments)]) == 0
        return self._capsys.readouterr().out

    def error_of(self, *arguments: object) -> str:
        """Return the error of a command that fails."""
        assert main(["inspect", *map(str, arguments)]) == 2
        return self._capsys.readouterr().err


TRAITS = {
    "numbers": ["x  float32  any x 4", "gRPC 63 bytes PredictRequest(x: float32 1 x 4)"],
    "strings": ["s  string  any", "s: a short text (made up, the type is string)"],
    "images": ["image_bytes: a JPEG picture of 224 x 224 pixels (the model's error: Unknown image file"],
    "several_inputs": [
        "input_mask: 1 everywhere (by the input's name, a mask)",
        "input_word_ids: 8 as the size of axis 1 (a usual size, the axis is open)",
        "input_word_ids: whole numbers from 0 to 6 (the model's error: indices[0,0] = 7 is not in [0, 7))",
    ],
    "several_signatures": ["2 signatures", "score (predict)", "shout (predict)"],
    "tf1": ["predict_rows (predict, the same tensors as serving_default)"],
    "ragged": [
        "REST rows not possible: the inputs do not have one value for each row",
        "row_splits: two ragged rows, of 2 and 6 values (by the input's name)",
    ],
    "int64": ["n  int64  any x 3", "n: whole numbers from 0 to 9 (made up)"],
    "half": [
        "x  float16  any x 2",
        "REST columns not possible: Conversion of JSON Value: 0.134 to type: half",
        "gRPC 51 bytes PredictRequest(x: float16 1 x 2)",
    ],
    "no_batch": [
        "x  float32  3",
        "y  float32  one value",
        "REST rows not possible: Tensor name: y has no shape",
    ],
    "examples": ["examples: a serialized tf.Example with the features age, name (the model's error: Name:"],
    "open_size": ["x: 5 as the size of axis 1 (the model's error: Matrix size-incompatible"],
}


@pytest.mark.parametrize("model", TRAITS)
def test_each_signature_has_a_request_that_fits(shown: Shown, newcomers: Path, model: str) -> None:
    text = shown.of(newcomers / model)

    assert "no request" not in text
    assert "one call in process took" in text
    squeezed = " ".join(text.split())
    for part in TRAITS[model]:
        assert " ".join(part.split()) in squeezed


def test_requests_are_cut_at_the_width_of_the_terminal_or_whole(shown: Shown, newcomers: Path) -> None:
    cut, whole = shown.of(newcomers / "images"), shown.of(newcomers / "images", "--whole")

    assert all(len(line) <= 100 for line in cut.splitlines() if "{" in line)
    (rows,) = (line for line in whole.splitlines() if "REST rows" in line)
    size, body = rows.removeprefix("    REST rows    ").split(" bytes  ")
    assert len(body) == int(size.replace(" ", ""))
    assert json.loads(body)["instances"][0]["b64"]


def test_the_version_folder_and_its_file_are_understood(shown: Shown, newcomers: Path) -> None:
    model = newcomers / "numbers"

    for path in (model / "1", model / "1" / "saved_model.pb"):
        text = shown.of(path)

        assert text.startswith(f"{model}/1 is a version of the model {model}\n")
        assert "serving_default (predict)" in text


def test_a_version_that_is_not_the_newest_is_shown_as_named(
    shown: Shown, newcomers: Path, tmp_path: Path
) -> None:
    for version in ("1", "2"):
        shutil.copytree(newcomers / "numbers" / "1", tmp_path / "m" / version)

    text = shown.of(tmp_path / "m" / "1")

    assert f"{tmp_path}/m, of which a server takes version 2" in text
    assert f"{tmp_path}/m/1: loaded in" in text


def test_a_model_without_a_version_is_shown(shown: Shown, newcomers: Path, tmp_path: Path) -> None:
    shutil.copytree(newcomers / "numbers" / "1", tmp_path / "mine")

    text = shown.of(tmp_path / "mine")

    assert f"{tmp_path}/mine has no version, which a server needs" in text
    assert "x  float32  any x 4" in text


def test_one_signature_is_shown(shown: Shown, newcomers: Path) -> None:
    text = shown.of(newcomers / "several_signatures", "--signature", "shout")

    assert "shout (predict)" in text
    assert "score (predict)" not in text


def test_a_signature_that_is_not_there(shown: Shown, newcomers: Path) -> None:
    error = shown.error_of(newcomers / "several_signatures", "--signature", "shut")

    assert error == (
        "pytest-tfserving: the model has no signature 'shut'; did you mean 'shout'? valid: score, shout.\n"
    )


def test_a_folder_without_a_model(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "empty" / "3").mkdir(parents=True)

    assert "none does not exist; a SavedModel lies in a numbered folder" in shown.error_of(tmp_path / "none")
    assert shown.error_of(tmp_path / "empty") == (
        f"pytest-tfserving: {tmp_path}/empty/3 has no saved_model.pb, so it is not a SavedModel.\n"
    )


def test_a_model_that_cannot_be_loaded(shown: Shown, tmp_path: Path) -> None:
    version = tmp_path / "m" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"nothing")

    error = shown.error_of(tmp_path / "m")

    assert error.startswith(f"pytest-tfserving: {version} cannot be loaded: ")
    assert len(error.splitlines()) == 1


def test_a_crash_of_tensorflow_is_one_sentence(
    shown: Shown, newcomers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting_request, "_inspected", crash)

    error = shown.error_of(newcomers / "numbers")

    assert error == (
        f"pytest-tfserving: {newcomers}/numbers/1: TensorFlow ended its process while it loaded or called "
        "the model: F0000 check failed: a graph that cannot be.\n"
    )


def test_signatures_without_a_request_say_why(shown: Shown, newcomers: Path) -> None:
    text = shown.of(newcomers / "stubborn")

    assert "no request: it has no inputs, and predict requests need one" in text
    assert "no request: each of 3 generated requests failed, the first error is: " in text


def test_what_a_model_writes_stays_nowhere(
    shown: Shown, newcomers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model takes a made-up text for the path of a file."""
    monkeypatch.chdir(tmp_path)

    assert "a request that the model takes" in shown.of(newcomers / "writer")
    assert not list(tmp_path.iterdir())


def test_ctrl_c_is_one_line(
    newcomers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting_request, "inspected", interrupted)

    assert main(["inspect", str(newcomers / "numbers")]) == 130
    assert capsys.readouterr().err == "\npytest-tfserving: interrupted.\n"
