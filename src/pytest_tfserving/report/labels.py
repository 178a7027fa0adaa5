"""Labels of results in reports: their name, and the differences between results of one name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_tfserving.load.result import Result

    # Gives each result of a group a text; different texts tell the results apart.
    Facet = Callable[[Sequence[Mapping[str, Any]]], Sequence[str]]

# A digest; its first eight digits suffice to tell it from others.
_DIGEST = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")


def labelled(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the results, each with a ``label``: its name, plus the differences if others have the name."""
    return _told_apart(results, (*_WHERE, _profile, _load, _identity, _number))


def labels_of(results: Sequence[Result]) -> list[str]:
    """Return the label of each result."""
    return [each["label"] for each in labelled([vars(result) for result in results])]


def labelled_searches(searches: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the searches, each with a ``label``; reports show the searched field beside the label."""
    return _told_apart(searches, _WHERE)


def _told_apart(results: Sequence[Mapping[str, Any]], facets: Sequence[Facet]) -> list[dict[str, Any]]:
    told: list[list[str]] = [[] for _ in results]
    groups = _groups(range(len(results)), [str(each["experiment"]) for each in results])
    for facet in facets:
        parts: list[list[int]] = []
        for group in groups:
            texts = facet([results[index] for index in group]) if len(group) > 1 else [""]
            parts += _groups(group, texts)
            for index, text in zip(group, texts, strict=True):
                if text and len(set(texts)) > 1:
                    told[index].append(text)
        groups = parts
    return [{**each, "label": _label(each, texts)} for each, texts in zip(results, told, strict=True)]


def _label(result: Mapping[str, Any], told: Sequence[str]) -> str:
    return f"{result['experiment']} ({', '.join(told)})" if told else str(result["experiment"])


def _groups(indexes: Iterable[int], texts: Sequence[str]) -> list[list[int]]:
    """Return the indexes in groups with the same text."""
    found: dict[str, list[int]] = {}
    for index, text in zip(indexes, texts, strict=True):
        found.setdefault(text, []).append(index)
    return list(found.values())


def _folder(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the folder of each experiments file; ``./`` is the rootdir."""
    folders = [each.get("origin", {}).get("folder", "") for each in results]
    return [f"{folder}/" if folder else "" for folder in folders]


def _overridden_in(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return [each.get("origin", {}).get("overridden_in", "") for each in results]


def _target(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"on {each['target']}" for each in results]


_WHERE: tuple[Facet, ...] = (_folder, _overridden_in, _target)


def _profile(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(each.get("profile", {}).get("name", "")) for each in results]


def _load(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return _differing([each.get("profile", {}) for each in results])


def _identity(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return _differing([each.get("identity", {}) for each in results])


def _differing(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, for each mapping, the values that differ between the mappings."""
    names = list(dict.fromkeys(name for each in values for name in each))
    names = [name for name in names if len({value_text(each.get(name)) for each in values}) > 1]
    return [", ".join(f"{name} {value_text(each.get(name))}" for name in names) for each in values]


def value_text(value: Any) -> str:
    """Return a value of a configuration as text, digests with their first digits only."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={value_text(each)}" for name, each in value.items())
    return "-" if value is None else _DIGEST.sub(r"\1", str(value))


def _number(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the number of each run, in the order in which the runs began."""
    begun = sorted(range(len(results)), key=lambda index: str(results[index].get("started_at", "")))
    return [f"run {begun.index(index) + 1}" for index in range(len(results))]
