"""Text that others wrote, cleaned where it comes in: answers, logs, events, exceptions, other results.

Nothing of it may steer a terminal, break a file, hide what stands beside it, or fill a page.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Causes of errors and other texts that stand in a sentence.
LONGEST = 300
# What a cluster, an engine or a tool gives as its reason.
LONGEST_REASON = 1_000
_LONGEST_LINE = 2_000
# The last lines of a log are looked for in so much of its end.
_TAIL_BYTES = 1 << 16
# What ends a line of a log; `str.splitlines` knows more, which others may write into one.
_LINE_END = re.compile(r"\r\n|\r|\n")
# Control sequences of ECMA-48: colours and the like, strings such as a window's title, all others.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]?"
)
# Invisible: they join letters, turn the direction of writing, or mark the order of bytes.
_INVISIBLE = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
_UNKNOWN = "\ufffd"


def printable(text: str) -> str:
    """Return ``text`` without what steers a terminal or is invisible; what else cannot be shown is a �."""
    if text.isprintable():
        return text
    shown = _INVISIBLE.sub("", _SEQUENCES.sub("", text))
    return "".join(_shown(character) for character in shown)


def one_line(text: str, most: int = LONGEST) -> str:
    """Return `printable` text on one line of at most ``most`` characters."""
    # Nobody reads what is cut off, so that it need not be cleaned.
    line = " ".join(printable(text[: 20 * most]).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def lines(text: str) -> str:
    """Return `printable` text of several lines, none of them endless."""
    found = _LINE_END.split(text.rstrip())
    return "\n".join(printable(line[:_LONGEST_LINE].expandtabs()).rstrip() for line in found)


def last_lines(path: Path, count: int = 1) -> str:
    """Return the last ``count`` lines of a file that somebody writes to, as `lines`; empty without one."""
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
        text = file.read(_TAIL_BYTES).decode(errors="replace").strip()
    return lines("\n".join(_LINE_END.split(text)[-count:])).strip()


def last_line(path: Path) -> str:
    """Return the last line of such a file, to stand in a sentence."""
    return one_line(last_lines(path))


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else _UNKNOWN
