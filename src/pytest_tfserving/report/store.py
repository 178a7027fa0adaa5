"""The log of a pytest run on disk, so that workers share its results and nothing is lost.

Every process appends lines of JSON to a file of its own in one folder, and writes the latencies of each
result to a file beside it. Readers merge all files.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias, TypedDict, final

from pytest_tfserving.load.result import Result, verdict_of
from pytest_tfserving.report.json import judgement_as_dict, number, result_as_dict, result_from_dict
from pytest_tfserving.slo.language import Judgement, Slo, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pytest

    from pytest_tfserving.report.schema import AssertionData, JudgementData, RunData, SearchData


class _TakingData(TypedDict):
    """The fields of a `Taking`."""

    run: str
    nodeid: str
    execution: int
    names: str


@final
class _ResultLine(TypedDict):
    """A line with a run of load; ``watched`` has the SLOs that the run watched, None for all."""

    key: str
    run: str
    watched: list[str] | None
    latencies: str
    result: RunData


@final
class _TakingLine(TypedDict):
    """A line with a taking, and verdicts of its test."""

    key: str
    taking: _TakingData
    judgements: list[JudgementData]


@final
class _AssertionLine(TypedDict):
    """A line with a failed assertion of a test on a figure of its run."""

    key: str
    of: _TakingData
    assertion: AssertionData


@final
class _NoteLine(TypedDict):
    """A line with a text to show at the end."""

    key: str
    note: str


@final
class _SearchLine(TypedDict):
    """A line with a search for the largest load."""

    key: str
    search: SearchData


@final
class _UseLine(TypedDict):
    """A line with the use of a run or a search in a test; ``use`` is a field of `Use`."""

    key: str
    nodeid: str
    line: int
    use: str


_Line: TypeAlias = _ResultLine | _TakingLine | _AssertionLine | _NoteLine | _SearchLine | _UseLine


@dataclass(frozen=True, slots=True)
class Run:
    """A run of load: its id in the log, and its result."""

    id: str
    result: Result


@dataclass(frozen=True, slots=True)
class Taking:
    """A run of load that a test has taken, in its first ``execution`` or in a later one.

    Tests whose runs would be the same share one run, and can have different names for it. ``names`` has the
    fields of the result that are the test's own, as JSON.
    """

    run: str
    nodeid: str
    execution: int = 1
    names: str = "{}"

    @property
    def row(self) -> str:
        """The key of the entry that the taking belongs to."""
        return f"{self.run} {self.names}"

    def as_dict(self) -> _TakingData:
        """Return the fields."""
        return {"run": self.run, "nodeid": self.nodeid, "execution": self.execution, "names": self.names}


@dataclass(frozen=True, slots=True)
class FailedAssertion:
    """A failure of a test for a figure that it read itself, and the verdict that follows for the run."""

    test: str
    verdict: Verdict
    text: str

    def as_dict(self) -> AssertionData:
        """Return the fields."""
        return {"test": self.test, "verdict": str(self.verdict), "text": self.text}

    def __str__(self) -> str:
        return f"{self.verdict}: {self.text}"


@dataclass
class Entry:
    """A result and the verdicts of tests on it, each with the test's node id.

    ``failed`` has failed assertions of tests on its figures. ``earlier`` has the verdicts on runs that the
    result replaces, because their tests were run again.
    """

    key: str
    result: Result
    judgements: list[tuple[str, Judgement]] = field(default_factory=list)
    failed: list[FailedAssertion] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)

    def add(self, nodeid: str, judgements: list[Judgement], failed: Sequence[FailedAssertion]) -> None:
        """Add the verdicts of a test, and its failed assertions."""
        self.judgements += [(nodeid, each) for each in judgements]
        self.failed += failed

    @property
    def verdict(self) -> Verdict:
        """The verdict on the experiment as a whole."""
        slos = list(dict.fromkeys(judgement.slo for _, judgement in self.judgements))
        return Verdict.worst([verdict_of(self.result, slos), *(failed.verdict for failed in self.failed)])

    @property
    def verdict_and_cause(self) -> str:
        """The verdict, with its cause if there is one."""
        result = self.result
        if cause := result.aborted or result.invalid or result.incomplete or result.not_judged:
            return f"{self.verdict}: {cause}"
        if self.verdict is Verdict.PASS:
            return str(self.verdict)
        failed = (str(each) for each in self.failed if each.verdict is self.verdict)
        strict = (each for _, each in self.judgements if each.slo.strict)
        missed = (str(each) for each in strict if each.verdict is self.verdict)
        return next(itertools.chain(failed, missed), str(self.verdict))


@dataclass
class Use:
    """The use of a run of load or of a search: the tests that asked for it, checked it and read its figures.

    Each field maps the node id of a test to the line of the test.
    """

    asked: dict[str, int] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)
    read: dict[str, int] = field(default_factory=dict)


class ResultStore:
    """The log of one process, ``writer``, in the run's ``folder``."""

    def __init__(self, folder: Path, writer: str) -> None:
        self.folder = folder
        self.writer = writer
        self._results = 0
        self._searches = 0

    def add_result(self, key: str, result: Result, watched: Collection[str] | None = None) -> Run:
        """Keep a result under its key, with the texts of the SLOs that its run watched.

        With ``watched`` None the result serves tests with any SLOs.
        """
        import numpy as np

        self._results += 1
        run = Run(f"{self.writer}-{self._results}", result)
        name = f"{run.id}.npy"
        exact_ms = result.latencies.exact_ms
        np.save(self.folder / name, np.empty(0) if exact_ms is None else exact_ms)
        self._append(
            {
                "key": key,
                "run": run.id,
                "watched": None if watched is None else list(watched),
                "latencies": name,
                "result": result_as_dict(result),
            }
        )
        return run

    def add_taking(self, taking: Taking) -> None:
        """Record that a test has taken a run."""
        self.add_judgements(taking, [])

    def add_judgements(self, taking: Taking, judgements: list[Judgement]) -> None:
        """Keep the verdicts of a test on the run that the test has taken."""
        values = [judgement_as_dict(judgement) for judgement in judgements]
        self._append({"key": "", "taking": taking.as_dict(), "judgements": values})

    def add_failed_assertion(self, taking: Taking, verdict: Verdict, text: str) -> None:
        """Keep the text of a failed assertion of a test on the run that the test has taken."""
        failed = FailedAssertion(taking.nodeid, verdict, text)
        self._append({"key": "", "of": taking.as_dict(), "assertion": failed.as_dict()})

    def add_note(self, text: str) -> None:
        """Keep a line to show when the session is over."""
        self._append({"key": "", "note": text})

    def add_search(self, search: SearchData) -> str:
        """Keep the outcome of a search for the largest load, and return its key."""
        self._searches += 1
        key = f"search {self._searches} of {self.writer}"
        self._append({"key": key, "search": search})
        return key

    def add_use(self, key: str, test: pytest.Item, how: str) -> None:
        """Record that a test used the run or search under ``key``; ``how`` is a field of `Use`."""
        line = (test.location[1] or 0) + 1
        self._append({"key": key, "nodeid": test.nodeid, "line": line, "use": how})

    def uses(self) -> defaultdict[str, Use]:
        """Return the use of each run of load and each search, by its key."""
        found: defaultdict[str, Use] = defaultdict(Use)
        for line in self._lines():
            if "use" in line:
                getattr(found[line["key"]], line["use"])[line["nodeid"]] = line["line"]
        return found

    def searches(self) -> list[SearchData]:
        """Return all searches."""
        return list(self.searches_by_key().values())

    def searches_by_key(self) -> dict[str, SearchData]:
        """Return all searches by their keys."""
        return {line["key"]: line["search"] for line in self._lines() if "search" in line}

    def notes(self) -> list[str]:
        """Return the lines to show when the session is over."""
        return [line["note"] for line in self._lines() if "note" in line]

    def size(self) -> int:
        """Return the number of lines in the log."""
        return sum(1 for _ in self._lines())

    def takings_of(self, nodeid: str) -> list[Taking]:
        """Return the runs that a test has taken."""
        takings = (Taking(**line["taking"]) for line in self._lines() if "taking" in line)
        return [taking for taking in takings if taking.nodeid == nodeid]

    def find(self, key: str, slos: Collection[str] = (), without: Collection[str] = ()) -> Run | None:
        """Return the latest run under ``key`` that watched all ``slos``, of any process; None without one.

        A run may end before it has enough data for an SLO that it did not watch.
        """
        lines = [
            line
            for line in self._lines()
            if "result" in line
            and line["key"] == key
            and line["run"] not in without
            and (line["watched"] is None or set(slos) <= set(line["watched"]))
        ]
        latest = sorted(lines, key=lambda line: line["result"]["started_at"])[-1:]
        return Run(latest[0]["run"], self._result(latest[0])) if latest else None

    def entries(self) -> list[Entry]:
        """Return all results with their verdicts, in the order of tables.

        If a test was run again and repeated the same load, only its last run counts.
        """
        from pytest_tfserving.report.report_data import place_of

        lines = list(self._lines())
        runs = {line["run"]: line for line in lines if "result" in line}
        taken, failed = _taken(lines), _failed(lines)
        current = _current(taken, runs)
        rows = {run: self._entry(run, runs[run]) for run in runs.keys() - {taking.run for taking in taken}}
        for taking in current:
            if taking.row not in rows:
                rows[taking.row] = self._entry(taking.row, runs[taking.run], taking.names)
            rows[taking.row].add(taking.nodeid, taken[taking], failed[taking])
        for taking in [taking for taking in taken if taking not in current]:
            before = self._entry(taking.row, runs[taking.run], taking.names)
            before.add(taking.nodeid, taken[taking], failed[taking])
            for later in current:
                if _load(later, runs) == _load(taking, runs):
                    rows[later.row].earlier.append(before.verdict_and_cause)
        return sorted(
            rows.values(), key=lambda entry: place_of(entry.result.configuration, entry.result.started_at)
        )

    def _entry(self, key: str, line: _ResultLine, names: str = "{}") -> Entry:
        return Entry(key, replace(self._result(line), **json.loads(names)))

    def _append(self, line: _Line) -> None:
        with (self.folder / f"{self.writer}.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _lines(self) -> Iterator[_Line]:
        """Yield all whole lines: one that another process is writing, or died over, is none yet."""
        for path in sorted(self.folder.glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    yield json.loads(line)

    def _result(self, line: _ResultLine) -> Result:
        import numpy as np

        exact_ms = np.load(self.folder / line["latencies"])
        counted = line["result"]["recording"]["count"]
        return result_from_dict(line["result"], exact_ms if len(exact_ms) == counted else None)


def _taken(lines: Iterable[_Line]) -> dict[Taking, list[Judgement]]:
    """Return the takings in the log, each with its verdicts."""
    taken: dict[Taking, list[Judgement]] = {}
    for line in lines:
        if "taking" in line:
            judgements = [_judgement(values) for values in line["judgements"]]
            taken.setdefault(Taking(**line["taking"]), []).extend(judgements)
    return taken


def _failed(lines: Iterable[_Line]) -> defaultdict[Taking, list[FailedAssertion]]:
    """Return the failed assertions in the log, by their takings."""
    found: defaultdict[Taking, list[FailedAssertion]] = defaultdict(list)
    for line in lines:
        if "assertion" in line:
            of, verdict, text = Taking(**line["of"]), line["assertion"]["verdict"], line["assertion"]["text"]
            found[of].append(FailedAssertion(of.nodeid, Verdict(verdict), text))
    return found


def _current(taken: Iterable[Taking], runs: Mapping[str, _ResultLine]) -> list[Taking]:
    """Return the takings that no later execution of their test has replaced."""
    last: dict[tuple[str, str], int] = {}
    for taking in taken:
        load = _load(taking, runs)
        last[load] = max(taking.execution, last.get(load, 0))
    return [taking for taking in taken if taking.execution == last[_load(taking, runs)]]


def _load(taking: Taking, runs: Mapping[str, _ResultLine]) -> tuple[str, str]:
    """Return the key that a taking shares with the taking of a later execution that replaces it."""
    return taking.nodeid, json.dumps(runs[taking.run]["result"]["profile"], sort_keys=True)


def _judgement(values: JudgementData) -> Judgement:
    slo = replace(Slo.parse(values["slo"], strict=values["strict"]), guard=values["guard"])
    return Judgement(slo, Verdict(values["verdict"]), number(values["value"]), values["reason"])
