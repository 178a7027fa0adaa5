"""Targets: the places where an experiment can run, a class each; see `Target`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.targets.target import Target


def target_of(settings: Settings) -> Target:
    """Return the target that the settings name; only its own libraries are imported."""
    match settings.target:
        case "docker":
            from pytest_tfserving.targets.docker.target import DockerTarget

            return DockerTarget(settings)
        case "kubernetes":
            from pytest_tfserving.targets.kubernetes.target import KubernetesTarget

            return KubernetesTarget(settings)
        case "url":
            from pytest_tfserving.targets.url import UrlTarget

            return UrlTarget(settings)
        case _:
            from pytest_tfserving.targets.local import LocalTarget

            return LocalTarget(settings)
