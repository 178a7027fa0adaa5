"""Payloads that are mappings in the YAML file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.payload_choice import (
    Distribution,
    FilePayload,
    GeneratedKind,
    GeneratedPayload,
)
from pytest_tfserving.experiments.yaml_file import experiments_of

if TYPE_CHECKING:
    from pathlib import Path


def payload(folder: Path, text: str) -> object:
    experiments = f"experiments:\n- shape: 1cpu-2gb-1n\n  inter_op: 1\n  payload: {text}\n"
    return experiments_of(folder / "experiments.yaml", experiments).experiments[0].payload


def test_a_file_has_a_signature_and_weights_of_kinds(tmp_path: Path) -> None:
    found = payload(tmp_path, "{file: pictures/, signature: jpeg, weights: {large: 1, small: 9.5}}")

    assert found == FilePayload(str(tmp_path / "pictures"), "jpeg", {"large": 1.0, "small": 9.5})
    assert str(found) == str(tmp_path / "pictures")


def test_kinds_of_generated_requests_have_what_all_of_them_have(tmp_path: Path) -> None:
    kinds = "{small: {weight: 9}, large: {rows: [16, 64], sizes: 5}}"
    text = f"{{generate: 20, seed: 3, values: {{x: [0, 2]}}, kinds: {kinds}}}"

    found = payload(tmp_path, text)

    values, one = {"x": Distribution("uniform", 0, 2)}, Distribution("uniform", 1, 1)
    large = GeneratedKind(1, Distribution("uniform", 16, 64), Distribution("uniform", 5, 5), values)
    assert found == GeneratedPayload(
        20, {"small": GeneratedKind(9, one, None, values), "large": large}, seed=3
    )
    assert str(found) == "20 generated requests of each kind: small, large"


def test_generated_requests_without_kinds_are_of_one(tmp_path: Path) -> None:
    found = payload(tmp_path, "{generate: 5, rows: 2, signature: score}")

    assert found == GeneratedPayload(5, {"": GeneratedKind(rows=Distribution("uniform", 2, 2))}, "score")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{seed: 1}", "a payload has 'file' or 'generate'"),
        ("{file: a.jsonl, generate: 1}", "a payload has 'file' or 'generate'"),
        ("{file: a.json}", "is not a payload set; valid: a folder, *.jsonl, *.tfrecord"),
        ("{file: a.jsonl, weigths: {}}", "unknown key 'weigths' in payload; did you mean 'weights'?"),
        ("{file: a.jsonl, weights: {a: 0}}", "a weight must be a number above 0, not 0"),
        ("{file: a.jsonl, weights: {a: -.inf}}", "a weight must be a number above 0, not -inf"),
        ("{generate: none}", "generate must be a whole number of 1 or more, not 'none'"),
        ("{generate: 200000}", "at most 100000 requests are generated"),
        ("{generate: 1, rows: many}", "'many' is not a distribution"),
        ("{generate: 1, kinds: {a: {row: 1}}}", "unknown key 'row' in kind 'a'; did you mean 'rows'?"),
        ("{generate: 1, values: [1]}", "values must be a mapping, not [1]"),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, text: str, cause: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(cause)) as caught:
        payload(tmp_path, text)

    assert str(caught.value).startswith(f"{tmp_path}/experiments.yaml:4: ")
