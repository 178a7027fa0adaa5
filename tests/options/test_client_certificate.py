"""``--tfserving-client-certificate``; connections with it are in protocols/test_client_access.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project

URL = ("--tfserving-target=url", "--tfserving-url=https://127.0.0.1:9/v1/models/m")


def test_a_file_without_a_certificate_is_named(project: Project) -> None:
    (project.pytester.path / "client.pem").write_text("nothing")

    run = project.run(*URL, "--tfserving-client-certificate=client.pem", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: the client certificate *client.pem cannot be used: *"])
