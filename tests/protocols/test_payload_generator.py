"""Requests generated from a signature."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from harness import EXPERIMENTS
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.payload_choice import Distribution, GeneratedKind, GeneratedPayload
from pytest_tfserving.protocols import payload_generator
from pytest_tfserving.protocols.fitting_request import FoundRequest, InspectedModel, TensorText
from pytest_tfserving.protocols.payload_generator import generated_set

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project
    from pytest_tfserving.text.json_value import JsonObject

INPUTS: JsonObject = {
    "ids": [[1, 2, 3]],
    "mask": [[1, 1, 1]],
    "scale": [[0.5, 0.25]],
    "text": [["a text"]],
    "flag": [True],
}
TYPES = {"ids": "int64", "mask": "int64", "scale": "float32", "text": "string", "flag": "bool"}
SHAPES = {"ids": "any x any", "mask": "any x any", "scale": "any x 2", "text": "any x 1", "flag": "any"}


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that takes a request with many inputs, found without TensorFlow."""
    request = FoundRequest(
        "score",
        inputs=tuple(TensorText(name, TYPES[name], SHAPES[name]) for name in INPUTS),
        rows=b"{}",
        document={"signature_name": "score", "inputs": INPUTS},
    )
    monkeypatch.setattr(payload_generator, "inspected", lambda _: InspectedModel(0.1, (request,)))


def rows_of(payload: GeneratedPayload, path: Path) -> list[list[dict[str, Any]]]:
    return [json.loads(entry.payload.body)["instances"] for entry in generated_set(payload, path)]


def test_rows_and_sizes_follow_their_distributions(tmp_path: Path) -> None:
    kind = GeneratedKind(rows=Distribution("uniform", 1, 3), sizes=Distribution("uniform", 4, 9))

    requests = rows_of(GeneratedPayload(60, {"": kind}), tmp_path)

    assert {len(rows) for rows in requests} == {1, 2, 3}
    sizes = [{len(row[name]) for row in rows for name in ("ids", "mask")} for rows in requests]
    assert all(len(each) == 1 for each in sizes)
    assert set().union(*sizes) == set(range(4, 10))
    assert all(len(row["scale"]) == 2 and row["text"] == ["a text"] for rows in requests for row in rows)


def test_values_follow_their_distributions_in_the_type_of_the_input(tmp_path: Path) -> None:
    values = {"ids": Distribution("uniform", 100, 200), "scale": Distribution("normal", 50, 1)}

    requests = rows_of(GeneratedPayload(20, {"": GeneratedKind(values=values)}), tmp_path)

    ids = {each for rows in requests for row in rows for each in row["ids"]}
    assert all(isinstance(each, int) and 100 <= each <= 200 for each in ids)
    assert len(ids) > 10
    assert all(40 < each < 60 for rows in requests for row in rows for each in row["scale"])
    assert {each for rows in requests for row in rows for each in row["mask"]} == {1}


def test_kinds_share_their_weights_among_their_requests(tmp_path: Path) -> None:
    kinds = {"small": GeneratedKind(weight=9), "large": GeneratedKind(rows=Distribution("uniform", 8, 8))}

    found = generated_set(GeneratedPayload(10, kinds), tmp_path)

    assert found.kinds == ["small"] * 10 + ["large"] * 10
    assert [sum(each.weight for each in found if each.kind == kind) for kind in kinds] == pytest.approx(
        [9, 1]
    )
    assert all(each.payload.signature_name == "score" for each in found)


def test_a_seed_makes_the_same_requests(tmp_path: Path) -> None:
    kinds = {"": GeneratedKind(values={"ids": Distribution("uniform", 0, 1000)})}

    digests = [generated_set(GeneratedPayload(5, kinds, seed=seed), tmp_path).digest for seed in (1, 1, 2)]

    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (
            GeneratedKind(values={"idz": Distribution("uniform", 0, 1)}),
            "has no input 'idz'; did you mean 'ids'?",
        ),
        (
            GeneratedKind(sizes=Distribution("uniform", 1e8, 1e8)),
            "a generated request would have 100000000 values",
        ),
    ],
)
def test_what_cannot_be_generated_is_named(tmp_path: Path, kind: GeneratedKind, cause: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        generated_set(GeneratedPayload(1, {"": kind}), tmp_path)

    assert cause in str(caught.value)


def test_generated_requests_are_sent(project: Project) -> None:
    request = FoundRequest(
        "serving_default",
        inputs=(TensorText("x", "float32", "any"),),
        rows=b"{}",
        document={"inputs": {"x": [0.5]}},
    )
    project.monkeypatch.setattr(payload_generator, "inspected", lambda _: InspectedModel(0.1, (request,)))
    project.write(
        EXPERIMENTS.replace("request.json", "{generate: 5, kinds: {one: {}, three: {rows: 3}}}"),
        "def test_load(load):\n    assert set(load().kinds) == {'one', 'three'}\n",
    )

    project.run().assert_outcomes(passed=1)
