"""Remakes ``docs/terminal.svg``: runs pytest in a terminal and keeps what it showed. Needs rich.

python docs/make_terminal_picture.py perf_tests -k 1cpu
"""

from __future__ import annotations

import io
import os
import pty
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 80


def shown(command: list[str]) -> str:
    """Return the output of ``command`` on a terminal."""
    parts: list[bytes] = []

    def keep(fd: int) -> bytes:
        data = os.read(fd, 1 << 16)
        parts.append(data)
        return data

    os.environ["COLUMNS"] = str(COLUMNS)
    pty.spawn(command, keep)
    return b"".join(parts).decode(errors="replace")


def final(text: str) -> str:
    """Return the text at the end: rewritten lines in their last state, and relative paths."""
    text = text.replace(f"{Path.cwd()}/", "")
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    return "\n".join(line for line in lines if "rootdir" not in line and "cachedir" not in line).strip()


def main() -> None:
    """Run pytest with the given arguments and write the picture."""
    arguments = sys.argv[1:]
    output = final(shown([sys.executable, "-m", "pytest", "--color=yes", *arguments]))
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(f"$ pytest {' '.join(arguments)}\n{output}"))
    target = Path(__file__).with_name("terminal.svg")
    picture = console.export_svg(title="pytest-tfserving")
    # Any monospace font will do; the template's own would be fetched from a server.
    target.write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL), encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
