"""Findings as annotations: tests that failed or were not decided, at their lines, from pytest's JUnit XML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as ET

from perf_gate.runner import annotate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

# GitHub shows ten errors and ten warnings of a step.
_MOST = 10
_UNDECIDED = ("INCONCLUSIVE", "NOT JUDGED")


class Finding(NamedTuple):
    """An annotation to be."""

    level: str
    title: str
    message: str
    place: dict[str, object]


def annotate_all(junit: Path, tests: list[str]) -> None:
    """Print the annotations; ``tests`` are the arguments of pytest that files are looked for beside."""
    if not junit.exists():
        return
    folders = _folders(tests)
    cases = ET.parse(junit).getroot().iter("testcase")
    found = [finding for case in cases if (finding := _finding(case, folders))]
    for level in ("error", "warning"):
        some = [each for each in found if each.level == level]
        for each in some[:_MOST]:
            annotate(level, each.message, **each.place, title=each.title)


def _finding(case: Element, folders: list[Path]) -> Finding | None:
    """Return the annotation of a testcase; None if it passed."""
    place = _place(case, folders)
    for kind in ("failure", "error"):
        if (trouble := case.find(kind)) is not None:
            return Finding("error", case.attrib["name"], _message(trouble), place)
    properties = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
    verdict = properties.get("verdict")
    if verdict not in _UNDECIDED:
        return None
    reasons = [
        f"{name.removeprefix('slo:')}: {text}"
        for name, text in properties.items()
        if name.startswith("slo:") and text.startswith(verdict)
    ]
    skipped = case.find("skipped")
    message = skipped.attrib["message"] if skipped is not None else "\n".join(reasons)
    return Finding("warning", case.attrib["name"], message or verdict, place)


def _message(trouble: Element) -> str:
    """Return the whole text of a failure that is no traceback, else its message, which pytest shortens."""
    message, text = trouble.attrib["message"], (trouble.text or "").strip()
    first_line = message.removeprefix("Failed: ").partition("\n")[0]
    return text if text.startswith(first_line) else message


def _place(case: Element, folders: list[Path]) -> dict[str, object]:
    """Return the file and the line of a test; empty if no such file is found."""
    file = case.get("file", "")
    for folder in folders:
        if file and (folder / file).is_file():
            # pytest counts lines from 0.
            path = os.path.relpath(folder / file, os.environ["GITHUB_WORKSPACE"])
            return {"file": path, "line": int(case.get("line", "0")) + 1}
    return {}


def _folders(tests: list[str]) -> list[Path]:
    """Return folders that may be pytest's rootdir, to which files in its XML are relative."""
    return list(dict.fromkeys(_ancestors(tests)))


def _ancestors(tests: list[str]) -> Iterator[Path]:
    yield Path.cwd()
    for test in tests:
        path = Path(test.partition("::")[0]).resolve()
        if path.exists():
            yield from (path, *path.parents)
