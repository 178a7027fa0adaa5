r"""Runs commands in a terminal, one after the other, and keeps what it showed as a picture. Needs rich.

python docs/make_terminal_picture.py docs/terminal.svg 'pytest perf_tests -k 1cpu'
python docs/make_terminal_picture.py --models MODELS docs/session-images.svg \
    'pytest-tfserving init models/images' 'pytest perf_tests'

With --models, the commands run in a new folder, which has these models in its folder ``models``:
tests/support/export_newcomers.py writes the three of docs/start.md.
"""

from __future__ import annotations

import argparse
import io
import os
import pty
import re
import shlex
import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 110
# Commands that are modules of the Python that runs this program, and how they are run.
PROGRAMS = {
    "pytest": ["-m", "pytest", "--color=yes", "-p", "no:cacheprovider"],
    "pytest-tfserving": ["-m", "pytest_tfserving.cli"],
}
# What pytest says about the machine and the plugins that happen to be installed.
ABOUT_THE_MACHINE = re.compile(r"rootdir|cachedir|configfile|plugins:|^platform ")


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
    for folder in {Path.cwd(), Path(os.environ.get("PWD", "."))}:
        text = text.replace(f"{folder}/", "")
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1].rstrip() for line in text.split("\n")]
    kept = "\n".join(line for line in lines if not ABOUT_THE_MACHINE.search(line)).strip()
    if found := [str(each) for each in (Path.home(), Path.cwd(), Path(sys.prefix)) if f"{each}/" in kept]:
        raise SystemExit(f"the output has a path of this machine, below {', '.join(found)}")
    return kept


def session(commands: list[str]) -> str:
    """Return each command and what it showed."""
    texts = []
    for command in commands:
        program, *arguments = shlex.split(command)
        output = final(shown([sys.executable, *PROGRAMS[program], *arguments]))
        texts.append(f"$ {command}\n{output}")
    return "\n\n".join(texts)


def picture(text: str) -> str:
    """Return a text of a terminal as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(text))
    found = console.export_svg(title="pytest-tfserving")
    # Any monospace font will do; the template's own would be fetched from a server.
    return re.sub(r"@font-face \{.*?\}", "", found, flags=re.DOTALL)


def main() -> None:
    """Run the commands and write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", type=Path, help="the SVG to write")
    parser.add_argument("commands", nargs="+", help="a command of pytest or pytest-tfserving")
    parser.add_argument("--models", type=Path, help="a folder of models; run in a new folder that has them")
    asked = parser.parse_args()
    target = asked.picture.resolve()
    with tempfile.TemporaryDirectory() as folder:
        if asked.models:
            shutil.copytree(asked.models, Path(folder, "models"))
        with chdir(folder if asked.models else "."):
            text = session(asked.commands)
    target.write_text(picture(text), encoding="utf-8")
    print(asked.picture)


if __name__ == "__main__":
    main()
