"""``--tfserving-target`` and the options that go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project

URL = "http://127.0.0.1:1/v1/models/m"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--tfserving-target=cloud"],
            "*--tfserving-target: 'cloud' is not one of: local, docker, kubernetes, url.",
        ),
        (["--tfserving-target=url"], "ERROR: --tfserving-target=url needs --tfserving-url http*"),
        (
            [f"--tfserving-url={URL}"],
            "ERROR: --tfserving-url goes with --tfserving-target=url, not with target 'local'.",
        ),
        (
            ["--tfserving-target=url", f"--tfserving-url={URL}", "--tfserving-server=x"],
            "ERROR: --tfserving-server goes with --tfserving-target=local, not with target 'url'.",
        ),
        (
            ["--tfserving-target=url", "--tfserving-url=host"],
            "ERROR: --tfserving-url: 'host' is not the address of a model; write it as http*",
        ),
        (["--tfserving-unfit=pass"], "*argument --tfserving-unfit: 'pass' is not one of: smoke, skip, fail."),
        (["--tfserving-inconclusive=no"], "*--tfserving-inconclusive: 'no' is not one of: warn, fail."),
        (["--tfserving-ui=web"], "*argument --tfserving-ui: 'web' is not one of: live, simple, none."),
        (["--tfserving-ready-timeout=0"], "*argument --tfserving-ready-timeout: '0' is not a duration*"),
    ],
)
def test_a_mistaken_option_is_named(project: Project, arguments: list[str], message: str) -> None:
    run = project.run(*arguments, server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([message])
