"""Reader of ``payload`` in the YAML file, where it is a mapping."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfserving.experiments.payload_choice import (
    Distribution,
    FilePayload,
    GeneratedKind,
    GeneratedPayload,
)
from pytest_tfserving.experiments.payload_paths import is_set_path

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfserving.experiments.yaml_file import Value

_KIND_KEYS = ["weight", "rows", "sizes", "values"]
_FILE_KEYS = ["file", "signature", "weights"]
_GENERATED_KEYS = ["generate", "seed", "signature", "kinds", *_KIND_KEYS[1:]]
_MOST_GENERATED = 100_000


def payload_of(value: Value, folder: Path) -> FilePayload | GeneratedPayload:
    """Return the payload that a mapping describes; paths are relative to ``folder``.

    Raises:
        ConfigurationError: for a mistake in the mapping.
    """
    keys = value.mapping("payload")
    if ("file" in keys) == ("generate" in keys):
        raise value.error("a payload has 'file' or 'generate'; valid: one of them.")
    return _file(value, folder) if "file" in keys else _generated(value)


def _file(value: Value, folder: Path) -> FilePayload:
    keys = value.mapping("payload", _FILE_KEYS)
    path = str(folder / keys["file"].place_of("file"))
    if not is_set_path(path):
        raise keys["file"].error(f"{path!r} is not a payload set; valid: a folder, *.jsonl, *.tfrecord.")
    weights = keys["weights"].mapping("weights") if "weights" in keys else {}
    return FilePayload(path, _signature(keys), {kind: weight_of(each) for kind, each in weights.items()})


def _generated(value: Value) -> GeneratedPayload:
    keys = value.mapping("payload", _GENERATED_KEYS)
    count = keys["generate"].integer("generate")
    common = {name: keys[name] for name in _KIND_KEYS if name in keys}
    kinds = keys["kinds"].mapping("kinds") if "kinds" in keys else {}
    parts = {kind: {**common, **each.mapping(f"kind {kind!r}", _KIND_KEYS)} for kind, each in kinds.items()}
    if count * max(len(parts), 1) > _MOST_GENERATED:
        raise keys["generate"].error(f"at most {_MOST_GENERATED} requests are generated for a payload.")
    return GeneratedPayload(
        count,
        {kind: _kind(part) for kind, part in (parts or {"": common}).items()},
        _signature(keys),
        keys["seed"].integer("seed", least=0) if "seed" in keys else 1,
    )


def _kind(keys: dict[str, Value]) -> GeneratedKind:
    values = keys["values"].mapping("values") if "values" in keys else {}
    return GeneratedKind(
        weight_of(keys["weight"]) if "weight" in keys else 1.0,
        keys["rows"].parsed(Distribution.parse) if "rows" in keys else Distribution.parse(1),
        keys["sizes"].parsed(Distribution.parse) if "sizes" in keys else None,
        {alias: each.parsed(Distribution.parse) for alias, each in values.items()},
    )


def _signature(keys: dict[str, Value]) -> str:
    return keys["signature"].text("signature") if "signature" in keys else ""


def weight_of(value: Value) -> float:
    """Return a weight.

    Raises:
        ConfigurationError: for any other value than a number above 0.
    """
    weight = value.raw
    if isinstance(weight, int | float) and not isinstance(weight, bool) and 0 < weight < math.inf:
        return float(weight)
    raise value.error(f"a weight must be a number above 0, not {value.plain()!r}.")
