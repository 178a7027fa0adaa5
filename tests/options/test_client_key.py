"""``--tfserving-client-key``; connections with it are in protocols/test_client_access.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project

URL = ("--tfserving-target=url", "--tfserving-url=https://127.0.0.1:9/v1/models/m")


def test_it_needs_a_certificate(project: Project) -> None:
    run = project.run(*URL, "--tfserving-client-key=client.key", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: --tfserving-client-key needs --tfserving-client-certificate."])
