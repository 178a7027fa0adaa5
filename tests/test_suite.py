"""The test suite itself, as pyproject.toml and conftest.py set it up."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import FEW_PLUGINS

ROOT = Path(__file__).parents[1]
BOTH = pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
NEEDY = """
import pytest

@pytest.mark.parametrize("number", range(5))
@pytest.mark.needs("docker", "kubernetes")
def test_on_an_engine(number):
    raise AssertionError

def test_anywhere():
    pass
"""

SUPPORT = "needs", "control_groups"


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A test suite that is set up as this one, on a machine without an engine."""
    for name in ("pyproject.toml", "conftest.py", *(f"tests/support/{each}.py" for each in SUPPORT)):
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/engine.sock")
    monkeypatch.delenv("TFSERVING_E2E", raising=False)
    return pytester


@BOTH
def test_two_modules_of_one_name_are_collected(suite: pytest.Pytester, workers: tuple[str, ...]) -> None:
    for folder in ("one", "two"):
        (suite.path / "tests" / folder).mkdir()
        (suite.path / "tests" / folder / "test_same.py").write_text(f"def test_{folder}():\n    pass\n")

    suite.runpytest_subprocess(*FEW_PLUGINS, *workers).assert_outcomes(passed=2)


@BOTH
def test_what_cannot_run_here_is_one_line(suite: pytest.Pytester, workers: tuple[str, ...]) -> None:
    (suite.path / "tests" / "test_needy.py").write_text(NEEDY)

    run = suite.runpytest_subprocess(*FEW_PLUGINS, *workers)

    run.assert_outcomes(passed=1, deselected=0 if workers else 5)
    (line,) = [line for line in run.outlines if "docker" in line]
    assert line == "5 tests are left out: 5 need docker (no engine answers); see tests/README.md"


@BOTH
def test_what_must_be_there_fails_where_it_is_not(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    (suite.path / "tests" / "test_needy.py").write_text(NEEDY)
    monkeypatch.setenv("TFSERVING_E2E", "docker,kubernetes")

    run = suite.runpytest_subprocess(*FEW_PLUGINS, *workers)

    run.assert_outcomes(passed=1, errors=5)
    run.stdout.fnmatch_lines(["TFSERVING_E2E asks for docker: no engine answers; see tests/README.md"])
    run.stdout.no_fnmatch_line("*left out*")
