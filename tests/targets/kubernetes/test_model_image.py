"""Images that cannot have the model, and the commands that make one and bring it to the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.model_mix import MixedModel
from pytest_tfserving.targets.kubernetes.model_image import bring_command, check_brings_models

if TYPE_CHECKING:
    from harness import Project
    from idle_cluster import IdleCluster

KUBERNETES = ("--tfserving-target=kubernetes", "--tfserving-ready-timeout=0.1")


def manifests(image: str, **container: object) -> list[Any]:
    spec = {"containers": [{"name": "serving", "image": image, **container}]}
    return [
        {"kind": "Deployment", "metadata": {"name": "tfserving"}, "spec": {"template": {"spec": spec}}},
    ]


def test_the_default_image_is_refused_before_anything_is_created(
    project: Project, cluster: IdleCluster
) -> None:
    run = project.run(*KUBERNETES, server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        [
            "the image tensorflow/serving:2.19.1 has no model in it, and nothing in the manifests brings "
            "one; make an image with the model and name it with --tfserving-image=half:1: "
            "pytest-tfserving bake tensorflow/serving:2.19.1 models/half half:1"
        ]
    )
    assert not cluster.applied


@pytest.mark.parametrize(
    "image",
    [
        "tensorflow/serving",
        "docker.io/tensorflow/serving:latest-gpu",
        "mirror.gcr.io/tensorflow/serving:2.19.1",
        "tensorflow/serving@sha256:0123456789abcdef",
    ],
)
def test_tensorflow_servings_own_images_have_no_model(image: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_brings_models(manifests(image), [MixedModel("half_plus_two", "half_plus_two")], "gke_study")

    assert str(caught.value).endswith(f"pytest-tfserving bake {image} half_plus_two REGISTRY/half_plus_two:1")


def test_the_file_with_several_models_brings_none_of_them() -> None:
    brought = manifests(
        "tensorflow/serving",
        args=["--model_config_file=/etc/tfs-models/models.config"],
        volumeMounts=[{"name": "models-config", "mountPath": "/etc/tfs-models"}],
    )
    models = [MixedModel("a", "./models/a"), MixedModel("resnet", "resnet50")]

    with pytest.raises(ConfigurationError) as caught:
        check_brings_models(brought, models, "kind-one")

    assert str(caught.value).endswith(
        "make an image with the models and name it with --tfserving-image=a-resnet:1: "
        "pytest-tfserving bake tensorflow/serving ./models/a resnet50 a-resnet:1"
    )


@pytest.mark.parametrize(
    "container",
    [
        {"image": "registry.example/tensorflow/serving:1"},
        {"image": "localhost:5000/serving:2.19.1"},
        {"volumeMounts": [{"name": "models", "mountPath": "/models"}]},
        {"env": [{"name": "MODEL_BASE_PATH", "value": "gs://models"}]},
        {"args": ["--model_config_file=/models/models.config"]},
        {"command": ["/fetch-and-serve"]},
    ],
    ids=lambda container: next(iter(container)),
)
def test_an_image_that_may_have_it_or_manifests_that_may_bring_it_are_taken(
    container: dict[str, Any],
) -> None:
    brought = manifests(**{"image": "tensorflow/serving:2.19.1", **container})
    check_brings_models(brought, [MixedModel("half", "half")], "kind-one")


@pytest.mark.parametrize(
    ("context", "command"),
    [
        ("kind-perf", "kind load docker-image mine:1 --name perf"),
        ("minikube", "minikube image load mine:1"),
        ("k3d-perf", "k3d image import mine:1 --cluster perf"),
        ("docker-desktop", ""),
        ("gke_study", "docker push mine:1"),
    ],
)
def test_each_kind_of_cluster_gets_an_image_in_its_own_way(context: str, command: str) -> None:
    assert bring_command("mine:1", context) == command
