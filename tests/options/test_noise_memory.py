"""``--tfserving-noise-memory``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project

SET = "--tfserving-noise-memory=0.5"


def test_the_result_and_the_header_have_it(project: Project) -> None:
    run, (result,) = project.results(SET)

    assert result["noise_memory_s"] == 0.5
    run.stdout.fnmatch_lines(["tfserving: noise memory 0.5 s (from --tfserving-noise-memory)"])


def test_without_one_it_is_ten_seconds_however_short_the_run(project: Project) -> None:
    run, (result,) = project.results()

    assert result["noise_memory_s"] == 10
    run.stdout.fnmatch_lines(["tfserving: noise memory 10 s (the default)"])
    run.assert_outcomes(passed=1)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "long"])
def test_what_is_not_a_time_is_refused(text: str, project: Project) -> None:
    run = project.run(f"--tfserving-noise-memory={text}")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        [f"*argument --tfserving-noise-memory: '{text}' is not a duration; write it as 90, 90s, 1.5m or 1h."]
    )


def test_one_in_the_ini_file_is_refused_likewise(project: Project) -> None:
    project.pytester.makeini("[pytest]\ntfserving_noise_memory = 0s\n")

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: tfserving_noise_memory in */tox.ini: '0s' is not a duration; *"])


@pytest.mark.parametrize(
    ("argument", "ini", "place"),
    [
        ("--tfserving-noise-memory=1m", "", "--tfserving-noise-memory"),
        ("-v", "tfserving_noise_memory = 60s\n", "tfserving_noise_memory in the ini file"),
    ],
)
def test_one_longer_than_the_run_is_refused(argument: str, ini: str, place: str, project: Project) -> None:
    project.pytester.makeini(f"[pytest]\n{ini}")

    run = project.run(argument)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        [
            f"{place} is 60 s, longer than the 1.2 s that load profile 'tiny' runs; "
            "set at most 1.2 s, or a longer --tfserving-run-time."
        ]
    )
