"""Pages for newcomers: their commands are run one after the other, and print what the page shows."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import planted_results
from harness import RESULT
from pytest_tfserving.cli import main

if TYPE_CHECKING:
    from harness import Project
    from pytest_tfserving.experiments.load_profile import LoadProfile

DOCS = Path(__file__).parents[2] / "docs"
TUTORIAL = DOCS / "tutorial" / "laptop.md"
# The sections of a page that are one session.
SESSIONS = {"tutorial": (TUTORIAL, ""), "three models": (DOCS / "start.md", "### Three models")}
_FENCE = re.compile(r"^```(console|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FIGURE = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?")
_VERDICT = re.compile(r"\b(?:PASS|FAIL|INVALID|INCONCLUSIVE|NOT JUDGED)\b")
_MOST_COMMANDS = 15
# The test has installed the plugin, and a repository.
_ELSEWHERE = ("python3", "pip", "git")


class Step(NamedTuple):
    """Commands, and the lines that the last one of them prints."""

    commands: list[str]
    lines: list[str]


def steps(page: Path, heading: str = "") -> list[Step]:
    """The commands of a page, or of its section, with their output; one without output has no lines."""
    found: list[Step] = []
    section = page.read_text(encoding="utf-8").partition(heading)[2] if heading else page.read_text("utf-8")
    for language, text in _FENCE.findall(section.partition("\n## ")[0] if heading else section):
        if language == "console":
            found.append(Step([line.removeprefix("$ ") for line in text.splitlines()], []))
        else:
            found[-1].lines.extend(text.splitlines())
    return found


def without_figures(text: str) -> str:
    """A line with its figures, its verdict and its widths taken out, up to an ellipsis."""
    shown = text.partition("...")[0].partition("…")[0]
    return " ".join(_VERDICT.sub("VERDICT", _FIGURE.sub("#", shown)).split())


def output_of(project: Project, command: str) -> str:
    """Run a command as a shell would, with planted results; return its output."""
    words = shlex.split(command)
    if words[0] in _ELSEWHERE:
        return ""
    if words[0] == "pytest":
        return project.run(*words[1:], server=False).stdout.str()
    if words[0] == "pytest-tfserving":
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
            main(words[1:])
        return out.getvalue()
    done = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
    return done.stdout


def _planted(_: LoadProfile) -> dict[str, Any]:
    return {"rps": 1000.0, "p50_ms": 3.0, "baseline": RESULT.baseline}


def test_the_commands_are_few() -> None:
    assert len([command for step in steps(TUTORIAL) for command in step.commands]) <= _MOST_COMMANDS


@pytest.mark.parametrize("session", SESSIONS)
def test_each_command_prints_what_the_page_shows(
    project: Project, newcomers: Path, monkeypatch: pytest.MonkeyPatch, session: str
) -> None:
    folder = project.pytester.path
    shutil.rmtree(folder / "models")
    shutil.copytree(newcomers, folder / "models")
    (folder / "models" / "strings").rename(folder / "models" / "mine")
    for name in ("experiments.yaml", "test_perf.py"):
        (folder / name).unlink()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    planted_results.instead_of_load(project, _planted)

    for step in steps(*SESSIONS[session]):
        for command in step.commands:
            output = output_of(project, command)
        printed = {without_figures(line) for line in output.splitlines()}
        for line in step.lines:
            assert any(each.startswith(without_figures(line)) for each in printed), (line, output)
