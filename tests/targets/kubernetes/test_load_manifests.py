"""Where load comes from: the Jobs of a cluster, and what is asked of processes wherever they are."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from kubernetes_schemas import problems
from pytest_tfserving import __version__
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.experiment import LoadPods, NodeRequirements
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.targets.common.ownership import RUN, OwnershipLabels
from pytest_tfserving.targets.kubernetes.load_manifests import (
    MASTER,
    WORKERS,
    LoadJobs,
    labels,
    locustfile_map,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment, Endpoint
    from pytest_tfserving.deployment.load_messages import FirstMessage
    from pytest_tfserving.targets.kubernetes.objects import Job

TAGS = OwnershipLabels("an-experiment")


def jobs(
    workers: int, pods: LoadPods | None = None, *, indexed: bool = True, locustfile: str = ""
) -> dict[str, Job]:
    """The Jobs of some workers, by name."""
    made = LoadJobs("image:1", workers, pods or LoadPods(), indexed, locustfile)
    return {each["metadata"]["name"]: each for each in made.manifests(TAGS)}


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("locustfile", ["", "locustfile.py"])
def test_jobs_are_valid_for_every_current_kubernetes(workers: int, locustfile: str, *, indexed: bool) -> None:
    made = jobs(workers, indexed=indexed, locustfile=locustfile)

    assert problems([*made.values(), locustfile_map("locustfile.py", "import locust\n", TAGS)]) == []


def test_several_workers_have_a_master() -> None:
    assert set(jobs(1)) == {WORKERS}
    made = jobs(3)
    assert set(made) == {WORKERS, MASTER}
    assert (made[WORKERS]["spec"]["completions"], made[MASTER]["spec"]["completions"]) == (3, 1)


def test_load_pods_are_none_of_the_servers() -> None:
    pod = jobs(1)[WORKERS]["spec"]["template"]

    assert pod["metadata"]["labels"] == labels(WORKERS, TAGS)
    assert RUN not in pod["metadata"]["labels"]
    servers = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": TAGS.labels}}
    away = [{"weight": 100, "podAffinityTerm": servers}]
    assert pod["spec"]["affinity"] == {
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": away}
    }


def test_they_are_where_and_as_large_as_the_file_says() -> None:
    nodes = NodeRequirements({"pool": "load"}, ({"key": "load", "operator": "Exists"},))
    pod = jobs(1, pods=LoadPods(nodes, "500m", "256Mi"))[WORKERS]["spec"]["template"]["spec"]

    size = {"cpu": "500m", "memory": "256Mi"}
    assert pod["nodeSelector"] == {"pool": "load"}
    assert pod["tolerations"] == [{"key": "load", "operator": "Exists"}]
    assert pod["containers"][0]["resources"] == {"requests": size, "limits": size}


class Process:
    """A load process that has written its first message."""

    sink = ""

    def __init__(self, folder: Path, first: FirstMessage) -> None:
        self.records = folder / "records"
        self.ready = threading.Event()
        self.ready.set()
        self.first: FirstMessage | None = first

    def write(self, text: str) -> None:
        """Read nothing."""

    def end(self) -> None:
        """Have ended."""

    def death(self) -> str:
        """Live."""
        return ""


@dataclass
class Team:
    """One process."""

    workers: Sequence[Process]
    master: None = None

    def master_address(self) -> tuple[str, int]:
        """Return what nobody asks for."""
        raise NotImplementedError


class Elsewhere:
    """A host of one process that was there before."""

    start_s, silence_s, same_clock = 60.0, 15.0, True

    def __init__(self, process: Process) -> None:
        self._process = process

    def most_processes(self, _: Deployment) -> int:
        """Return one."""
        return 1

    def endpoints(self, deployment: Deployment) -> Sequence[Endpoint]:
        """Return the addresses of the replicas."""
        return deployment.loaded

    def team(self, *_: object, **__: object) -> AbstractContextManager[Team]:
        """Return the process alone."""
        return nullcontext(Team([self._process]))


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (
            {"event": "ready", "version": "0.0.1"},
            f"load comes from pytest-tfserving 0.0.1, and this is {__version__}",
        ),
        (
            {"event": "refused", "text": "no load from the cluster: no room", "details": ""},
            "no load from the cluster: no room",
        ),
    ],
)
def test_what_cannot_make_load_is_refused(tmp_path: Path, first: FirstMessage, problem: str) -> None:
    place = Elsewhere(Process(tmp_path, first))

    with LoadGenerator(tmp_path, place=place) as child, pytest.raises(ConfigurationError, match=problem):
        child.wait_until_ready()
