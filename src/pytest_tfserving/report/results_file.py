"""Reader of the JSON of `--tfserving-json`; the file is checked first, since anyone may have changed it."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pytest_tfserving.errors import ConfigurationError, shown
from pytest_tfserving.report import schema_1
from pytest_tfserving.report.json import finite
from pytest_tfserving.report.report_data import SCHEMA_VERSION
from pytest_tfserving.text.addresses import without_secrets
from pytest_tfserving.text.foreign_text import one_line, printable
from pytest_tfserving.text.text_file import json_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

    from pytest_tfserving.report.schema import Document
    from pytest_tfserving.text.json_value import JsonObject, JsonValue

_SCHEMA = Path(__file__).with_name("results.schema.json")
_MOST_BYTES = 1 << 28
# Results have no longer numbers, and longer ones take long to read.
_MOST_DIGITS = 18


def read_document(path: Path) -> Document:
    """Read the document in a file; its texts are cleaned, its numbers are finite or None.

    Raises:
        ConfigurationError: when the file cannot be read, is truncated, has an unknown schema version, or
            does not match the schema.
    """
    content = read_json(path, "result file")
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version not in (schema_1.VERSION, SCHEMA_VERSION) or isinstance(version, bool):
        raise ConfigurationError(
            f"{path} is not a result file of this version: its schema_version is {shown(version)}, "
            f"this version reads {schema_1.VERSION} and {SCHEMA_VERSION}."
        )
    document = cleaned(content)
    if version == schema_1.VERSION:
        document = schema_1.upgraded(document)
    document.setdefault("searches", [])
    document.setdefault("calibration", None)
    document.setdefault("comparison", None)
    if not (document.get("results") or document["searches"] or document["comparison"]):
        raise ConfigurationError(f"{path} has no results: nothing was measured in that run.")
    if mistake := mistake_in(document, _SCHEMA):
        raise ConfigurationError(f"{path} is not a result file of this version: {mistake}.")
    return _without_secrets(cast("Document", document))


def read_json(path: Path, kind: str) -> JsonValue:
    """Return the value in a JSON file of this ``kind``, as it is written.

    Raises:
        ConfigurationError: when the file cannot be read or is truncated.
    """
    return json_of(path, kind, _MOST_BYTES, _whole, _refuse)


def cleaned(content: JsonValue) -> JsonObject:
    """Return a mapping of a file with cleaned texts, and with None for numbers that are not finite."""
    return cast("JsonObject", finite(_cleaned(content)))


def mistake_in(document: JsonObject, schema: Path) -> str:
    """Return the first violation of the schema in a file, as a part of a sentence; empty without one."""
    mistake = next(_validator(schema).iter_errors(document), None)
    return _said(mistake) if mistake else ""


def _without_secrets(document: Document) -> Document:
    """Return a document without the credentials that older versions recorded with an address."""
    return {
        **document,
        "results": [{**each, "via": without_secrets(each["via"])} for each in document["results"]],
        "searches": [
            {**each, "experiment": without_secrets(each["experiment"])} for each in document["searches"]
        ],
    }


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _refuse(name: str) -> float:
    raise ValueError(f"JSON has no {name}")


def _cleaned(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {printable(name): _cleaned(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_cleaned(part) for part in value]
    return printable(value) if isinstance(value, str) else value


@cache
def _validator(path: Path) -> Validator:
    """Return the validator of a schema; it lets unknown keys pass, which a later version may write."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    of_schemas = Draft202012Validator.VALIDATORS["additionalProperties"]

    def of_known_keys(
        validator: Validator, allowed: object, instance: object, schema: object
    ) -> Iterator[ValidationError]:
        if allowed is not False:
            yield from of_schemas(validator, allowed, instance, schema)

    changes = {"additionalProperties": of_known_keys}
    reader = extend(Draft202012Validator, changes)  # type: ignore[no-untyped-call]  # it has no types
    return cast("Validator", reader(json.loads(path.read_text(encoding="utf-8"))))


def _said(mistake: ValidationError) -> str:
    """Return a mistake as a part of a sentence: its place, the value, the expectation."""
    from jsonschema.exceptions import best_match

    # Of several allowed schemas, the one that the value nearly fits.
    found = best_match([mistake]) or mistake
    place = one_line(found.json_path.removeprefix("$").removeprefix(".")) or "the file"
    if found.validator == "required":
        asked, given = cast("tuple[list[str], JsonObject]", (found.validator_value, found.instance))
        missing = next(name for name in asked if name not in given)
        return f"{place} has no {missing!r}"
    rule = f"{found.validator} {shown(found.validator_value)}"
    return f"{place} is {shown(found.instance)}, and the schema asks for {rule}"
