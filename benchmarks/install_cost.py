"""What it costs to have the plugin installed where no test uses it.

`pytest --co -q` in an empty folder, and a suite of 200 tests of someone else, each with the plugin against
`-p no:tfserving`, in interleaved pairs. The suite has fixtures, parameters and marks of its own under the
names of ours; each test computes for some milliseconds. All bytecode is compiled beforehand, as pip does. The
other plugins of the environment are switched off in both: they would only make the difference look smaller.
Before each run a random amount of memory is allocated, since the time of a run varies by some per cent with
the places of its objects in memory (Mytkowicz and others, "Producing wrong data without doing anything
obviously wrong!", 2009). Afterwards it looks which heavy libraries the plugin's presence has imported.

Target: the median ratio of a pair is at most 1.1 in an empty folder and 1.02 for the suite, whose outcomes
are equal, and none of locust, gevent, tensorflow, kubernetes, docker and yaml is imported. Needs nothing.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import _common as common

if TYPE_CHECKING:
    from pathlib import Path

WITH, WITHOUT = "with the plugin", "-p no:tfserving"
FORBIDDEN = ("locust", "gevent", "tensorflow", "kubernetes", "docker", "yaml", "psutil")
SHOWN = (*FORBIDDEN, "numpy", "requests")
_NOTHING_COLLECTED, _SOME_FAILED = 5, 1
_LOOK = """
import json, sys, pytest
pytest.main(sys.argv[1:])
print("JSON", json.dumps(sorted(sys.modules)))
"""
# Objects and bytes of memory that are allocated before pytest is imported.
_PADDED = """
import sys
padding = [[] for _ in range(int(sys.argv.pop(1)))], bytearray(int(sys.argv.pop(1)))
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""
_MOST_OBJECTS, _MOST_BYTES = 20_000, 2**20
_MODULES = 10
# Twenty tests, of which one fails, one is skipped and one is expected to fail.
_MODULE = """
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnknownMarkWarning")

def work():
    return sum(number * number for number in range(100_000))

@pytest.fixture(scope="module")
def serving():
    return work()

@pytest.fixture
def load(serving, tmp_path):
    return tmp_path / str(serving)

@pytest.mark.slo("gold")
@pytest.mark.parametrize("experiment", ["a", "b", "c", "d"])
@pytest.mark.parametrize("size", range(3))
def test_files(load, experiment, size):
    load.write_text(experiment * size)
    assert work() and load.read_text() == experiment * size

class TestClass:
    @pytest.fixture
    def experiment(self):
        return "e"

    @pytest.mark.parametrize("number", range(5))
    def test_fixture(self, experiment, number):
        assert work() and experiment * number == "eeeee"[:number]

def test_fails():
    assert not work()

def test_is_skipped():
    pytest.skip("NOT JUDGED yet")

@pytest.mark.xfail
def test_is_expected_to_fail():
    assert not work()
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians of runs with the plugin and without it, in ms, by these names."""

    wall: dict[str, float]
    cpu: dict[str, float]
    ratios: list[float]

    @property
    def ratio(self) -> float:
        """How many times as long it takes with the plugin."""
        return statistics.median(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the median ratio, from its rank among the pairs' ratios."""
        ordered, count = sorted(self.ratios), len(self.ratios)
        reach = 0.98 * math.sqrt(count)
        return ordered[max(0, math.floor(count / 2 - reach))], ordered[
            min(count - 1, math.ceil(count / 2 + reach))
        ]


class Pytest:
    """Runs pytest in a folder, with the plugin and without, and notes the CPU time beside the wall time."""

    def __init__(self, folder: Path, bytecode: Path, status: int, *options: str) -> None:
        self._folder, self._status = folder, status
        self._environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        own = [*options, "-pno:cacheprovider", *(f"-pno:{name}" for name in common.other_plugins())]
        self._options = {WITH: own, WITHOUT: [*own, "-pno:tfserving"]}
        self._random = random.Random(2009)
        self.taken_ms: dict[str, list[float]] = {}
        self.cpu_ms: dict[str, list[float]] = {WITH: [], WITHOUT: []}

    def cost(self, pairs: int) -> Cost:
        """Run it in so many interleaved pairs."""
        for name in self._options:
            self._wall_ms(name)
        self.cpu_ms = {WITH: [], WITHOUT: []}
        self.taken_ms = common.interleaved(
            {WITH: lambda: self._wall_ms(WITH), WITHOUT: lambda: self._wall_ms(WITHOUT)}, pairs
        )
        pair = zip(self.taken_ms[WITH], self.taken_ms[WITHOUT], strict=True)
        return Cost(_medians(self.taken_ms), _medians(self.cpu_ms), [mine / theirs for mine, theirs in pair])

    def _wall_ms(self, name: str) -> float:
        padding = [str(self._random.randrange(most)) for most in (_MOST_OBJECTS, _MOST_BYTES)]
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", _PADDED, *padding, *self._options[name]],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        length_ms = (time.perf_counter() - start) * 1e3
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != self._status:
            sys.exit(f"pytest ended with exit code {process.returncode}, not {self._status}")
        self.cpu_ms[name].append((usage.ru_utime + usage.ru_stime) * 1e3)
        return length_ms

    def modules(self, name: str) -> set[str]:
        """Return the modules that are imported at the end of one run."""
        said = self._said([sys.executable, "-c", _LOOK, *self._options[name]])
        return set(json.loads(said[said.index("JSON") + 4 :]))

    def outcomes(self, name: str) -> list[str]:
        """Return the outcome of each test of one run."""
        words = ("PASSED", "FAILED", "SKIPPED", "XFAIL", "XPASS", "ERROR")
        said = self._said([sys.executable, "-m", "pytest", *self._options[name], "-rA", "--tb=no"])
        return sorted(line for line in said.splitlines() if line.startswith(words))

    def _said(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self._folder, env=self._environment, check=False, capture_output=True, text=True
        )
        return done.stdout


def _medians(taken: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(values) for name, values in taken.items()}


def write_suite(folder: Path) -> None:
    for number in range(_MODULES):
        (folder / f"test_{number}.py").write_text(_MODULE, encoding="utf-8")


def main() -> None:
    args = common.arguments(__doc__)
    # The suite's own time varies by a tenth, so its small difference needs more pairs.
    few, many = (6, 6) if args.quick else (30, 120)
    with common.scratch() as empty, common.scratch() as suite, common.scratch() as bytecode:
        write_suite(suite)
        nothing = Pytest(empty, bytecode, _NOTHING_COLLECTED, "--co", "-q")
        tests = Pytest(suite, bytecode, _SOME_FAILED, "-q")
        with common.pinned(common.cores()[-1]):
            costs = {"--co, empty folder": nothing.cost(few), "200 tests of others": tests.cost(many)}
        modules = {name: tests.modules(name) for name in (WITH, WITHOUT)}
        outcomes = {name: tests.outcomes(name) for name in (WITH, WITHOUT)}
    show(costs)
    imported = [name for name in SHOWN if name in modules[WITH]]
    added = sorted(modules[WITH] - modules[WITHOUT])
    different = set(outcomes[WITH]) ^ set(outcomes[WITHOUT])
    print(f"\nother plugins, switched off in both: {', '.join(common.other_plugins()) or 'none'}")
    print(f"outcomes: {len(outcomes[WITH])} with the plugin, {len(outcomes[WITHOUT])} without it")
    print(f"imported of {', '.join(SHOWN)}: {', '.join(imported) or 'none'}")
    print(f"modules the plugin added: {', '.join(added)}")
    common.finish(
        args,
        {
            "wall_ms": nothing.taken_ms,
            "cpu_ms": nothing.cpu_ms,
            "suite_wall_ms": tests.taken_ms,
            "suite_cpu_ms": tests.cpu_ms,
            "imported": imported,
            "added": added,
        },
        [
            common.Target(
                "empty folder: wall time with the plugin / without", costs["--co, empty folder"].ratio, 1.1
            ),
            common.Target(
                "200 tests: wall time with the plugin / without", costs["200 tests of others"].ratio, 1.02
            ),
            common.Target("tests with another outcome", len(different), 0),
            common.Target("tests that ran", len(outcomes[WITH]), 20 * _MODULES, at_least=True),
            common.Target("heavy libraries imported", sum(name in FORBIDDEN for name in imported), 0),
        ],
    )


def show(costs: dict[str, Cost]) -> None:
    common.table(
        ["pytest", "runs", "wall ms", "CPU ms"],
        [
            [
                f"{title}, {name}",
                len(cost.ratios),
                f"{cost.wall[name]:.1f}",
                f"{cost.cpu[name]:.1f}",
            ]
            for title, cost in costs.items()
            for name in (WITH, WITHOUT)
        ],
    )
    for title, cost in costs.items():
        low, high = cost.interval
        print(f"{title}: {cost.ratio:.3f} x with the plugin [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
