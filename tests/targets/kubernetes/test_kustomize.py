"""Experiments rendered as objects of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.targets.kubernetes.kustomize import Resources, Variant, own_base, render

if TYPE_CHECKING:
    from pathlib import Path


def test_two_servers_share_the_cpus_of_the_nodes_that_are_named(tmp_path: Path) -> None:
    profile = LoadProfile("p", users=1, spawn_rate=1.0, run_time_s=1.0)
    experiment = Experiment("e", Shape(1, 1, 2), ServingOptions(1, 1), "half_plus_two", "json", profile)
    resources = Resources(1.0, 2**30)
    variant = Variant(own_base(), "image", 2, resources, nodes=("a", "b"), for_two=True)

    manifests: Any = render(experiment, variant, tmp_path / "overlay")

    (pod,) = [each["spec"]["template"]["spec"] for each in manifests if each["kind"] == "Deployment"]
    (container,) = pod["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "1024Mi"},
        "limits": {"cpu": "1", "memory": "1024Mi"},
    }
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    names = [each["matchFields"][0]["values"] for each in required["nodeSelectorTerms"]]
    assert names == [["a"], ["b"]]
    assert "podAntiAffinity" in pod["affinity"]
