"""A newcomer: an empty folder, and a fresh venv with what pip installs for some extras, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass, field
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from packaging.requirements import Requirement

from tutorials import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tutorials import Step

_ROOT = Path(__file__).parents[2]
# Busy half the time, until the process of the tests ends.
_HALF_BUSY = """
import os, time
parent = os.getppid()
while os.getppid() == parent:
    until_s = time.monotonic() + 0.5
    while time.monotonic() < until_s:
        pass
    time.sleep(0.5)
"""
_VERDICTS = r"PASS|FAIL|INVALID|INCONCLUSIVE|NOT JUDGED"
# The line of a command with its verdict, and the row of a table.
_VERDICT = re.compile(rf"^\S+ on \S+: ({_VERDICTS})$|^\S+ .* ({_VERDICTS})$", re.MULTILINE)
_PATIENCE_S = 600


class Ran(NamedTuple):
    """A command that ended, its output, its exit code, and the seconds from the first command to its end."""

    command: str
    output: str
    code: int
    after_s: float

    @property
    def verdict(self) -> str:
        """The verdict on a run of load that was printed last; empty without one."""
        found = [name for names in _VERDICT.findall(self.output) for name in names if name]
        return found[-1] if found else ""


@dataclass
class Newcomer:
    """A folder, and the venv whose programs are run there.

    Attributes:
        folder: the folder, empty at first.
        venv: the folder of the venv.
        variables: further environment variables of commands.
    """

    folder: Path
    venv: Path
    variables: dict[str, str] = field(default_factory=dict)

    @classmethod
    def with_extras(cls, place: Path, wheel: Path, *extras: str) -> Self:
        """Make the folder, and a venv with the wheel and its extras."""
        made = cls(place / "project", place / "venv")
        made.folder.mkdir(parents=True)
        (place / "home").mkdir()
        _checked([sys.executable, "-m", "venv", "--without-pip", str(made.venv)])
        python = str(made.venv / "bin" / "python")
        _checked([sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", str(wheel)])
        site = Path(sysconfig.get_path("purelib", "venv", {"base": str(made.venv)}))
        (own,) = distributions(name="pytest-tfserving", path=[str(site)])
        for each in _required(own, extras):
            _link(each, made.venv, site)
        return made

    def follow(self, session: Iterable[Step], adapted: Callable[[str], str] = lambda text: text) -> list[Ran]:
        """Write the files of a session and run its commands, word for word but for ``adapted`` names.

        What is installed is there already, and what a command is piped into is left out.
        """
        began_s, ran = time.monotonic(), []
        for step in session:
            for name, text in step.files.items():
                (self.folder / name).write_text(adapted(text), encoding="utf-8")
            for command in step.commands:
                if command.split()[0] in ELSEWHERE:
                    continue
                done = self._run(adapted(command.partition(" | ")[0]))
                after_s = time.monotonic() - began_s
                ran.append(Ran(command, done.stdout, done.returncode, after_s))
                end = f"(exit code {done.returncode}, after {after_s:.1f} s)"
                sys.stdout.write(f"$ {command}\n{done.stdout}{end}\n\n")
        return ran

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        home = self.folder.parent / "home"
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON"))}
        environment = {
            **kept,
            "PATH": f"{self.venv / 'bin'}{os.pathsep}{_path_of_others()}",
            "VIRTUAL_ENV": str(self.venv),
            "HOME": str(home),
            "TMPDIR": str(home),
            "COLUMNS": "100",
            **self.variables,
        }
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )


def built_wheel(folder: Path) -> Path:
    """Build the wheel of the checkout, as `pip install` of the checkout does."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--wheel-dir",
        str(folder),
        str(_ROOT),
    ]
    _checked(command)
    (wheel,) = folder.glob("*.whl")
    return wheel


@contextlib.contextmanager
def half_busy_core() -> Iterator[None]:
    """Run a process that computes half the time."""
    process = subprocess.Popen([sys.executable, "-c", _HALF_BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _checked(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"


def _path_of_others() -> str:
    """Return PATH without the folder of this Python."""
    own = Path(sys.executable).parent
    return os.pathsep.join(each for each in os.environ["PATH"].split(os.pathsep) if Path(each) != own)


def _required(own: Distribution, extras: Iterable[str]) -> list[Distribution]:
    """Return the distributions that ``own`` requires with its extras, and those that they require.

    They are those of the tests' environment: to download TensorFlow again would take minutes. A distribution
    that no metadata name is not among them, and so it is missed as after an installation by pip.
    """
    found: dict[str, Distribution] = {}
    waiting = [(own, frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        each, wanted = waiting.pop()
        for requirement in map(Requirement, each.requires or ()):
            key = (requirement.name, frozenset(requirement.extras))
            if key not in seen and _applies(requirement, wanted):
                seen.add(key)
                found[requirement.name] = distribution(requirement.name)
                waiting.append((found[requirement.name], key[1]))
    return list(found.values())


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


def _link(each: Distribution, venv: Path, site: Path) -> None:
    """Link the files of a distribution, and write its programs, which name the venv's Python."""
    for path in each.files or ():
        source = Path(str(each.locate_file(path))).resolve()
        is_program = path.parts[-2:-1] == ("bin",) and path.parts[0] == ".."
        link = venv / "bin" / path.name if is_program else site / path
        is_elsewhere = path.parts[0] == ".." and not is_program
        if is_elsewhere or (is_program and _is_script(source)):
            continue
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(source)
    for entry in each.entry_points.select(group="console_scripts"):
        module, _, function = entry.value.partition(":")
        program, python = venv / "bin" / entry.name, venv / "bin" / "python"
        code = f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        program.write_text(f"#!{python}\n{code}", encoding="utf-8")
        program.chmod(0o755)


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"#!"
