"""Reads what `--tfserving-json` wrote, whoever has changed it since: nothing is made of an unchecked file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tfserving.addresses import without_secrets
from pytest_tfserving.errors import ConfigurationError, shown
from pytest_tfserving.foreign_text import one_line, printable
from pytest_tfserving.report.document import SCHEMA_VERSION
from pytest_tfserving.report.json import finite
from pytest_tfserving.text_file import json_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError

_SCHEMA = Path(__file__).with_name("results.schema.json")
_MOST_BYTES = 1 << 28
# Longer ones are no number that a result has, and take long to read.
_MOST_DIGITS = 18


def read_document(path: Path) -> dict[str, Any]:
    """Return the document in a file, its texts cleaned, its numbers finite or None.

    Raises:
        ConfigurationError: when it cannot be read, is cut off, is of a schema this version does not know, or
            is not what that schema says.
    """
    content = json_of(path, "result file", _MOST_BYTES, _whole, _refuse)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise ConfigurationError(
            f"{path} is not a result file of this version: its schema_version is {shown(version)}, "
            f"this version reads {SCHEMA_VERSION}."
        )
    document: dict[str, Any] = finite(_cleaned(content))
    document.setdefault("searches", [])
    document.setdefault("calibration", None)
    if not (document.get("results") or document["searches"]):
        raise ConfigurationError(f"{path} has no results: nothing was measured in that run.")
    if mistake := next(_mistakes(document), None):
        raise ConfigurationError(f"{path} is not a result file of this version: {_said(mistake)}.")
    return _without_secrets(document)


def _without_secrets(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without the credentials that versions of before recorded with an address."""
    addresses = {"results": "reached", "searches": "experiment"}
    return document | {
        part: [{**each, name: without_secrets(str(each[name]))} for each in document[part]]
        for part, name in addresses.items()
    }


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _refuse(name: str) -> float:
    raise ValueError(f"JSON has no {name}")


def _cleaned(value: Any) -> Any:
    if isinstance(value, dict):
        return {printable(name): _cleaned(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    return printable(value) if isinstance(value, str) else value


def _mistakes(document: dict[str, Any]) -> Iterator[ValidationError]:
    """Return what the schema forbids, but for unknown keys: a later version may write more."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    of_schemas = Draft202012Validator.VALIDATORS["additionalProperties"]

    def of_known_keys(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if allowed is not False:
            yield from of_schemas(validator, allowed, instance, schema)

    changes = {"additionalProperties": of_known_keys}
    reader = extend(Draft202012Validator, changes)  # type: ignore[no-untyped-call]  # it has no types
    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    yield from reader(schema).iter_errors(document)


def _said(mistake: ValidationError) -> str:
    """Return one mistake as a part of a sentence: where it is, what is there, what should be."""
    from jsonschema.exceptions import best_match

    # Of several schemas that are all right, the one that it nearly fits.
    found: Any = best_match([mistake]) or mistake
    place = one_line(found.json_path.removeprefix("$").removeprefix(".")) or "the file"
    if found.validator == "required":
        missing = next(name for name in found.validator_value if name not in found.instance)
        return f"{place} has no {missing!r}"
    asked = f"{found.validator} {shown(found.validator_value)}"
    return f"{place} is {shown(found.instance)}, and the schema asks for {asked}"
