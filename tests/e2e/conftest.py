"""Real engines for the tests of this folder. Tests of one engine take turns: each looks for leftovers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import pytest

from kubectl import Kubectl
from needs import IMAGE, LOAD_IMAGE, context, run_given
from newcomer import built_wheel
from pytest_tfserving.models.store import cache_folder, exported
from pytest_tfserving.system.private_folder import private_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

    from harness import Project

_IN_CLUSTER = re.compile(
    r"/test_(kubernetes_\w+|load_in_cluster|never_ready|overlays|rbac|replicas|tutorial)\.py::|\bkubernetes\]$"
)
_BAKED = "pytest-tfserving-e2e:models"
# Pytester gives tests a home of their own.
_CACHE = cache_folder()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Give all tests of one engine to one worker where `--dist=loadscope` is given: others would but wait."""
    from xdist.scheduler import LoadScopeScheduling

    class ByEngine(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types for it
        """Tests that use the cluster, and all others."""

        def _split_scope(self, nodeid: str) -> str:
            return "cluster" if _IN_CLUSTER.search(nodeid) else "machine"

    return ByEngine(config, log) if config.getoption("dist") == "loadscope" else None


def _engine_of(item: pytest.Item) -> str:
    needs = {name for mark in item.iter_markers("needs") for name in mark.args}
    return "cluster" if "kubernetes" in needs else "machine"


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """No other test of the same engine runs meanwhile, not even in another worker of pytest-xdist."""
    lock = f"pytest-tfserving-e2e-{_engine_of(request.node)}.lock"
    with filelock.FileLock(private_folder(Path(tempfile.gettempdir())) / lock):
        yield


@pytest.fixture
def project(project: Project) -> Project:
    """A project whose pytest runs in a process of its own, as a user's does."""
    project.apart = True
    return project


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A Docker Engine that has this project's image."""
    import docker

    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def cluster(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory, greedy: Path) -> Kubectl:
    """A cluster whose nodes have this project's image, with every model of these tests in it."""
    image = _with_models(engine, tmp_path_factory.mktemp("baked"), greedy)
    found = Kubectl(context(), image)
    nodes = found.items("nodes")
    if not all(_has_image(node, image) for node in nodes):
        assert os.environ.get(LOAD_IMAGE), f"{LOAD_IMAGE} names no command to bring {image} onto the nodes"
        run_given(LOAD_IMAGE, image)
    return found


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return built_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def resnet50() -> Path:
    """A SavedModel whose load takes a second."""
    return _from_cache("resnet50")


@pytest.fixture(scope="session")
def half_plus_two() -> Path:
    """A SavedModel that answers at once."""
    return _from_cache("half_plus_two")


def _from_cache(name: str) -> Path:
    """Return a model of this package from the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_TFSERVING_CACHE", str(_CACHE))
        return exported(name, print)


def _with_models(engine: docker.DockerClient, folder: Path, greedy: Path) -> str:
    """Bake all models into one image; its tag changes with what is in it."""
    broken = folder / "broken" / "1"
    broken.mkdir(parents=True)
    (broken / "saved_model.pb").write_bytes(b"no model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_TFSERVING_CACHE", str(_CACHE))
        for name in ("resnet50", "half_plus_two"):
            (folder / name).symlink_to(exported(name, print))
    (folder / "greedy").symlink_to(greedy)
    image = IMAGE
    for name in ("resnet50", "half_plus_two", "greedy", "broken"):
        command = [sys.executable, "-m", "pytest_tfserving.cli", "bake", image, str(folder / name), _BAKED]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        image = _BAKED
    built = engine.images.get(_BAKED)
    repository, tag = _BAKED.partition(":")[0], built.short_id.removeprefix("sha256:")
    built.tag(repository, tag)
    return f"{repository}:{tag}"


def _has_image(node: dict[str, Any], image: str) -> bool:
    names = [name for each in node["status"].get("images") or () for name in each.get("names") or ()]
    return any(name.endswith(f"/{image}") or name == image for name in names)


@pytest.fixture(scope="session")
def greedy(shared: Path) -> Path:
    """A SavedModel that takes as much RAM as it is asked to; exported once for all processes of a run."""
    folder = shared / "greedy"
    with filelock.FileLock(f"{folder}.lock"):
        if not folder.exists():
            command = [sys.executable, str(Path(__file__).with_name("greedy_model.py")), str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    return folder
