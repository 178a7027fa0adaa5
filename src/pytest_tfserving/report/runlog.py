"""What a pytest run has measured so far, on disk, so that workers share it and nothing is lost on the way.

Every process appends to a file of its own in one folder: lines of JSON, and the latencies of a result beside
them. Whoever reads merges all files.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_tfserving.load.result import Result, verdict_of
from pytest_tfserving.report.json import judgement_as_dict, result_as_dict, result_from_dict
from pytest_tfserving.slo import Judgement, Slo, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest


@dataclass
class Entry:
    """One result and the verdicts that tests passed on it, each with the test's node id."""

    key: str
    result: Result
    judgements: list[tuple[str, Judgement]] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The verdict on the experiment as a whole."""
        slos = list(dict.fromkeys(judgement.slo for _, judgement in self.judgements))
        return verdict_of(self.result, slos)


@dataclass
class Use:
    """Which tests asked for a run of load or a search, called `check` on it, and read a figure of it.

    Each is a node id with the line the test stands at.
    """

    asked: dict[str, int] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)


class RunLog:
    """The log of one process, ``writer``, in the run's ``folder``."""

    def __init__(self, folder: Path, writer: str) -> None:
        self.folder = folder
        self.writer = writer
        self._results = 0
        self._searches = 0

    def add_result(self, key: str, result: Result) -> None:
        """Keep a result under its key."""
        import numpy as np

        self._results += 1
        name = f"{self.writer}-{self._results}.npy"
        exact_ms = result.latencies.exact_ms
        np.save(self.folder / name, np.empty(0) if exact_ms is None else exact_ms)
        self._append({"key": key, "latencies": name, "result": result_as_dict(result)})

    def add_judgements(self, key: str, nodeid: str, judgements: list[Judgement]) -> None:
        """Keep the verdicts of one test on the result under ``key``."""
        values = [judgement_as_dict(judgement) for judgement in judgements]
        self._append({"key": key, "nodeid": nodeid, "judgements": values})

    def add_note(self, text: str) -> None:
        """Keep a line that the user is shown when the run is over."""
        self._append({"key": "", "note": text})

    def add_search(self, search: dict[str, Any]) -> str:
        """Keep what a search for the largest load has found, and return the key it is under."""
        self._searches += 1
        key = f"search {self._searches} of {self.writer}"
        self._append({"key": key, "search": search})
        return key

    def add_use(self, key: str, test: pytest.Item, how: str) -> None:
        """Keep that a test used what is under ``key``; ``how`` is a field of `Use`."""
        line = (test.location[1] or 0) + 1
        self._append({"key": key, "nodeid": test.nodeid, "line": line, "use": how})

    def uses(self) -> defaultdict[str, Use]:
        """How tests used each run of load and each search, by its key."""
        found: defaultdict[str, Use] = defaultdict(Use)
        for line in self._lines():
            if "use" in line:
                getattr(found[line["key"]], line["use"])[line["nodeid"]] = line["line"]
        return found

    def searches(self) -> list[dict[str, Any]]:
        """All searches."""
        return list(self.searches_by_key().values())

    def searches_by_key(self) -> dict[str, dict[str, Any]]:
        """All searches by their keys."""
        return {line["key"]: line["search"] for line in self._lines() if "search" in line}

    def notes(self) -> list[str]:
        """The lines to show when the run is over."""
        return [line["note"] for line in self._lines() if "note" in line]

    def find(self, key: str) -> Result | None:
        """The result under ``key``, whichever process measured it."""
        for line in self._lines():
            if line["key"] == key and "result" in line:
                return self._result(line)
        return None

    def entries(self) -> list[Entry]:
        """All results with their verdicts, in the order of every table."""
        from pytest_tfserving.report.document import place_of

        lines = list(self._lines())
        found = {line["key"]: Entry(line["key"], self._result(line)) for line in lines if "result" in line}
        for line in lines:
            if "judgements" in line and line["key"] in found:
                judgements = [_judgement(values) for values in line["judgements"]]
                found[line["key"]].judgements += [(line["nodeid"], each) for each in judgements]
        return sorted(
            found.values(), key=lambda entry: place_of(entry.result.configuration, entry.result.started_at)
        )

    def _append(self, line: dict[str, Any]) -> None:
        with (self.folder / f"{self.writer}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                yield json.loads(line)

    def _result(self, line: dict[str, Any]) -> Result:
        import numpy as np

        exact_ms = np.load(self.folder / line["latencies"])
        counted = line["result"]["recording"]["count"]
        return result_from_dict(line["result"], exact_ms if len(exact_ms) == counted else None)


def _judgement(values: dict[str, Any]) -> Judgement:
    slo = replace(Slo.parse(values["slo"], strict=values["strict"]), guard=values["guard"])
    return Judgement(slo, Verdict(values["verdict"]), values["value"], values["reason"])
