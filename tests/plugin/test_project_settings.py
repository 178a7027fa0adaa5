"""Commands have the settings that a run of pytest in the same folder would have."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.cli import main
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.project_settings import project_settings

if TYPE_CHECKING:
    from pathlib import Path

KUBERNETES = {"target": "kubernetes"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that is the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return tmp_path


def ini(folder: Path, *lines: str) -> None:
    (folder / "pytest.ini").write_text("\n".join(["[pytest]", *lines]), encoding="utf-8")


def test_values_come_from_the_ini_file(folder: Path) -> None:
    ini(folder, "tfserving_allowed_contexts =", "  one", "  two", "tfserving_namespace = perf")

    found = project_settings(KUBERNETES)

    assert (found.allowed_contexts, found.namespace) == (("one", "two"), "perf")


def test_the_ini_file_is_found_from_a_folder_below(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\ntfserving_kubeconfig = "k.yaml"\n')
    (folder / "below").mkdir()
    monkeypatch.chdir(folder / "below")

    assert project_settings(KUBERNETES).kubeconfig == folder / "k.yaml"


def test_given_values_beat_addopts_which_beat_the_ini_value(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini(folder, "tfserving_namespace = ini", "addopts = -p no:cacheprovider --tfserving-namespace addopts")
    assert project_settings(KUBERNETES).namespace == "addopts"

    monkeypatch.setenv("PYTEST_ADDOPTS", "--tfserving-namespace=environment")
    assert project_settings(KUBERNETES).namespace == "environment"
    assert project_settings({**KUBERNETES, "namespace": "given"}).namespace == "given"


def test_a_project_whose_tests_cannot_be_collected_has_settings(folder: Path) -> None:
    ini(
        folder,
        "tfserving_namespace = perf",
        "required_plugins = pytest-that-is-not-installed",
        "addopts = --option-of-the-conftest",
    )
    (folder / "conftest.py").write_text("raise SystemError\n", encoding="utf-8")

    assert project_settings(KUBERNETES).namespace == "perf"


@pytest.mark.parametrize(
    ("lines", "given", "problem"),
    [
        (
            ["tfserving_users = x"],
            {},
            "tfserving_users in *pytest.ini: 'x' is not a whole number of 1 or more.",
        ),
        (["addopts = --tfserving-users=x"], {}, "addopts: *: 'x' is not a whole number of 1 or more."),
        (["minversion = 99"], {}, "*pytest.ini: 'minversion' requires pytest-99, *"),
        (["no value"], {}, "*pytest.ini:2: *"),
        ([], {"target": "nowhere"}, "'nowhere' is not one of: *"),
        ([], {"target": "docker", "namespace": "n"}, "--tfserving-namespace goes with *"),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: Path, lines: list[str], given: dict[str, str], problem: str
) -> None:
    ini(folder, *lines)

    with pytest.raises(ConfigurationError) as caught:
        project_settings(given)

    assert fnmatchcase(str(caught.value), problem)
    assert "\n" not in str(caught.value)


def test_cleanup_reports_a_mistake_in_the_ini_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ini(folder, "tfserving_users = x")

    assert main(["cleanup", "--target", "docker"]) == 2
    assert "'x' is not a whole number of 1 or more." in capsys.readouterr().err
