"""Suites of others, with the plugin merely installed: nothing is claimed that our fixtures do not ask for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from harness import FEW_PLUGINS

if TYPE_CHECKING:
    from harness import Project

WITHOUT = "-pno:tfserving"
PLUGIN = """
import pytest

@pytest.fixture
def experiment():
    return "theirs"

@pytest.fixture
def load():
    return str.upper

@pytest.fixture(scope="session")
def serving():
    return "served"
"""
USES_PLUGIN = """
def test_it(experiment, load, serving):
    assert load(experiment + serving) == "THEIRSSERVED"
"""
# By name: files of suites that do not use the plugin; `theirs` is loaded as a plugin where it is there.
SUITES = {
    "a parametrize mark": {
        "test_it.py": """
            import pytest

            @pytest.mark.parametrize("experiment", ["a", "b"])
            def test_it(experiment):
                assert experiment in ("a", "b")
        """
    },
    "a parametrize mark with a fixture load of their own": {
        "test_it.py": """
            import pytest

            @pytest.fixture
            def load(experiment):
                return experiment * 2

            @pytest.mark.parametrize(("experiment", "twice"), [("a", "aa"), ("b", "bb")])
            def test_it(load, twice):
                assert load == twice
        """
    },
    "an indirect parametrize mark": {
        "test_it.py": """
            import pytest

            @pytest.fixture
            def experiment(request):
                return request.param

            @pytest.mark.parametrize("experiment", ["a", "b"], indirect=True)
            def test_it(experiment):
                assert experiment in ("a", "b")
        """
    },
    "fixtures with parameters": {
        "conftest.py": """
            import pytest

            @pytest.fixture(params=[1, 2], scope="module")
            def experiment(request):
                return request.param

            @pytest.fixture
            def serving(experiment):
                return experiment
        """,
        "test_it.py": "def test_it(serving):\n    assert serving in (1, 2)\n",
    },
    "fixtures in conftests of two folders": {
        "conftest.py": "import pytest\n@pytest.fixture\ndef load():\n    return 1\n",
        "deep/conftest.py": "import pytest\n@pytest.fixture\ndef load(load):\n    return load + 1\n",
        "deep/test_it.py": "def test_it(load):\n    assert load == 2\n",
    },
    "fixtures in a class": {
        "test_it.py": """
            import pytest

            class TestIt:
                @pytest.fixture
                def experiment(self):
                    return "theirs"

                @pytest.fixture(autouse=True)
                def load(self, experiment):
                    self.loaded = experiment

                def test_it(self, experiment):
                    assert self.loaded == "theirs"
        """
    },
    "fixtures of a plugin that is loaded before": {
        "theirs.py": PLUGIN,
        "test_it.py": USES_PLUGIN,
    },
    "fixtures of a plugin that is loaded after": {
        "mine.py": PLUGIN,
        "conftest.py": "pytest_plugins = ['mine']\n",
        "test_it.py": USES_PLUGIN,
    },
    "a hook in a conftest": {
        "conftest.py": """
            def pytest_generate_tests(metafunc):
                if "experiment" in metafunc.fixturenames:
                    metafunc.parametrize("experiment", ["a", "b"])
        """,
        "test_it.py": "def test_it(experiment):\n    assert experiment in ('a', 'b')\n",
    },
    "a hook in a module": {
        "test_it.py": """
            def pytest_generate_tests(metafunc):
                metafunc.parametrize("experiment", ["a", "b"], scope="session")

            def test_it(experiment):
                assert experiment in ("a", "b")
        """
    },
    "a hook of a plugin": {
        "theirs.py": """
            def pytest_generate_tests(metafunc):
                if "experiment" in metafunc.fixturenames:
                    metafunc.parametrize("experiment", ["a", "b"])
        """,
        "test_it.py": "def test_it(experiment):\n    assert experiment in ('a', 'b')\n",
    },
    "marks of theirs": {
        "pytest.ini": """
            [pytest]
            addopts = --strict-markers
            markers =
                slo(level): theirs
                experiments: theirs
                load_profile: theirs
        """,
        "test_it.py": """
            import pytest

            @pytest.mark.slo("gold")
            @pytest.mark.experiments(3, where="here")
            class TestIt:
                @pytest.mark.load_profile
                @pytest.mark.slo
                def test_it(self, request):
                    assert [mark.args for mark in request.node.iter_markers("slo")] == [(), ("gold",)]
        """,
    },
    "marks of theirs on a parameter of theirs": {
        "pytest.ini": "[pytest]\nmarkers = slo: theirs\n",
        "test_it.py": """
            import pytest

            @pytest.mark.parametrize("experiment", [pytest.param("a", marks=pytest.mark.slo(1)), "b"])
            def test_it(experiment):
                assert experiment == "a"
        """,
    },
    "fixtures asked for by name, and a class of unittest": {
        "conftest.py": "import pytest\n@pytest.fixture\ndef load():\n    return 1\n",
        "test_it.py": """
            import unittest
            import pytest

            def test_it(request):
                assert request.getfixturevalue("load") == 1

            class TestIt(unittest.TestCase):
                @pytest.fixture(autouse=True)
                def _set_up(self, load):
                    self.loaded = load

                def test_loaded(self):
                    self.assertEqual(self.loaded, 1)
        """,
    },
    "words of ours": {
        "test_it.py": """
            import pytest

            def test_it():
                pytest.skip("NOT JUDGED yet")

            @pytest.mark.parametrize("experiment", ["1cpu-1gb-1n-interop1"])
            def test_that_fails(experiment):
                assert experiment == "FAIL"
        """
    },
}


def write(pytester: pytest.Pytester, files: dict[str, str]) -> list[str]:
    """Write a suite; return the options it is run with."""
    from textwrap import dedent

    for name, text in files.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    pytester.syspathinsert()
    return ["-ptheirs"] if "theirs.py" in files else []


def essence(run: pytest.RunResult) -> list[str]:
    """What a run said, but for what differs from run to run."""
    return [line.partition(" in ")[0] for line in run.outlines if not line.startswith("plugins:")]


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_of_others_is_as_without_the_plugin(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CI", "true")
    options = [*write(pytester, SUITES[name]), *FEW_PLUGINS, "-vv", "-rA", "-W", "error"]

    without = pytester.runpytest_inprocess(*options, WITHOUT)
    with_it = pytester.runpytest_inprocess(*options)

    assert with_it.ret == without.ret
    assert with_it.parseoutcomes() == without.parseoutcomes()
    assert sum(without.parseoutcomes().values()) > 0
    assert "errors" not in without.parseoutcomes()
    assert essence(with_it) == essence(without)


def test_nothing_is_made_or_imported_for_a_suite_of_others(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By none of its processes, in none of its phases."""
    place = pytester.path / "temp"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    pytester.makeconftest(
        """
        import atexit, json, os, pathlib, sys, tempfile

        HERE = pathlib.Path(__file__).parent
        HEAVY = {"locust", "gevent", "tensorflow", "kubernetes", "docker", "yaml", "requests", "numpy"}

        def seen():
            made = [path.name for path in pathlib.Path(tempfile.gettempdir()).glob("*tfserving*")]
            return [*made, *(HEAVY & set(sys.modules))]

        def pytest_unconfigure(config):
            name = getattr(config, "workerinput", {}).get("workerid", "main")
            (HERE / f"{name}.json").write_text(json.dumps(seen()))
        """
    )
    pytester.makepyfile(
        test_it="import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n): pass\n"
    )

    run = pytester.runpytest_subprocess(*FEW_PLUGINS, "-n", "2")

    run.assert_outcomes(passed=4)
    seen = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in pytester.path.glob("*.json")}
    assert seen == {"main": [], "gw0": [], "gw1": []}
    run.stdout.no_fnmatch_line("tfserving*")
    run.stdout.no_fnmatch_line("*serving performance*")


def test_marks_of_both_owners_live_in_one_suite(project: Project) -> None:
    project.write(tests='import pytest\n@pytest.mark.slo("p95<1s")\ndef test_ours(load): ...\n')
    (project.pytester.path / "test_theirs.py").write_text(
        'import pytest\n@pytest.mark.slo("gold")\n@pytest.mark.experiments(3)\ndef test_theirs(): ...\n'
    )

    run = project.run("--collect-only", "-q")

    run.stdout.fnmatch_lines_random(["test_perf.py::test_ours[[]*", "test_theirs.py::test_theirs"])


def test_a_fixture_that_asks_for_ours_is_given_our_experiments(project: Project) -> None:
    (project.pytester.path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.fixture(scope='session')\ndef experiment(experiment):\n    return experiment\n",
        encoding="utf-8",
    )

    run = project.run("--collect-only", "-q")

    run.stdout.fnmatch_lines(["test_perf.py::test_gate[[]1cpu-1gb-1n-interop1[]]"])


LATE = (
    "*Tests are given experiments when they are collected, and this one asked for the fixture 'experiment'*"
)


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("def test_it(request):\n    request.getfixturevalue('load')\n", LATE),
        (
            "import unittest\n"
            "@pytest.mark.usefixtures('serving')\n"
            "class TestIt(unittest.TestCase):\n    def test_it(self): ...\n",
            LATE,
        ),
        (
            "@pytest.mark.parametrize('experiment', ['a'])\ndef test_it(load): ...\n",
            "*The fixture 'experiment' of this test gives 'a', which is no Experiment of pytest-tfserving*",
        ),
        (
            "@pytest.mark.parametrize('experiment', ['a'], indirect=True)\ndef test_it(serving): ...\n",
            "*The fixture 'experiment' of this test gives 'a', which is no Experiment of pytest-tfserving*",
        ),
        (
            "@pytest.fixture\ndef experiment(): return 7\ndef test_it(load): ...\n",
            "*The fixture 'experiment' of this test gives 7, which is no Experiment of pytest-tfserving*",
        ),
    ],
    ids=["by name", "unittest", "a parameter", "an indirect parameter", "a fixture"],
)
def test_our_fixtures_without_our_experiments_say_so(project: Project, test: str, said: str) -> None:
    project.write(tests=f"import pytest\n{test}")

    run = project.run()

    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines([said])
    run.stdout.no_fnmatch_line("*AttributeError*")
