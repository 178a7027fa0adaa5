"""``--tfserving-ca-file``; connections with it are in protocols/test_client_access.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project

URL = "--tfserving-url={}://127.0.0.1:9/v1/models/m"


def refused(project: Project, scheme: str, *options: str) -> pytest.RunResult:
    run = project.run("--tfserving-target=url", URL.format(scheme), *options, server=False)
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    return run


def test_a_file_that_is_not_there_is_named(project: Project) -> None:
    run = refused(project, "https", "--tfserving-ca-file=none.pem")

    run.stderr.fnmatch_lines(["ERROR: --tfserving-ca-file: there is no file *none.pem."])


def test_a_file_without_a_certificate_is_named(project: Project) -> None:
    (project.pytester.path / "ca.pem").write_text("nothing")

    run = refused(project, "https", "--tfserving-ca-file=ca.pem")

    run.stderr.fnmatch_lines(["ERROR: the CA file *ca.pem has no certificate in PEM format."])


def test_an_address_without_tls_is_a_mistake(project: Project) -> None:
    (project.pytester.path / "ca.pem").write_text("nothing")

    run = refused(project, "http", "--tfserving-ca-file=ca.pem")

    run.stderr.fnmatch_lines(["ERROR: --tfserving-url: http://* is without TLS, *; write it as https://."])
