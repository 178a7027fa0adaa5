"""Targets: the places where an experiment can run, a class each; see `Target`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.targets.target import Target


def target_of(settings: Settings) -> Target:
    """Return the target that the settings name."""
    return target_class(settings.target)(settings)


def target_class(name: str) -> type[Target]:
    """Return the class of a target; only the libraries of that target are imported."""
    match name:
        case "docker":
            from pytest_tfserving.targets.docker.target import DockerTarget

            return DockerTarget
        case "kubernetes":
            from pytest_tfserving.targets.kubernetes.target import KubernetesTarget

            return KubernetesTarget
        case "url":
            from pytest_tfserving.targets.url import UrlTarget

            return UrlTarget
        case _:
            from pytest_tfserving.targets.local import LocalTarget

            return LocalTarget
