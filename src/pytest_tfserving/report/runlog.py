"""What a pytest run has measured so far, on disk, so that workers share it and nothing is lost on the way.

Every process appends to a file of its own in one folder: lines of JSON, and the latencies of a result beside
them. Whoever reads merges all files.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_tfserving.load.result import Result, verdict_of
from pytest_tfserving.report.json import judgement_as_dict, result_as_dict, result_from_dict
from pytest_tfserving.slo import Judgement, Slo, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """One run of load: its id in the log, and what it measured."""

    id: str
    result: Result


@dataclass(frozen=True, slots=True)
class Use:
    """That a test has taken a run of load, in its first ``execution`` or in a later one.

    ``names`` are fields of the result that are the test's own, as JSON: tests share a run by what is
    measured, which can have another name for each of them.
    """

    run: str
    nodeid: str
    execution: int = 1
    names: str = "{}"


@dataclass
class Entry:
    """One result and the verdicts that tests passed on it, each with the test's node id.

    ``earlier`` are the verdicts on runs that it replaces, since their tests were run again.
    """

    key: str
    result: Result
    judgements: list[tuple[str, Judgement]] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)

    def add(self, nodeid: str, judgements: list[Judgement]) -> None:
        """Add the verdicts of a test."""
        self.judgements += [(nodeid, each) for each in judgements]

    @property
    def verdict(self) -> Verdict:
        """The verdict on the experiment as a whole."""
        slos = list(dict.fromkeys(judgement.slo for _, judgement in self.judgements))
        return verdict_of(self.result, slos)

    @property
    def verdict_and_cause(self) -> str:
        """The verdict, and what it rests on where that is one cause."""
        result = self.result
        if cause := result.aborted or result.invalid or result.incomplete or result.not_judged:
            return f"{self.verdict}: {cause}"
        worst = (str(each) for _, each in self.judgements if each.slo.strict and each.verdict is self.verdict)
        return str(self.verdict) if self.verdict is Verdict.PASS else next(worst, str(self.verdict))


class RunLog:
    """The log of one process, ``writer``, in the run's ``folder``."""

    def __init__(self, folder: Path, writer: str) -> None:
        self.folder = folder
        self.writer = writer
        self._results = 0

    def add_result(self, key: str, result: Result, watched: Collection[str] | None = None) -> Run:
        """Keep a result under its key, with the texts of the SLOs that it was measured for, if for any."""
        import numpy as np

        self._results += 1
        run = Run(f"{self.writer}-{self._results}", result)
        name = f"{run.id}.npy"
        exact_ms = result.latencies.exact_ms
        np.save(self.folder / name, np.empty(0) if exact_ms is None else exact_ms)
        known = {"watched": None if watched is None else list(watched), "latencies": name}
        self._append({"key": key, "run": run.id, **known, "result": result_as_dict(result)})
        return run

    def add_use(self, use: Use) -> None:
        """Keep that a test has taken a run."""
        self.add_judgements(use, [])

    def add_judgements(self, use: Use, judgements: list[Judgement]) -> None:
        """Keep the verdicts of a test on the run that it has taken."""
        values = [judgement_as_dict(judgement) for judgement in judgements]
        self._append({"key": "", "use": asdict(use), "judgements": values})

    def add_note(self, text: str) -> None:
        """Keep a line that the user is shown when the run is over."""
        self._append({"key": "", "note": text})

    def add_search(self, search: dict[str, Any]) -> None:
        """Keep what a search for the largest load has found."""
        self._append({"key": "", "search": search})

    def searches(self) -> list[dict[str, Any]]:
        """All searches."""
        return [line["search"] for line in self._lines() if "search" in line]

    def notes(self) -> list[str]:
        """The lines to show when the run is over."""
        return [line["note"] for line in self._lines() if "note" in line]

    def size(self) -> int:
        """Return how much is in it."""
        return sum(1 for _ in self._lines())

    def uses_of(self, nodeid: str) -> list[Use]:
        """Return the uses that a test has made of runs."""
        uses = (Use(**line["use"]) for line in self._lines() if "use" in line)
        return [use for use in uses if use.nodeid == nodeid]

    def find(self, key: str, slos: Collection[str] = (), without: Collection[str] = ()) -> Run | None:
        """Return the latest run under ``key`` that was measured for ``slos``, whichever process measured it.

        An SLO that a run was not measured for would be judged by whatever data the others have left it.
        """
        lines = [
            line
            for line in self._lines()
            if line["key"] == key
            and line["run"] not in without
            and (line["watched"] is None or set(slos) <= set(line["watched"]))
        ]
        latest = sorted(lines, key=lambda line: str(line["result"]["started_at"]))[-1:]
        return Run(latest[0]["run"], self._result(latest[0])) if latest else None

    def entries(self) -> list[Entry]:
        """All results with their verdicts, in the order of every table.

        Where a test that was run again has put the same load on again, only its last run counts.
        """
        from pytest_tfserving.report.document import place_of

        lines = list(self._lines())
        runs = {line["run"]: line for line in lines if "result" in line}
        taken = _taken(lines)
        current = _current(taken, runs)
        rows = {(run, ""): self._entry(runs[run]) for run in runs.keys() - {use.run for use in taken}}
        for use in current:
            if (row := (use.run, use.names)) not in rows:
                rows[row] = self._entry(runs[use.run], use)
            rows[row].add(use.nodeid, taken[use])
        for use in [use for use in taken if use not in current]:
            before = self._entry(runs[use.run], use)
            before.add(use.nodeid, taken[use])
            for later in current:
                if _load(later, runs) == _load(use, runs):
                    rows[later.run, later.names].earlier.append(before.verdict_and_cause)
        return sorted(
            rows.values(), key=lambda entry: place_of(entry.result.configuration, entry.result.started_at)
        )

    def _entry(self, line: dict[str, Any], use: Use | None = None) -> Entry:
        names = json.loads(use.names) if use else {}
        return Entry(line["key"], replace(self._result(line), **names))

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


def _taken(lines: Iterable[dict[str, Any]]) -> dict[Use, list[Judgement]]:
    """Return the uses that tests have made of runs, each with the verdicts that it came to."""
    taken: dict[Use, list[Judgement]] = {}
    for line in lines:
        if "use" in line:
            judgements = [_judgement(values) for values in line["judgements"]]
            taken.setdefault(Use(**line["use"]), []).extend(judgements)
    return taken


def _current(taken: Iterable[Use], runs: Mapping[str, dict[str, Any]]) -> list[Use]:
    """Return the uses that no later execution of their test has replaced."""
    last: dict[tuple[str, str], int] = {}
    for use in taken:
        load = _load(use, runs)
        last[load] = max(use.execution, last.get(load, 0))
    return [use for use in taken if use.execution == last[_load(use, runs)]]


def _load(use: Use, runs: Mapping[str, dict[str, Any]]) -> tuple[str, str]:
    """Return what a use has in common with one of a later execution that takes its place."""
    return use.nodeid, json.dumps(runs[use.run]["result"]["profile"], sort_keys=True)


def _judgement(values: dict[str, Any]) -> Judgement:
    slo = replace(Slo.parse(values["slo"], strict=values["strict"]), guard=values["guard"])
    return Judgement(slo, Verdict(values["verdict"]), values["value"], values["reason"])
