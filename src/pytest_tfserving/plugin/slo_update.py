"""Measured limits in the experiments files: what ``--tfserving-update-slos`` writes."""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments import TARGET_NAMES
from pytest_tfserving.experiments.yaml_file import BY_MACHINE, FILE_NAME, experiments_of, file_text
from pytest_tfserving.load.measured_limit import DEFAULT_SLOS, measured_limit
from pytest_tfserving.slo.language import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.experiments.yaml_file import ExperimentsFile
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.plugin.session import PerfSession
    from pytest_tfserving.report.store import Entry
    from pytest_tfserving.slo.language import Slo

# Verdicts of runs whose figures are good enough to be limits.
_FIT = (Verdict.PASS, Verdict.FAIL, Verdict.NOT_JUDGED)


@dataclass(frozen=True, slots=True)
class Update:
    """The outcome: lines of a diff for each file, and a sentence for each refusal."""

    diff: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


def update_slos(perf: PerfSession, margin: float) -> Update:
    """Write what the session measured, with a margin, as limits into the experiments files."""
    files: dict[Path, list[Entry]] = defaultdict(list)
    for entry in perf.entries():
        files[_path(perf, entry)].append(entry)
    updates = [_updated(path, entries, perf, margin) for path, entries in files.items()]
    return Update(
        tuple(line for update in updates for line in update.diff),
        tuple(f"--tfserving-update-slos: {each}" for update in updates for each in update.refusals),
    )


def _path(perf: PerfSession, entry: Entry) -> Path:
    """Return the experiments file of a result."""
    own = perf.settings.experiments
    return own or perf.config.rootpath / entry.result.origin.get("folder", "") / FILE_NAME


def _updated(path: Path, entries: Sequence[Entry], perf: PerfSession, margin: float) -> Update:
    try:
        text = file_text(path)
        changes = _Changes(experiments_of(path, text), text, entries, perf.settings.target)
        new = changes.text(margin)
    except ConfigurationError as error:
        return Update(refusals=(str(error),))
    if new != text:
        from pytest_tfserving.system.files import write_whole

        mode = path.stat().st_mode
        write_whole(path.resolve(), new)
        path.chmod(mode)
    return Update(tuple(_diff(path, text, new)), tuple(changes.refusals))


def _diff(path: Path, old: str, new: str) -> Iterator[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), str(path), lineterm="", n=1)
    yield from lines


class _Changes:
    """The changes of one experiments file by the results of its experiments."""

    def __init__(self, file: ExperimentsFile, text: str, entries: Sequence[Entry], target: str) -> None:
        from pytest_tfserving.experiments.slo_edit import SloEditor

        self.refusals: list[str] = []
        self._file, self._text, self._target = file, text, target
        self._editor = SloEditor(file.path, text)
        self._experiments = {each.name: replace(each, target=target) for each in file.experiments}
        self._entries: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            self._entries[entry.result.experiment].append(entry)

    def text(self, margin: float) -> str:
        """Return the text of the file with all changes.

        Raises:
            ConfigurationError: if the text cannot be edited.
        """
        slos: dict[str, list[str]] = {}
        for name in self._unknown():
            self.refusals.append(f"{name} is not in {self._file.path}")
        for index, names in self._groups().items():
            try:
                slos |= dict.fromkeys(names, self._set(index, names, margin))
            except ConfigurationError as error:
                self.refusals.append(str(error))
        new = self._editor.text()
        self._check(experiments_of(self._file.path, new), slos)
        return new

    def _set(self, index: int, names: Sequence[str], margin: float) -> list[str]:
        """Set the SLOs that experiments share; return them."""
        for refusal in self._refusals(names):
            raise ConfigurationError(refusal)
        slos = _slos_of(self._experiments[names[0]])
        limits = [measured_limit(each, self._results(names), margin) for each in slos]
        self._editor.set(index, self._where(), limits)
        return limits

    def _unknown(self) -> list[str]:
        return [name for name in self._entries if name not in self._experiments]

    def _groups(self) -> dict[int, list[str]]:
        """Return the measured experiments and those that share their SLOs, by their first entry."""
        of_entry: dict[int, list[str]] = defaultdict(list)
        for name, index in self._file.entries.items():
            of_entry[index].append(name)
        groups: dict[int, list[str]] = {}
        for name in self._entries:
            if name in self._file.entries:
                shared = sorted(self._editor.shared(self._file.entries[name]))
                groups[shared[0]] = [each for index in shared for each in of_entry[index]]
        return groups

    def _refusals(self, names: Sequence[str]) -> Iterator[str]:
        """Yield why the results of experiments are no limits."""
        missing = [name for name in names if name not in self._entries]
        if missing:
            yield (
                f"the SLOs of {names[0]} are also those of {', '.join(missing)}, which this session did not "
                "measure; measure them together, or give each an slo of its own"
            )
        for name in names:
            for entry in self._entries[name]:
                if entry.verdict not in _FIT or not entry.result.is_measured:
                    yield f"{name}: a run that was {entry.verdict_and_cause} sets no limits"

    def _results(self, names: Sequence[str]) -> list[Result]:
        return [entry.result for name in names for entry in self._entries[name]]

    def _where(self) -> list[str]:
        from pytest_tfserving.system.machine import machine_class

        return [self._target, *([machine_class()] if self._target in BY_MACHINE else [])]

    def _check(self, new: ExperimentsFile, slos: Mapping[str, Sequence[str]]) -> None:
        """Check that the text says what it should, and that nothing else of the experiments has changed."""
        pairs = zip(self._file.experiments, new.experiments, strict=True)
        if all(self._is_right(old, now, slos.get(old.name)) for old, now in pairs):
            return
        raise ConfigurationError(
            f"{self._file.path} is written in a way that cannot be edited without other changes; nothing was "
            "written to it"
        )

    def _is_right(self, old: Experiment, now: Experiment, slos: Sequence[str] | None) -> bool:
        kept = replace(old, slo_by_target={}) == replace(now, slo_by_target={})
        others = [target for target in TARGET_NAMES if slos is None or target != self._target]
        same = all(_texts(old, target) == _texts(now, target) for target in others)
        return kept and same and (slos is None or _texts(now, self._target) == [*slos])


def _slos_of(experiment: Experiment) -> Sequence[Slo]:
    return tuple(experiment.slo) or DEFAULT_SLOS


def _texts(experiment: Experiment, target: str) -> list[str]:
    return [slo.text for slo in replace(experiment, target=target).slo]
