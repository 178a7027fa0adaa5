"""Which cluster a run would touch, and what is said of one that it cannot; nothing here needs a cluster."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest
import yaml

from kubeconfigs import NOWHERE, config
from pytest_tfserving.targets.kubernetes.context import kubeconfig_paths, pinned

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project

KUBERNETES = "--tfserving-target=kubernetes"
ALLOWED = "-otfserving_allowed_contexts=far"


@pytest.fixture
def kubeconfig(project: Project) -> Path:
    path = project.pytester.path / "kubeconfig"
    path.write_text(yaml.safe_dump(config()))
    project.monkeypatch.setenv("KUBECONFIG", str(path))
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--tfserving-kubeconfig=none"],
            "no kubeconfig at *none; name one with --tfserving-kubeconfig, or export KUBECONFIG=FILE*",
        ),
        (["--tfserving-context=kind-on"], "no context 'kind-on' in *; did you mean 'kind-one'?*"),
        (
            ["--tfserving-context=far"],
            "context 'far' may not be deployed to: it is neither a local one (kind-[*], minikube, k3d-[*], "
            "docker-desktop) nor listed in the ini value tfserving_allowed_contexts; to allow it, add "
            "-o tfserving_allowed_contexts=far to the command, or this line to pytest.ini: "
            "tfserving_allowed_contexts = far",
        ),
        (["--tfserving-context=kind-broken"], "context 'kind-broken' in * refers to 'three', which is *"),
    ],
)
def test_a_cluster_that_is_not_to_be_touched_is_refused_before_any_test(
    project: Project, kubeconfig: Path, options: list[str], said: str
) -> None:
    assert kubeconfig.exists()

    run = project.run(KUBERNETES, *options, server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {said}"])
    run.assert_outcomes()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "* is not a kubeconfig: while parsing *"),
        ("- a", "* is not a kubeconfig: it is not a mapping."),
        ("{}", "* has no current context (its contexts: none); choose one with --tfserving-context, *"),
        ("{current-context: kind-one, contexts: 5}", "no context 'kind-one' in *"),
    ],
)
def test_a_kubeconfig_that_is_none_is_refused(
    project: Project, kubeconfig: Path, text: str, said: str
) -> None:
    kubeconfig.write_text(text)

    run = project.run(KUBERNETES, server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {said}"])


@pytest.mark.parametrize(
    ("context", "shown"), [("kind-one", []), ("far", [ALLOWED]), ("far", ["-otfserving_allowed_contexts=f*"])]
)
def test_an_api_server_that_is_away_is_said_in_one_sentence(
    project: Project, kubeconfig: Path, context: str, shown: list[str]
) -> None:
    assert kubeconfig.exists()

    run = project.run(KUBERNETES, f"--tfserving-context={context}", *shown, server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        [f"tfserving: 1 experiment, target kubernetes: * in context {context} at {NOWHERE}"]
    )
    run.stdout.fnmatch_lines(
        [f"the API server of context {context} at {NOWHERE} does not answer: Connection refused"]
    )
    run.stdout.no_fnmatch_line("*Traceback*")


def test_an_experiment_without_a_shape_is_a_usage_error(project: Project, kubeconfig: Path) -> None:
    assert kubeconfig.exists()
    project.write("experiments: [{model: half_plus_two}]")

    run = project.run(KUBERNETES, server=False)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: experiment 'half_plus_two' has no shape, which a cluster needs; *"])


def test_what_happens_to_the_kubeconfig_later_moves_nothing(kubeconfig: Path) -> None:
    found = pinned([kubeconfig], "", [])

    kubeconfig.write_text(yaml.safe_dump(config("far", server="http://elsewhere")))

    assert (found.name, found.server) == ("kind-one", NOWHERE)
    assert [each["name"] for each in found.kubeconfig["contexts"]] == ["kind-one"]
    assert [each["name"] for each in found.kubeconfig["clusters"]] == ["kind-one"]


def test_credentials_are_not_shown(kubeconfig: Path) -> None:
    kubeconfig.write_text(yaml.safe_dump(config(token="secret")))

    assert "secret" not in repr(pinned([kubeconfig], "", []))


def test_of_two_files_the_first_counts_and_paths_are_relative_to_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / "a" / "config", tmp_path / "b" / "config"]
    for path, server in zip(paths, ("http://a", "http://b"), strict=True):
        path.parent.mkdir()
        path.write_text(yaml.safe_dump(config(server=server, tokenFile="token")))
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, paths)))

    found = pinned(kubeconfig_paths(None), "kind-one", [])

    assert found.server == "http://a"
    assert found.kubeconfig["users"][0]["user"]["tokenFile"] == str(tmp_path / "a" / "token")


def test_a_plugin_without_settings_is_said_in_one_sentence(project: Project, kubeconfig: Path) -> None:
    kubeconfig.write_text(yaml.safe_dump(config(exec="login")))

    run = project.run(KUBERNETES, server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["context 'kind-one' cannot be used: its exec is not a mapping."])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_a_plugin_that_gives_no_credentials_is_said_in_one_sentence(
    project: Project, kubeconfig: Path
) -> None:
    plugin = project.pytester.path / "login"
    plugin.write_text("#!/bin/sh\necho please log in >&2\nexit 1\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    asked = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    kubeconfig.write_text(yaml.safe_dump(config(exec=asked)))

    run = project.run(KUBERNETES, server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["context 'kind-one' cannot be used: its plug-in '*/login' gave no credentials; run it to see why."]
    )
    run.stdout.no_fnmatch_line("*Traceback*")
