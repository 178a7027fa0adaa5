"""Text from outside, cleaned on arrival: answers, logs, events, exceptions, results of others.

Such text must not steer a terminal, break a file, hide its surroundings, fill a page, or repeat a secret.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pytest_tfserving.text.secrets import without_hidden

if TYPE_CHECKING:
    from pathlib import Path

# The longest text inside a sentence, as the cause of an error.
LONGEST = 300
# The longest reason of a cluster, an engine or a tool.
LONGEST_REASON = 1_000
_LONGEST_LINE = 2_000
# The last lines of a log are searched in this many bytes of its end.
_TAIL_BYTES = 1 << 16
# The line endings of logs; `str.splitlines` has more, which others may write into a line.
_LINE_END = re.compile(r"\r\n|\r|\n")
# Control sequences of ECMA-48: colours and the like, strings such as a window's title, others.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
# Invisible characters: they join letters, turn the direction of writing, or mark the order of bytes.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
_UNKNOWN = "\ufffd"


def printable(text: str) -> str:
    """Return ``text`` without control sequences and invisible characters; other unprintable ones become �."""
    if text.isprintable():
        return text
    shown = _INVISIBLE.sub("", _SEQUENCES.sub("", text))
    return "".join(_shown(character) for character in shown)


def one_line(text: str, most: int = LONGEST) -> str:
    """Return `printable` text on one line of at most ``most`` characters."""
    # Only the beginning is shown, so only the beginning is cleaned.
    line = " ".join(printable(without_hidden(text)[: 20 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def lines(text: str) -> str:
    """Return `printable` text of several lines, each of a limited length."""
    found = _LINE_END.split(without_hidden(text).rstrip())
    return "\n".join(printable(line[:_LONGEST_LINE].expandtabs()).rstrip() for line in found)


def last_lines(path: Path, count: int = 1) -> str:
    """Return the last ``count`` lines of a file that a process writes to, as `lines`; empty if none."""
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
        text = file.read(_TAIL_BYTES).decode(errors="replace").strip()
    return lines("\n".join(_LINE_END.split(text)[-count:])).strip()


def last_line(path: Path) -> str:
    """Return the last line of a file that a process writes to, for use in a sentence."""
    return one_line(last_lines(path))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else _UNKNOWN
