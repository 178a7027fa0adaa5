"""The plugin's own hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.targets.kubernetes.objects import KubernetesObject


@pytest.hookspec
def pytest_tfserving_experiments(config: pytest.Config) -> list[Experiment] | None:
    """Return more experiments, made by code.

    Called before tests are parametrised, once for all tests that see the same implementations. The hook of a
    ``conftest.py`` is for the tests below its folder. A name that another experiment has there is an error::

        from pytest_tfserving import Experiment, LoadProfile, ServingOptions, Shape


        def pytest_tfserving_experiments(config):
            return [
                Experiment(
                    name=f"1cpu-2gb-1n-intraop{threads}",
                    shape=Shape(vcpus=1, ram_gb=2, nodes=1),
                    options=ServingOptions(intra_op=threads, inter_op=1),
                    model="resnet50",
                    payload="json",
                    profile=LoadProfile("mine", users=4, spawn_rate=4, run_time_s=20),
                )
                for threads in (1, 2)
            ]
    """


@pytest.hookspec
def pytest_tfserving_manifests(
    config: pytest.Config, experiment: Experiment, manifests: list[KubernetesObject]
) -> None:
    """Change an experiment's Kubernetes manifests, in place, before they are applied.

    Called after Kustomize and before labels and namespace are set; the Deployment ``tfserving`` must stay.
    The hook of a ``conftest.py`` is for the tests below its folder::

        def pytest_tfserving_manifests(config, experiment, manifests):
            for manifest in manifests:
                if manifest["kind"] == "Deployment":
                    pod = manifest["spec"]["template"]["spec"]
                    pod["priorityClassName"] = "measurements"
    """


@pytest.hookspec
def pytest_tfserving_result(config: pytest.Config, nodeid: str, result: Result) -> None:
    """Use the result of a run of load.

    Called after each run in the process that measured it, for any verdict; ``nodeid`` is the first test
    that requested the run.
    The hook of a ``conftest.py`` is for the tests below its folder::

        def pytest_tfserving_result(config, nodeid, result):
            print(f"{result.experiment}: {result.rps:.1f} rps")
    """
