"""Labels of results in reports: their name, and the differences between results of one name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pytest_tfserving.load.result import Result
    from pytest_tfserving.report.schema import JudgedData, LabelledData, SearchData

    # Gives each result of a group a text; different texts tell the results apart.
    Facet = Callable[[Sequence["LabelledRow"]], Sequence[str]]

# A digest; its first eight digits suffice to tell it from others.
_DIGEST = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{56}\b")


class LabelledRow(NamedTuple):
    """The parts of a result, or of a search, that can tell it apart from others of its name."""

    experiment: str
    target: str
    origin: Mapping[str, str]
    profile: Mapping[str, object] = MappingProxyType({})
    identity: Mapping[str, object] = MappingProxyType({})
    started_at: str = ""


def labelled(results: Sequence[JudgedData]) -> list[LabelledData]:
    """Return the results, each with a ``label``: its name, plus the differences if others have the name."""
    rows = [
        LabelledRow(
            each["experiment"],
            each["target"],
            each.get("origin", {}),
            each["profile"],
            each.get("identity", {}),
            each["started_at"],
        )
        for each in results
    ]
    return [{**each, "label": label} for each, label in zip(results, labels(rows), strict=True)]


def labels_of(results: Sequence[Result]) -> list[str]:
    """Return the label of each result."""
    return labels(
        [
            LabelledRow(
                each.experiment, each.target, each.origin, each.profile, each.identity, each.started_at
            )
            for each in results
        ]
    )


def labelled_searches(searches: Sequence[SearchData]) -> list[SearchData]:
    """Return the searches, each with a ``label``; reports show the searched field beside the label."""
    rows = [LabelledRow(each["experiment"], each["target"], each.get("origin", {})) for each in searches]
    found = _told_apart(rows, _WHERE)
    return [{**each, "label": label} for each, label in zip(searches, found, strict=True)]


def labels(rows: Sequence[LabelledRow]) -> list[str]:
    """Return the label of each row."""
    return _told_apart(rows, (*_WHERE, _profile, _load, _baseline_server, _identity, _number))


def _told_apart(rows: Sequence[LabelledRow], facets: Sequence[Facet]) -> list[str]:
    """Return the label of each row, with the differences that ``facets`` show."""
    told: list[list[str]] = [[] for _ in rows]
    groups = _groups(range(len(rows)), [each.experiment for each in rows])
    for facet in facets:
        parts: list[list[int]] = []
        for group in groups:
            texts = facet([rows[index] for index in group]) if len(group) > 1 else [""]
            parts += _groups(group, texts)
            for index, text in zip(group, texts, strict=True):
                if text and len(set(texts)) > 1:
                    told[index].append(text)
        groups = parts
    return [
        f"{each.experiment} ({', '.join(texts)})" if texts else each.experiment
        for each, texts in zip(rows, told, strict=True)
    ]


def _groups(indexes: Iterable[int], texts: Sequence[str]) -> list[list[int]]:
    """Return the indexes in groups with the same text."""
    found: dict[str, list[int]] = {}
    for index, text in zip(indexes, texts, strict=True):
        found.setdefault(text, []).append(index)
    return list(found.values())


def _folder(rows: Sequence[LabelledRow]) -> list[str]:
    """Return the folder of each experiments file; ``./`` is the rootdir."""
    folders = [each.origin.get("folder", "") for each in rows]
    return [f"{folder}/" if folder else "" for folder in folders]


def _overridden_in(rows: Sequence[LabelledRow]) -> list[str]:
    return [each.origin.get("overridden_in", "") for each in rows]


def _target(rows: Sequence[LabelledRow]) -> list[str]:
    return [f"on {each.target}" for each in rows]


_WHERE: tuple[Facet, ...] = (_folder, _overridden_in, _target)


def _profile(rows: Sequence[LabelledRow]) -> list[str]:
    return [str(each.profile.get("name", "")) for each in rows]


def _load(rows: Sequence[LabelledRow]) -> list[str]:
    return _differing([each.profile for each in rows])


def _baseline_server(rows: Sequence[LabelledRow]) -> list[str]:
    """Return the baseline server that each result was compared with."""
    known = [each.identity.get("against") for each in rows]
    return [f"against {each.get('named', '')}" if isinstance(each, Mapping) else "" for each in known]


def _identity(rows: Sequence[LabelledRow]) -> list[str]:
    return _differing([each.identity for each in rows])


def _differing(values: Sequence[Mapping[str, object]]) -> list[str]:
    """Return, for each mapping, the values that differ between the mappings."""
    names = list(dict.fromkeys(name for each in values for name in each))
    names = [name for name in names if len({value_text(each.get(name)) for each in values}) > 1]
    return [", ".join(f"{name} {value_text(each.get(name))}" for name in names) for each in values]


def value_text(value: object) -> str:
    """Return a value of a configuration as text, digests with their first digits only."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return " ".join(f"{name}={value_text(each)}" for name, each in value.items())
    return "-" if value is None else _DIGEST.sub(r"\1", str(value))


def _number(rows: Sequence[LabelledRow]) -> list[str]:
    """Return the number of each run, in the order in which the runs began."""
    begun = sorted(range(len(rows)), key=lambda index: rows[index].started_at)
    return [f"run {begun.index(index) + 1}" for index in range(len(rows))]
