"""The types of a document have the keys and values of the JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest

import pytest_tfserving
from pytest_tfserving.calibration.content import Calibration
from pytest_tfserving.experiments.load_profile import ProfileFields
from pytest_tfserving.report.schema import Document
from pytest_tfserving.slo.language import Verdict

SCHEMA = json.loads((Path(pytest_tfserving.__file__).parent / "report" / "results.schema.json").read_text())
# Names that the modules of the types import for type checkers only, and aliases.
NAMES = {
    "Calibration": Calibration,
    "Mapping": Mapping,
    "ProfileFields": ProfileFields,
    "Sequence": Sequence,
    "Verdict": Verdict,
    "Ends": Sequence[float],
    "Metrics": Mapping[str, float | None],
    "Intervals": Mapping[str, Sequence[float]],
    "SampleSizes": Mapping[str, float],
}
SCALARS: dict[object, set[str]] = {
    str: {"string"},
    bool: {"boolean"},
    int: {"integer", "number"},
    float: {"number"},
}


def test_the_types_are_the_schema() -> None:
    assert list(differences(Document, SCHEMA, "document")) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"required": []}, "document.interrupted: not required"),
        ({"properties": {**SCHEMA["properties"], "more": {}}}, "document: keys"),
        ({"properties": {**SCHEMA["properties"], "interrupted": {"type": "string"}}}, "document.interrupted"),
        ({"properties": {**SCHEMA["properties"], "calibration": {"type": "object"}}}, "document.calibration"),
    ],
)
def test_a_schema_of_its_own_is_found(change: dict[str, Any], found: str) -> None:
    assert any(each.startswith(found) for each in differences(Document, {**SCHEMA, **change}, "document"))


def differences(hint: object, schema: dict[str, Any], place: str) -> list[str]:
    """The places at which a type and a part of the schema differ; an empty schema allows everything."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    variants = schema.get("oneOf") or [{**schema, "type": kind} for kind in types_of(schema)]
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    found = []
    if variants and (NoneType in members) != any(each.get("type") == "null" for each in variants):
        found.append(f"{place}: null")
    (member,) = [each for each in members if each is not NoneType]
    for variant in (each for each in variants if each.get("type") != "null"):
        found += differences_of_one(member, variant, place)
    return found


def types_of(schema: dict[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]


def differences_of_one(hint: object, schema: dict[str, Any], place: str) -> list[str]:
    if is_typeddict(hint):
        return [f"{place}: {schema['type']}"] if schema["type"] != "object" else of_keys(hint, schema, place)
    kind, arguments = get_origin(hint), get_args(hint)
    if kind in (list, Sequence):
        parts = [schema["items"]] if "items" in schema else schema.get("prefixItems", [])
        return [each for part in parts for each in differences(arguments[0], part, f"{place}[]")]
    if kind in (dict, Mapping):
        parts = [*schema.get("properties", {}).values(), schema.get("additionalProperties")]
        if arguments[1] is object:
            return []
        return [each for part in parts if part for each in differences(arguments[1], part, f"{place}.*")]
    return [] if schema["type"] in SCALARS[hint] else [f"{place}: {schema['type']}"]


def of_keys(hint: object, schema: dict[str, Any], place: str) -> list[str]:
    hints = get_type_hints(hint, localns=NAMES, include_extras=True)
    properties, required = schema.get("properties", {}), schema.get("required", [])
    closed, is_total = schema.get("additionalProperties") is False, getattr(hint, "__total__", True)
    found = []
    if not properties.keys() <= hints.keys() or (closed and properties.keys() != hints.keys()):
        found.append(f"{place}: keys {sorted(properties.keys() ^ hints.keys())}")
    for name, part in properties.items():
        annotation = hints.get(name, object)
        is_marked = get_origin(annotation) in (Required, NotRequired)
        is_required = get_origin(annotation) is Required or (is_total and not is_marked)
        if is_required != (name in required):
            found.append(f"{place}.{name}: {'not ' if is_required else ''}required")
        if name in hints:
            bare = get_args(annotation)[0] if is_marked else annotation
            found += differences(bare, part, f"{place}.{name}")
    return found
