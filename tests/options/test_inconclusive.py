"""``--tfserving-inconclusive``; for figures that a test reads, plugin/test_given.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from harness import JUDGED_AT_ONCE, STEADY

if TYPE_CHECKING:
    from harness import Project


def test_too_few_requests_are_inconclusive(project: Project) -> None:
    test = 'import pytest\n@pytest.mark.slo("p99.9<10s")\ndef test_p(load):\n    load().check()\n'
    project.write(JUDGED_AT_ONCE, test)

    warned = project.run(STEADY, "-W", "default")
    failed = project.run("--tfserving-inconclusive=fail")

    warned.assert_outcomes(passed=1, warnings=1)
    warned.stdout.fnmatch_lines(
        [
            "*INCONCLUSIVE: p99.9<10s: *undecided (alpha 0.01), since there were too few requests: "
            "about * s more (--tfserving-run-time) would likely decide it"
        ]
    )
    failed.assert_outcomes(failed=1)


def test_a_mistaken_value_is_named(project: Project) -> None:
    run = project.run("--tfserving-inconclusive=no")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*argument --tfserving-inconclusive: 'no' is not one of: warn, fail."])
