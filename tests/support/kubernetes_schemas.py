"""Kubernetes' own schemas of each version from `OLDEST` to the newest that kubernetes-validate has."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from importlib.resources.abc import Traversable

OLDEST = (1, 31)
_FOLDER = re.compile(r"v(\d+)\.(\d+)\.\d+-local-strict")


@cache
def versions() -> dict[str, Traversable]:
    """The folder of each version's schemas, by version, oldest first."""
    folders = (files("kubernetes_validate") / "kubernetes-json-schema").iterdir()
    found = [(match, each) for each in folders if (match := _FOLDER.fullmatch(each.name))]
    by_number = sorted((int(match[1]), int(match[2]), each) for match, each in found)
    return {f"{major}.{minor}": each for major, minor, each in by_number if (major, minor) >= OLDEST}


def problems(manifests: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the schemas of any version say against manifests; an unknown field counts, too."""
    different = {json.dumps(each, sort_keys=True): each for each in manifests}.values()
    return [
        f"Kubernetes {version}: {manifest['kind']} {error.json_path}: {error.message}"
        for version in versions()
        for manifest in different
        for error in _validator(version, manifest["kind"], manifest["apiVersion"]).iter_errors(manifest)
    ]


@cache
def _validator(version: str, kind: str, api_version: str) -> Draft202012Validator:
    group, _, number = api_version.rpartition("/")
    name = "-".join(part for part in (kind.lower(), group.partition(".")[0], number) if part)
    schema = json.loads((versions()[version] / f"{name}.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema, registry=_definitions(version))


@cache
def _definitions(version: str) -> Registry[Any]:
    text = (versions()[version] / "_definitions.json").read_text(encoding="utf-8")
    registry: Registry[Any] = Registry()
    return Resource.from_contents(json.loads(text)) @ registry
