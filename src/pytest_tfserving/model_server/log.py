"""The server's log: one line for each event, on standard error."""

from __future__ import annotations

import sys
import time
import traceback


def log(level: str, text: str, *, exc_info: bool = False) -> None:
    """Write ``text`` with the time and ``level`` (``info``, ``warning``, ``error``).

    Names and paths come from clients and files. So characters that are not printable are escaped, and the
    lines of a traceback are indented: nobody else can make a line that looks like one of the server's.
    """
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    lines = traceback.format_exc().splitlines() if exc_info else []
    details = "".join(f"\n  {_printable(line)}" for line in lines)
    sys.stderr.write(f"{stamp} {level}: {_printable(text)}{details}\n")
    sys.stderr.flush()


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
