"""The files of generated perf tests, which belong to the user from then on."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.model_mix import model_name
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfserving.protocols.fitting_request import FoundRequest
    from pytest_tfserving.slo.proposal import ProposedSlo

WORKFLOW = Path(".github", "workflows", "serving-performance.yml")
# The profile of the trial, and what the written one is based on.
PROFILE = "quick"
# On a busy machine a verdict takes longer than a profile for a look allows.
LONGEST_S = 60.0
_WRITTEN_PROFILE = "gate"
_EXPERIMENTS = "experiments.yaml"
# Texts that YAML reads as they are written.
_PLAIN = re.compile(r"(?!(?:true|false|yes|no|on|off|null)$)(?:\.\./|\./|/)?[A-Za-z_][\w./-]*", re.IGNORECASE)


@dataclass(frozen=True)
class WrittenExperiment:
    """An experiment of the file.

    Attributes:
        name: the experiment's name.
        found: the generated request.
        payload: the name of the request's file.
        trial: what a trial measured, in words.
        slos: the SLOs that follow from the trial; empty if it measured nothing.
    """

    name: str
    found: FoundRequest
    payload: str
    trial: str = ""
    slos: tuple[ProposedSlo, ...] = ()


@dataclass(frozen=True)
class WrittenTests:
    """A folder of perf tests.

    Attributes:
        folder: the folder.
        base_path: the model's base folder.
        shape: the shape of all experiments.
        inter_op: their inter-op threads.
        experiments: the experiments.
        github: whether a workflow belongs to the tests.
    """

    folder: Path
    base_path: Path
    shape: str
    inter_op: int
    experiments: Sequence[WrittenExperiment]
    github: bool

    @property
    def paths(self) -> list[Path]:
        """The files, in the order in which to read them."""
        names = [_EXPERIMENTS, *(each.payload for each in self.experiments), self._test]
        return [*(self.folder / name for name in names), *([WORKFLOW] if self.github else [])]

    @property
    def _test(self) -> str:
        """The test's file: pytest does not take files of one name in several folders without a package."""
        return f"test_serving_{re.sub(r'[^A-Za-z0-9]', '_', model_name(str(self.base_path)))}.py"

    def refuse_to_overwrite(self) -> None:
        """Check that none of the files exists.

        Raises:
            ConfigurationError: if one does.
        """
        if there := [str(path) for path in self.paths if path.exists()]:
            raise ConfigurationError(
                f"init overwrites nothing, and there is {', '.join(there)}; choose another --folder, or move "
                "what is there."
            )

    def write(self) -> None:
        """Write the files, and the folders that are missing."""
        texts = {
            _EXPERIMENTS: "".join(f"{line}\n" for line in self._experiments()),
            self._test: _template("test_serving.py"),
            **{each.payload: each.found.body.decode() for each in self.experiments},
        }
        for name, text in texts.items():
            _write_new(self.folder / name, text)
        if self.github:
            _write_new(WORKFLOW, _template(WORKFLOW.name).replace("FOLDER", str(self.folder)))

    def _experiments(self) -> Iterator[str]:
        yield "# Written by pytest-tfserving init. Values that were made up have their origin beside them."
        yield "profiles:"
        yield f"  # At most {LONGEST_S:g} s: load ends once every SLO is decided."
        yield f"  {_WRITTEN_PROFILE}: {{base: {PROFILE}, run_time_s: {LONGEST_S:g}}}"
        yield "experiments:"
        for each in self.experiments:
            yield from self._experiment(each)
        for each in self.experiments:
            yield ""
            yield f"# {each.payload}, for the signature {one_line(each.found.signature_name)}, was made up:"
            yield from (f"#   {one_line(note)}" for note in each.found.notes)

    def _experiment(self, each: WrittenExperiment) -> Iterator[str]:
        yield f"  # The trial: {one_line(each.trial)}."
        yield f"  - name: {_yaml(each.name)}"
        yield f"    shape: {self.shape}  # 2 GB of RAM and four times the model's files"
        yield f"    inter_op: {self.inter_op}"
        yield f"    model: {_yaml(self._model())}"
        yield f"    payload: {each.payload}"
        if each.found.protocol != "rest":
            yield f"    protocol: {each.found.protocol}  # JSON cannot carry the types"
        yield f"    profile: {_WRITTEN_PROFILE}"
        yield "    slo:"
        yield from (f"      - {slo.text}  # {slo.origin}" for slo in each.slos)
        if not each.slos:
            yield "      - errors<1%  # nothing was measured to propose a limit from"

    def _model(self) -> str:
        """Return the model's path for the experiments file: a relative one inside of the current folder."""
        base_path = self.base_path.resolve()
        if not base_path.is_relative_to(Path.cwd().resolve()):
            return str(base_path)
        relative = os.path.relpath(base_path, self.folder.resolve())
        return relative if "/" in relative else f"./{relative}"


def payload_name(signature_name: str) -> str:
    """Return the name of the file with a signature's request; without a name the only one's."""
    return (
        f"request-{re.sub(r'[^A-Za-z0-9_.-]', '-', signature_name)}.json"
        if signature_name
        else "request.json"
    )


def _write_new(path: Path, text: str) -> None:
    """Write a file that must not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


def _template(name: str) -> str:
    folder = resources.files("pytest_tfserving.cli") / "templates"
    return (folder / f"{name}.txt").read_text(encoding="utf-8")


def _yaml(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
