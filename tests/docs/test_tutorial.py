"""Pages for newcomers: their commands are run one after the other, and print what the page shows."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import planted_results
from harness import RESULT
from pytest_tfserving.cli import doctor_checks
from pytest_tfserving.cli.doctor_checks import Finding
from pytest_tfserving.targets.docker import bake
from pytest_tfserving.targets.url import UrlTarget
from server_process import Server
from tutorials import DOCS, TUTORIALS, follow, steps

if TYPE_CHECKING:
    from harness import Project
    from idle_cluster import IdleCluster
    from pytest_tfserving.experiments.load_profile import LoadProfile

_MOST_COMMANDS = 15
_DEPLOY_URL = UrlTarget.deploy


@pytest.fixture
def empty(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project of a newcomer, who has nothing; runs of load have planted results."""
    folder = project.pytester.path
    shutil.rmtree(folder / "models")
    for name in ("experiments.yaml", "test_perf.py", "request.json"):
        (folder / name).unlink()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    planted_results.instead_of_load(project, _planted)
    return project


def _planted(_: LoadProfile) -> dict[str, Any]:
    return {"rps": 1000.0, "p50_ms": 3.0, "baseline": RESULT.baseline}


def test_there_are_three_pages() -> None:
    assert [page.stem for page in TUTORIALS] == ["cluster", "endpoint", "laptop"]


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_the_commands_are_few(page: Path) -> None:
    assert len([command for step in steps(page) for command in step.commands]) <= _MOST_COMMANDS


@pytest.fixture
def with_models(empty: Project, newcomers: Path) -> Project:
    """A project of a newcomer with SavedModels."""
    models = empty.pytester.path / "models"
    shutil.copytree(newcomers, models)
    (models / "strings").rename(models / "mine")
    return empty


def test_each_command_on_three_models_prints_what_the_page_shows(with_models: Project) -> None:
    follow(with_models, steps(DOCS / "start.md", "### Three models"))


def test_each_command_on_a_laptop_prints_what_the_page_shows_and_leads_to_a_gate(
    with_models: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "a newcomer")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "newcomer@example.org")
    git("init", "--quiet")

    follow(with_models, steps(DOCS / "tutorial" / "laptop.md"))

    # As a runner of GitHub does for a pull request, with what was committed only.
    git("clone", "--quiet", ".", "checkout")
    monkeypatch.chdir(with_models.pytester.path / "checkout")
    workflow = yaml.safe_load(Path(".github/workflows/serving-performance.yml").read_text(encoding="utf-8"))
    runs = [each.get("run", "") for each in workflow["jobs"]["serving-performance"]["steps"]]
    (gate,) = [run.removeprefix("python -m pytest ") for run in runs if run.startswith("python -m pytest ")]
    assert with_models.run(*shlex.split(gate), server=False).ret == pytest.ExitCode.OK
    assert {path.name for path in Path().glob("serving.*")} == {"serving.html", "serving.xml"}
    planted_results.instead_of_load(with_models, lambda _: {**_planted(_), "p50_ms": 300.0})
    assert with_models.run(*shlex.split(gate), server=False).ret == pytest.ExitCode.TESTS_FAILED


def git(*arguments: str) -> None:
    """Run git."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_each_command_on_an_endpoint_prints_what_the_page_shows(
    empty: Project, half_plus_two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted_results.instead_of_load(empty, lambda _: {"p50_ms": 3.0})
    # The server is real, only the load is not.
    monkeypatch.setattr(UrlTarget, "deploy", _DEPLOY_URL)
    with Server("mine", half_plus_two) as server:
        follow(
            empty,
            steps(DOCS / "tutorial" / "endpoint.md"),
            lambda text: text.replace("127.0.0.1:8501", f"127.0.0.1:{server.port}"),
        )

    path = empty.pytester.path
    assert all((path / name).exists() for name in ("report.html", "report.xml", ".tfserving"))


def test_each_command_on_a_cluster_prints_what_the_page_shows(
    empty: Project,
    cluster: IdleCluster,
    model_cache: Path,
    half_plus_two: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert half_plus_two.is_relative_to(model_cache)
    engine = Finding("engine", True, "Docker 27.5.1 at unix:///var/run/docker.sock")
    images = SimpleNamespace(build=lambda **_: (SimpleNamespace(id="sha256:01"), None))
    base = SimpleNamespace(attrs={})
    built_by = SimpleNamespace(image=lambda *_: base, client=SimpleNamespace(images=images))
    monkeypatch.setattr(bake, "connect", lambda: nullcontext(built_by))
    monkeypatch.setattr(doctor_checks, "_engine", lambda: engine)
    monkeypatch.setattr(
        doctor_checks, "_noise", lambda _: [doctor_checks._steal(0.0), doctor_checks._gate(45.0)]
    )

    follow(empty, steps(DOCS / "tutorial" / "cluster.md"))

    assert not cluster.applied  # the load is planted
