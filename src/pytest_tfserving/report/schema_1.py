"""Documents of schema version 1 as documents of version 2: the same values under other names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tfserving.text.json_value import JsonObject, JsonValue

VERSION = 1
_OF_A_RESULT = {
    "bare": "baseline",
    "beside": "alternatives",
    "circumstances": "environment",
    "effective": "n_eff",
    "reached": "via",
}
_OF_A_SERVER = {"happened": "incidents"}
_OF_FIGURES = {"effective": "n_eff"}


def upgraded(document: JsonObject) -> JsonObject:
    """Return a document of version 1 as one of version 2; what version 1 does not allow stays as it is."""
    results = document.get("results")
    if not isinstance(results, list):
        return document
    return {**document, "schema_version": VERSION + 1, "results": [_result(each) for each in results]}


def _result(values: JsonValue) -> JsonValue:
    result = _renamed(values, _OF_A_RESULT)
    if not isinstance(result, dict):
        return result
    parts = {
        "server": _renamed(result.get("server"), _OF_A_SERVER),
        "stages": _each(result.get("stages")),
        "alternatives": _each(result.get("alternatives")),
        "decided": _each(result.get("decided")),
    }
    return result | {name: part for name, part in parts.items() if name in result}


def _each(figures: JsonValue) -> JsonValue:
    """Return a list or an object of figures with their new names."""
    if isinstance(figures, dict):
        return {name: _renamed(each, _OF_FIGURES) for name, each in figures.items()}
    return [_renamed(each, _OF_FIGURES) for each in figures] if isinstance(figures, list) else figures


def _renamed(values: JsonValue, names: dict[str, str]) -> JsonValue:
    if not isinstance(values, dict):
        return values
    return {names.get(name, name): value for name, value in values.items()}
