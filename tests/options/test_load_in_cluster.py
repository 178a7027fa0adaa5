"""``--tfserving-load-in-cluster``; tests/e2e/test_load_in_cluster.py loads from Pods."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from fake_cluster import FakeCluster
from pytest_tfserving.deployment.deployment import Endpoint
from pytest_tfserving.experiments.experiment import LoadPods
from pytest_tfserving.targets.common.ownership import OwnershipLabels
from pytest_tfserving.targets.kubernetes.load_pods import PodHost
from pytest_tfserving.targets.local import LocalTarget
from server_process import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Project
    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.targets.common.request import DeploymentRequest


def test_a_target_without_a_cluster_refuses_it(project: Project) -> None:
    run = project.run("--tfserving-load-in-cluster")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: --tfserving-load-in-cluster goes with --tfserving-target=kubernetes, not with *'local'."]
    )


def test_it_takes_no_value(project: Project) -> None:
    run = project.run("--tfserving-load-in-cluster=maybe")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*--tfserving-load-in-cluster: ignored explicit argument 'maybe'"])


def test_the_ini_files_is_yes_or_no(project: Project) -> None:
    project.pytester.makeini("[pytest]\ntfserving_load_in_cluster = maybe\n")

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(
        ["ERROR: tfserving_load_in_cluster in */tox.ini: 'maybe' is not one of: yes, no."]
    )


def test_a_switch_that_is_off_is_no_use_of_it(project: Project) -> None:
    planted.instead_of_load(project)
    project.pytester.makeini("[pytest]\ntfserving_load_in_cluster = no\n")

    project.run().assert_outcomes(passed=1)


def test_a_server_that_only_load_pods_cannot_reach_is_not_blamed(project: Project) -> None:
    address, deploy = Endpoint("127.0.0.1", free_port()), LocalTarget.deploy

    @contextmanager
    def deployed(target: LocalTarget, order: DeploymentRequest) -> Iterator[Deployment]:
        """A deployment whose load comes from a Pod, for which the server has another address."""
        with deploy(target, order) as found, FakeCluster() as cluster:
            inside = {"rest": (address,)}
            pods = LoadPods()
            place = PodHost(
                cluster.connect(), "n", OwnershipLabels("e"), inside, "mine:1", pods, start_s=60.0
            )
            yield replace(found, load_place=place)

    project.monkeypatch.setattr(LocalTarget, "deploy", deployed)

    run, (result,) = project.results()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([f"*load Pods cannot reach {address.address} (refused: NetworkPolicy[?])*"])
    assert (result["verdict"], result["total_requests"]) == ("INVALID", 0)
