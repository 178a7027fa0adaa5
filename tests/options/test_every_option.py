"""What holds for every option: its ini twin, its help, who wins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from pytest_tfserving.plugin.options import OPTIONS, Option

if TYPE_CHECKING:
    from harness import Project


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_it_is_in_the_help_with_its_default_and_twin(option: Option, help_text: str) -> None:
    assert option.flag in help_text
    assert f"Default value for {option.flag}" in help_text
    assert option.full_help in help_text


@pytest.fixture(scope="module")
def help_text() -> str:
    import subprocess
    import sys

    command = [sys.executable, "-m", "pytest", "--help", "-p", "no:locust"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    return " ".join(shown.stdout.split())


def test_the_ini_file_counts(project: Project) -> None:
    planted.instead_of_load(project)
    project.pytester.makeini("[pytest]\ntfserving_users = 1\ntfserving_json = ini.json\n")

    project.run().assert_outcomes(passed=1)

    assert '"users": 1' in (project.pytester.path / "ini.json").read_text(encoding="utf-8")


def test_a_mistaken_ini_value_is_named_with_its_file(project: Project) -> None:
    project.pytester.makeini("[pytest]\ntfserving_users = lots\n")

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: tfserving_users in */tox.ini: 'lots' is not a whole number of 1 or more."]
    )


def test_call_beats_command_line_beats_mark_beats_ini_beats_experiment(project: Project) -> None:
    planted.instead_of_load(project)
    project.pytester.makeini("[pytest]\ntfserving_users = 3\ntfserving_spawn_rate = 5\n")
    project.write(
        tests="import pytest\n"
        "def test_ini(load):\n    assert load().users == 3\n"
        "@pytest.mark.load_profile(users=4)\n"
        "def test_mark(load):\n    result = load()\n"
        "    assert (result.users, result.profile['spawn_rate']) == (4, 5)\n"
        "def test_call(load):\n    assert load(users=5).users == 5\n"
    )

    project.run().assert_outcomes(passed=3)
    project.run("--tfserving-users=2", "-k", "mark or call").assert_outcomes(passed=1, failed=1)
