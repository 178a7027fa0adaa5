"""The interface of GitHub's runner: inputs, outputs, the job's summary, annotations."""

from __future__ import annotations

import json
import os
import secrets
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Mistake(Exception):  # noqa: N818 - a user's mistake, in one sentence
    """A user's mistake, which ends the gate."""


def input_of(name: str) -> str:
    """Return an input of the action; empty if it is not set."""
    return os.environ.get(f"INPUT_{name}", "").strip()


def words_of(name: str) -> list[str]:
    """Return the words of an input, split as a shell does."""
    try:
        return shlex.split(input_of(name))
    except ValueError as error:
        raise Mistake(f"{name.lower()}: cannot split {input_of(name)!r} into words: {error}.") from None


def gate_folder() -> Path:
    """Return the folder of this gate, which is empty at its start."""
    return Path(os.environ["GATE_FOLDER"])


def reports() -> Path:
    """Return the folder of the files that become an artifact."""
    folder = gate_folder() / "reports"
    folder.mkdir(exist_ok=True)
    return folder


def pull_request() -> dict[str, Any]:
    """Return the pull request that the workflow runs for, as GitHub's event has it; else nothing."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    return event.get("pull_request") or {}


def write_output(name: str, value: object) -> None:
    """Set an output of the step; a random delimiter allows for any text."""
    delimiter = secrets.token_hex(16)
    _append("GITHUB_OUTPUT", f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


def write_summary(text: str) -> None:
    """Append Markdown to the job's summary."""
    _append("GITHUB_STEP_SUMMARY", text)


def annotate(level: str, message: str, **properties: object) -> None:
    """Print an annotation: ``level`` is error, warning or notice, ``properties`` are file, line and title."""
    pairs = ",".join(f"{key}={_escaped_property(str(value))}" for key, value in properties.items())
    print(f"::{level} {pairs}::{_escaped(message)}", flush=True)


@contextmanager
def commands_stopped() -> Iterator[None]:
    """Let the runner take no commands from the output inside the context: servers and tests write it."""
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}", flush=True)
    try:
        yield
    finally:
        print(f"\n::{token}::", flush=True)


def _append(variable: str, text: str) -> None:
    with Path(os.environ[variable]).open("a", encoding="utf-8") as file:
        file.write(text)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escaped_property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
