"""Experiments rendered as objects of a cluster."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from kubernetes_schemas import problems
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.experiments.model_mix import MixedModel
from pytest_tfserving.targets.kubernetes.kustomize import Resources, Variant, own_base, render

if TYPE_CHECKING:
    from pathlib import Path

PROFILE = LoadProfile("p", users=1, spawn_rate=1.0, run_time_s=1.0)
MIX = Experiment(
    "e",
    Shape(1, 1, 1),
    ServingOptions(1, 1),
    "",
    "",
    PROFILE,
    models=(MixedModel("half", "half_plus_two", weight=2.0), MixedModel("resnet50", "resnet50")),
)


def test_two_servers_share_the_cpus_of_the_nodes_that_are_named(tmp_path: Path) -> None:
    experiment = Experiment("e", Shape(1, 1, 2), ServingOptions(1, 1), "half_plus_two", "json", PROFILE)
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


def config_of(manifests: list[Any]) -> str:
    """Return the file with the models, as it is mounted where the server's flag names it."""
    (spec,) = [each["spec"]["template"]["spec"] for each in manifests if each["kind"] == "Deployment"]
    (container,) = spec["containers"]
    assert "--model_config_file=/etc/tfs-models/models.config" in container["args"]
    (mounted,) = [each for each in container["volumeMounts"] if each["mountPath"] == "/etc/tfs-models"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == mounted["name"]]
    maps = {each["metadata"]["name"]: each["data"] for each in manifests if each["kind"] == "ConfigMap"}
    found: str = maps[volume["configMap"]["name"]]["models.config"]
    return found


def test_several_models_are_in_a_file(tmp_path: Path) -> None:
    manifests: Any = render(MIX, Variant(own_base(), "image"), tmp_path / "overlay")

    assert config_of(manifests).splitlines() == [
        "model_config_list {",
        '  config { name: "half" base_path: "/models/half" model_platform: "tensorflow" }',
        '  config { name: "resnet50" base_path: "/models/resnet50" model_platform: "tensorflow" }',
        "}",
    ]
    (spec,) = [each["spec"]["template"]["spec"] for each in manifests if each["kind"] == "Deployment"]
    assert spec["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/v1/models/half"
    assert problems(manifests) == []


def test_several_models_are_in_the_folder_of_a_base(tmp_path: Path) -> None:
    shutil.copytree(own_base(), tmp_path / "base")
    file = tmp_path / "base" / "deployment.yaml"
    variable = "            - name: MODEL_BASE_PATH\n              value: gs://mine/\n"
    file.write_text(file.read_text().replace("          env:\n", f"          env:\n{variable}"))

    manifests: Any = render(MIX, Variant(tmp_path / "base", "image"), tmp_path / "overlay")

    assert 'name: "half" base_path: "gs://mine/half"' in config_of(manifests)
