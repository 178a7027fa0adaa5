"""Models with operations that TensorFlow itself does not have."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness import until
from needs import TEXT
from server_process import Server

if TYPE_CHECKING:
    from pathlib import Path

EXPORT = """
import sys
import tensorflow as tf
v1 = tf.compat.v1
with v1.Graph().as_default(), v1.Session() as session:
    text = v1.placeholder(tf.string, [None], name="text")
    folded = tf.load_op_library(sys.argv[2]).case_fold_utf8(text) if sys.argv[2:] else tf.strings.length(text)
    v1.saved_model.simple_save(session, sys.argv[1], {"text": text}, {"folded": folded})
"""


def export(base: Path, *library: str) -> Path:
    """Write version 1 of a model with one operation."""
    command = [sys.executable, "-c", EXPORT, str(base / "1"), *library]
    subprocess.run(command, check=True, capture_output=True)
    return base


@pytest.fixture(scope="module")
def length(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the operation StringLength."""
    return export(tmp_path_factory.mktemp("length"))


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (
            b"CaseFoldUTF8",
            "The graph needs the operation CaseFoldUTF8 of TensorFlow Text: pip install tensorflow-text, in "
            "the version of TensorFlow. Op type not registered 'CaseFoldUTF8' in binary running on ",
        ),
        (
            b"TFText>Twelf",
            "The graph needs the operation TFText>Twelf of TensorFlow Text: pip install tensorflow-text",
        ),
        (
            b"NobodysOwnOp",
            "The graph needs the operation NobodysOwnOp, which TensorFlow does not have; "
            "--custom_op_libraries loads libraries that have it. Op type not registered 'NobodysOwnOp'",
        ),
    ],
)
def test_an_operation_that_is_not_there(length: Path, tmp_path: Path, operation: bytes, text: str) -> None:
    (tmp_path / "base" / "1").mkdir(parents=True)
    graph = (length / "1" / "saved_model.pb").read_bytes()
    assert len(operation) == len(b"StringLength")
    (tmp_path / "base" / "1" / "saved_model.pb").write_bytes(graph.replace(b"StringLength", operation))
    with Server("m", tmp_path / "base", ready=False) as server:
        until(lambda: server.process.poll() is not None, "the end")

        assert text in server.log()
        assert "Traceback" not in server.log()


def test_a_library_that_is_not_there(length: Path) -> None:
    with Server("m", length, "--custom_op_libraries=/nowhere/ops.so", ready=False) as server:
        until(lambda: server.process.poll() is not None, "the end")

        assert "Failed to start server. Error: NOT_FOUND: /nowhere/ops.so: cannot open" in server.log()


@pytest.mark.needs("tensorflow-text")
@pytest.mark.parametrize("by_flag", [False, True], ids=["installed", "by flag"])
def test_tensorflow_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by_flag: bool) -> None:  # noqa: FBT001 - a case
    folder = os.environ[TEXT]
    library = f"{folder}/tensorflow_text/python/ops/_normalize_ops.so"
    base = export(tmp_path / "base", library)
    flags = []
    if by_flag:
        flags.append(f"--custom_op_libraries={library}")
    else:
        monkeypatch.setenv("PYTHONPATH", folder)
    with Server("m", base, *flags) as server:
        response = server.predict({"instances": ["STRASSE ẞ"]})

    assert response.json() == {"predictions": ["strasse ss"]}
