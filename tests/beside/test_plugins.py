"""Popular pytest plugins beside this one, one at a time and seven at once: outcomes stay as they are."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import distributions
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

import planted_results as planted
from needs import PLUGINS

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.needs("plugins")

# By the distribution's name: the options that put the plugin to work.
OPTIONS = {
    "allure-pytest": ["--alluredir=allure"],
    "anyio": [],
    "hypothesis": [],
    "pytest-asyncio": ["--asyncio-mode=auto"],
    "pytest-bdd": [],
    "pytest-benchmark": [],
    "pytest-cov": ["--cov=.", "--cov-report="],
    "pytest-html": ["--html=report.html"],
    "pytest-mock": [],
    "pytest-order": [],
    "pytest-randomly": [],
    "pytest-repeat": ["--count=2"],
    "pytest-rerunfailures": ["--reruns=1"],
    "pytest-sugar": [],
    "pytest-timeout": ["--timeout=60"],
    "pytest-xdist": ["-n2"],
    "syrupy": [],
}
NEEDED = {"pytest-html": ["pytest-metadata"]}
SEVEN = [
    *("pytest-asyncio", "pytest-cov", "pytest-html", "pytest-randomly", "pytest-rerunfailures"),
    *("pytest-timeout", "pytest-xdist"),
]
CHOICES = [*([name] for name in OPTIONS), SEVEN]
# One test of each outcome, skipped and expected failures too: other plugins have to count all as before.
THEIRS = """
import unittest
import pytest

@pytest.fixture(scope="module")
def load():
    return str.upper

@pytest.fixture(params=["a", "b"])
def serving(request, load):
    return load(request.param)

@pytest.mark.parametrize("experiment", ["one", "two"])
def test_parameters(experiment, serving):
    assert (experiment, serving) in {(one, two) for one in ("one", "two") for two in "AB"}

@pytest.mark.slo("gold")
@pytest.mark.parametrize("number", range(3))
def test_fails_for_one(number, tmp_path):
    (tmp_path / "number").write_text(str(number))
    assert (tmp_path / "number").read_text() != "1"

@pytest.mark.xfail
def test_expected():
    assert False

def test_skipped():
    pytest.skip("NOT JUDGED yet")

class TestClass:
    @pytest.fixture
    def experiment(self):
        return 1

    def test_fixture(self, experiment, capsys):
        print(experiment)
        assert capsys.readouterr().out == "1\\n"

class TestUnit(unittest.TestCase):
    def test_sub(self):
        self.assertEqual(1, 1)
"""
EXPERIMENTS = """
defaults: {model: ./models/half, payload: request.json, profile: smoke, slo: ["rps>=1"]}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: [1, 2]}
"""
OURS = """
import pytest

def test_gate(load):
    load().check()

def test_own(load):
    assert load().rps > 1

@pytest.mark.slo("p95<0.001ms")
def test_fails(load):
    load().check("p95")

@pytest.mark.xfail
@pytest.mark.slo("p95<0.001ms")
def test_expected(load):
    load().check("p95")

def test_not_judged(load):
    load().check("efficiency")

@pytest.mark.experiments("*interop2")
@pytest.mark.parametrize("users", [1, 2])
def test_users(load, users):
    assert load(users=users).rps > users
"""


def entry_points(names: Iterable[str]) -> list[str]:
    """What `-p` takes for the plugins of these distributions."""
    wanted = {each for name in names for each in (name, *NEEDED.get(name, ()))}
    found = {
        name: each
        for each in distributions(path=[os.environ[PLUGINS]])
        if (name := each.name.lower().replace("_", "-")) in wanted
    }
    assert set(found) == wanted
    return [
        f"-p{point.name}" for each in found.values() for point in each.entry_points.select(group="pytest11")
    ]


def outcomes(pytester: pytest.Pytester, names: list[str], *options: str) -> tuple[int, list[tuple[str, ...]]]:
    """Run a suite beside the plugins of these distributions: the exit code, and what became of each test."""
    mine = [option for name in names for option in OPTIONS[name]]
    loaded = entry_points(names)
    run = pytester.run(
        sys.executable, "-m", "pytest", *loaded, *options, *mine, "--junit-xml=out.xml", "-pno:cacheprovider"
    )
    cases = ET.parse(pytester.path / "out.xml").getroot().iter("testcase")
    # Of a test that was run again the last case counts.
    ended = {(case.attrib["classname"], case.attrib["name"]): _outcome(case) for case in cases}
    assert ended, run.stdout.str()
    return run.ret, sorted((*name, outcome) for name, outcome in ended.items())


def _outcome(case: ET.Element) -> str:
    return " ".join(sorted(part.tag for part in case if part.tag in ("failure", "error", "skipped")))


@pytest.fixture(autouse=True)
def _only_what_is_named(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name == "CI" or name.startswith(("PYTEST_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", os.environ[PLUGINS])
    monkeypatch.setenv("TMPDIR", str(pytester.path))


@pytest.mark.parametrize("names", CHOICES, ids="+".join)
def test_a_suite_of_others_ends_as_without_us(pytester: pytest.Pytester, names: list[str]) -> None:
    pytester.makepyfile(test_theirs=THEIRS)

    without = outcomes(pytester, names)
    with_us = outcomes(pytester, names, "-ptfserving")

    assert without[0] == pytest.ExitCode.TESTS_FAILED
    assert with_us == without


@pytest.fixture
def ours(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite that uses this plugin; its load is planted."""
    planted.in_every_process(pytester, monkeypatch)
    pytester.makepyfile(test_ours=OURS)
    (pytester.path / "experiments.yaml").write_text(EXPERIMENTS, encoding="utf-8")
    (pytester.path / "request.json").write_text('{"instances": [1.0, 2.0, 5.0]}', encoding="utf-8")
    return pytester


@pytest.mark.parametrize("names", CHOICES, ids="+".join)
def test_a_suite_of_ours_ends_as_without_them(ours: pytest.Pytester, names: list[str]) -> None:
    status, alone = outcomes(ours, [], "-ptfserving")

    beside = outcomes(ours, names, "-ptfserving")

    assert (status, len(alone)) == (pytest.ExitCode.TESTS_FAILED, 12)
    assert beside[0] == status
    # The plugin that repeats tests gives each another parameter.
    repeated = 2 if "pytest-repeat" in names else 1
    assert sorted(map(_function, beside[1])) == sorted(map(_function, alone * repeated))


def _function(case: tuple[str, ...]) -> tuple[str, str, str]:
    where, name, outcome = case
    return where, name.partition("[")[0], outcome


def options_and_fixtures(pytester: pytest.Pytester, *plugins: str) -> set[str]:
    """What the help of a pytest with these plugins has."""
    pytest_itself = (sys.executable, "-m", "pytest", *plugins)
    options = pytester.run(*pytest_itself, "--help").stdout.str()
    fixtures = pytester.run(*pytest_itself, "--fixtures", "-q").stdout.str()
    return {
        *re.findall(r"^ +(--[a-z-]+)", options, re.MULTILINE),
        *re.findall(r"^(\w+)(?: \[\w+ scope\])? -- ", fixtures, re.MULTILINE),
    }


def test_pytest_benchmark_has_no_option_and_no_fixture_of_ours(pytester: pytest.Pytester) -> None:
    """As docs/coming-from.md says."""
    everywhere = options_and_fixtures(pytester)
    ours = options_and_fixtures(pytester, "-ptfserving") - everywhere
    theirs = options_and_fixtures(pytester, *entry_points(["pytest-benchmark"])) - everywhere

    assert {"--tfserving-target", "load"} <= ours
    assert {"--benchmark-json", "benchmark"} <= theirs
    assert not ours & theirs
