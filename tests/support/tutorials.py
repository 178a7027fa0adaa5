"""Pages for newcomers as sessions: their commands, the files they show, and what the commands print."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_tfserving.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness import Project

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = sorted((DOCS / "tutorial").glob("*.md"))
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+)\n")
_FIGURE = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?")
_VERDICT = re.compile(r"\b(?:PASS|FAIL|INVALID|INCONCLUSIVE|NOT JUDGED)\b")
# The tests have installed the plugin, and what brings images to nodes.
ELSEWHERE = ("python3", "pip", "kind")


class Step(NamedTuple):
    """Files to write, commands, and the lines that the last one of them prints."""

    files: dict[str, str]
    commands: list[str]
    lines: list[str]


def steps(page: Path, heading: str = "") -> list[Step]:
    """The commands of a page, or of its section, with their output; one without output has no lines."""
    found: list[Step] = []
    files: dict[str, str] = {}
    section = page.read_text(encoding="utf-8").partition(heading)[2] if heading else page.read_text("utf-8")
    for language, text in _FENCE.findall(section.partition("\n## ")[0] if heading else section):
        if language == "console":
            found.append(Step(files, [line.removeprefix("$ ") for line in text.splitlines()], []))
            files = {}
        elif language == "text":
            found[-1].lines.extend(text.splitlines())
        elif match := _FILE.match(text):
            files[match[1]] = text
    return found


def without_figures(text: str) -> str:
    """A line with its figures, its verdict and its widths taken out, up to an ellipsis."""
    shown = text.partition("...")[0].partition("…")[0]
    return " ".join(_VERDICT.sub("VERDICT", _FIGURE.sub("#", shown)).split())


def follow(
    project: Project,
    session: Sequence[Step],
    adapted: Callable[[str], str] = lambda text: text,
    *options: str,
) -> None:
    """Run the commands of a session one after the other; each has to print the lines that the page shows.

    ``adapted`` has the page's names in a text replaced by those of the test; pytest gets further ``options``.
    """
    for step in session:
        for name, text in step.files.items():
            (project.pytester.path / name).write_text(adapted(text), encoding="utf-8")
        for command in step.commands:
            output = _output_of(project, adapted(command), options)
        printed = {without_figures(line) for line in output.splitlines()}
        for line in step.lines:
            shown = without_figures(adapted(line))
            assert any(each.startswith(shown) for each in printed), (line, output)


def _output_of(project: Project, command: str, options: Sequence[str]) -> str:
    """Run a command as a shell would; what it is piped into is left out."""
    words = shlex.split(command.partition(" | ")[0])
    if words[0] in ELSEWHERE:
        return ""
    if words[0] == "pytest":
        return project.run(*words[1:], *options, server=False).stdout.str()
    if words[0] == "pytest-tfserving":
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
            main(words[1:])
        return out.getvalue()
    done = subprocess.run(command, shell=True, check=True, capture_output=True, text=True)
    return done.stdout
