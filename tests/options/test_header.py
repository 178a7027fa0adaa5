"""``--tfserving-header``; that its secrets stay hidden is in test_header_secrets.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from harness import EXPERIMENTS

if TYPE_CHECKING:
    from harness import Project

URL = ("--tfserving-target=url", "--tfserving-url=http://127.0.0.1:9/v1/models/m")


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("hunter2", "this is not a header; write it as Authorization: Bearer ${NAME}."),
        ("Authorization: Bearer hunter2", "*header Authorization may be a secret*Authorization: ${NAME}."),
        ("x-api-key: hunter2", "the value of header x-api-key may be a secret, *x-api-key: ${NAME}."),
        ("Content-Length: 5", "header Content-Length is set by the clients of this plugin; leave it out."),
        ("a b: hunter2", "the name of a header has a character that no name may have; *"),
        ("X-A: hunter2\r\nX-B: c", "*header X-A has a line break in it; a value has visible ASCII *"),
        ("X-A: h\u00fcnter2", "the value of header X-A has a character in it that is not ASCII; *"),
        ("X-A:", "the value of header X-A is empty; *"),
        ("X-A: ${hunter2", "header X-A has a ${ that begins no variable; write it as ${NAME}."),
    ],
)
def test_a_mistake_is_one_sentence_without_the_value(project: Project, header: str, said: str) -> None:
    run = project.run(*URL, f"--tfserving-header={header}", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    pattern = said.replace("[", "[[]")
    run.stderr.fnmatch_lines([f"*--tfserving-header: {pattern}"])
    assert "hunter2" not in run.stderr.str() + run.stdout.str()


def test_a_variable_that_is_not_set_is_named(project: Project) -> None:
    project.monkeypatch.delenv("TFS_TEST_TOKEN", raising=False)

    run = project.run(*URL, "--tfserving-header=Authorization: Bearer ${TFS_TEST_TOKEN}", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: header Authorization needs the environment variable TFS_TEST_TOKEN, which is not set."]
    )


def test_a_value_with_a_line_break_is_refused_unseen(project: Project) -> None:
    project.monkeypatch.setenv("TFS_TEST_TOKEN", "hunter2\n")

    run = project.run(*URL, "--tfserving-header=Authorization: Bearer ${TFS_TEST_TOKEN}", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["*header Authorization in the environment variable TFS_TEST_TOKEN has a line break in it; *"]
    )
    assert "hunter2" not in run.stderr.str()


def test_two_headers_of_one_name_are_refused(project: Project) -> None:
    run = project.run(*URL, "--tfserving-header=X-A: 1", "--tfserving-header=x-a: 2", server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: --tfserving-header: header x-a is given twice; keep one."])


def test_runs_with_other_headers_are_other_runs(project: Project) -> None:
    planted.instead_of_load(project)
    entry = "  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: [rps>=1], name: %s, headers: {X-Tenant: %s}}\n"
    project.write(EXPERIMENTS + entry % ("a", "a") + entry % ("b", "b") + entry % ("c", "b"))

    _, results = project.results(*URL, server=False)

    # Without a header, of tenant a, and of tenant b for two experiments.
    assert len({result["identity"].get("client") for result in results}) == 3


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("headers: 'Authorization: hunter2'", "headers must be a mapping of names to values."),
        ("headers: {Authorization: hunter2}", "the value of header Authorization may be a secret, *"),
        ("headers: {X-A: [hunter2]}", "the value of header 'X-A' must be a text in quotes, or {env: NAME}."),
        ("headers: {X-A: 5}", "the value of header 'X-A' must be a text in quotes, or {env: NAME}."),
        ("headers: {X-A: {env: 'hunter 2'}}", "header X-A has a ${ that begins no variable; *"),
        ("headers: {X-A: b, x-a: c}", "header x-a is given twice; keep one."),
        ("tls: {cafile: x.pem}", "unknown key 'cafile' in tls; did you mean 'ca_file'[?]*"),
        ("tls: {key: x.pem}", "the key of tls needs a certificate."),
    ],
)
def test_a_mistake_in_the_experiments_file_is_named(project: Project, lines: str, said: str) -> None:
    project.write(f"experiments:\n- shape: 1cpu-1gb-1n\n  inter_op: 1\n  {lines}\n")

    run = project.run(*URL, server=False)

    run.stdout.fnmatch_lines([f"*experiments.yaml:4: {said}"])
    assert "hunter" not in run.stdout.str() + run.stderr.str()
