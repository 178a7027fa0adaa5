"""Stored runs: the figures of saved sessions, in a folder of the project, one JSON file for each session.

A stored run has the figures of each result with their intervals, and all that tells whether two results can
be compared. It has no recordings, so that hundreds of files are read in a second.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pytest_tfserving.errors import ConfigurationError, nearest, shown
from pytest_tfserving.system.files import write_whole
from pytest_tfserving.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.calibration.content import ScatterData
    from pytest_tfserving.report.schema import Document, StoredResult, StoredRun

FOLDER = ".tfserving"
LAST = "last"
VERSION = 1
_SCHEMA = Path(__file__).with_name("stored.schema.json")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_FILE = re.compile(r"(\d{8}-\d{6}(?:\.\d+)?)-(.+)\.json")
# The keys of a result that a stored run keeps.
_KEPT = (
    "experiment",
    "label",
    "target",
    "origin",
    "identity",
    "profile",
    "started_at",
    "window",
    "verdict",
    "measured",
    "metrics",
    "intervals",
    "n_eff",
    "configuration",
    "environment",
)


def check_name(name: str) -> str:
    """Return a name for a stored run.

    Raises:
        ConfigurationError: for a name that cannot be part of a file's name, or that means another run.
    """
    if name == LAST or name.endswith(".json") or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is not a name for a stored run: it has at most 100 letters, digits, '.', '_', '+' and "
            f"'-', starts with a letter or a digit, does not end with '.json', and is not {LAST!r}."
        )
    return name


def stored_form(document: Document, name: str, saved_at: str, scatter: ScatterData | None) -> StoredRun:
    """Return the content of a stored run from the document of a session.

    Args:
        document: the document.
        name: the name of the stored run.
        saved_at: when the session ended, in ISO 8601 and UTC.
        scatter: the scatter between runs of the machine, as `RunScatter`; None if it is not known.
    """
    results = [kept(result) for result in document["results"]]
    commits = (result["environment"].get("commit") for result in results)
    commit = next(filter(None, commits), None)
    return {
        "stored_version": VERSION,
        "pytest_tfserving": __version__,
        "name": name,
        "saved_at": saved_at,
        "commit": str(commit) if commit else None,
        "interrupted": document["interrupted"],
        "scatter": scatter,
        "results": results,
    }


def kept(result: Mapping[str, object]) -> StoredResult:
    """Return the part of a document's result that stored runs have, as JSON has it."""
    from pytest_tfserving.report.json import finite

    part = {key: result[key] for key in _KEPT if key in result}
    return cast("StoredResult", finite(json.loads(json.dumps(part, default=str))))


def identity_of(result: StoredResult) -> dict[str, object]:
    """Return what was served and what was sent, and whether load alternated with that on a baseline server.

    Which baseline server it was does not matter to the figures of the result.
    """
    known = dict(result.get("identity") or {})
    against = known.pop("against", None)
    return {**known, "load": "in turn with a baseline server" if against else "alone"}


def read_stored(path: Path) -> StoredRun:
    """Return the stored run in a file, or the results in a file of `--tfserving-json` as a stored run.

    Raises:
        ConfigurationError: when the file cannot be read, is truncated, or is not of this version.
    """
    from pytest_tfserving.report.results_file import cleaned, mistake_in, read_json

    content = read_json(path, "stored run")
    if not isinstance(content, dict) or "stored_version" not in content:
        return _from_results(path)
    version = content["stored_version"]
    if version != VERSION or isinstance(version, bool):
        raise ConfigurationError(
            f"{path} is not a stored run of this version: its stored_version is {shown(version)}, "
            f"this version reads {VERSION}."
        )
    stored = cleaned(content)
    if mistake := mistake_in(stored, _SCHEMA):
        raise ConfigurationError(f"{path} is not a stored run of this version: {mistake}.")
    return cast("StoredRun", stored)


def _from_results(path: Path) -> StoredRun:
    from pytest_tfserving.report.results_file import read_document

    document = read_document(path)
    if not document["results"]:
        raise ConfigurationError(f"{path} has no results to compare, only searches for the largest load.")
    ended = max((str(result["started_at"]) for result in document["results"]), default="")
    return stored_form(document, path.name, ended, None)


class StoredRuns:
    """The stored runs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """Return the files of the stored runs, the oldest first.

        A session that was killed while it wrote leaves an empty file.
        """
        named = (path for path in self.folder.glob("*.json") if _FILE.fullmatch(path.name))
        return sorted((path for path in named if path.stat().st_size), key=lambda path: path.name)

    def save(self, content: StoredRun) -> Path:
        """Write a stored run to a file of its own; return the path."""
        from pytest_tfserving.report.json import json_text

        path = self._free_path(datetime.now(UTC), content["name"])
        write_whole(path, json_text(content))
        return path

    def find(self, name: str) -> Path:
        """Return the file of the latest stored run called ``name``, or of the latest of all for ``last``.

        Raises:
            ConfigurationError: when there is no such run.
        """
        paths = self.paths()
        if not paths:
            raise ConfigurationError(
                f"{name!r} is not a stored run: {self.folder} has none; save one with --tfserving-save=NAME."
            )
        named = [path for path in paths if name in (LAST, _name_of(path), path.stem)]
        if not named:
            valid = [*dict.fromkeys(map(_name_of, paths)), LAST]
            raise ConfigurationError(
                f"{name!r} is not a stored run of {self.folder}; {nearest(name, valid)}, or a path that ends "
                "with .json."
            )
        return named[-1]

    def _free_path(self, now: datetime, name: str) -> Path:
        """Return a path that no other session has; the file is there, but empty.

        Files in one second are numbered, so that the order of their names is the order of the runs.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        stamp = f"{now:%Y%m%d-%H%M%S}"
        count = len(list(self.folder.glob(f"{stamp}[-.]*.json")))
        while True:
            path = self.folder / f"{stamp}{f'.{count:02}' if count else ''}-{name}.json"
            try:
                path.touch(exist_ok=False)
            except FileExistsError:
                count += 1
            else:
                return path


def _name_of(path: Path) -> str:
    match = _FILE.fullmatch(path.name)
    return match[2] if match else path.stem


def is_path(text: str) -> bool:
    """Return whether an option's value means a file, not a name."""
    return text.endswith(".json") or "/" in text
