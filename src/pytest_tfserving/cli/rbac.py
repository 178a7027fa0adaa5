"""``rbac``: the roles with the permissions of a run in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.targets.kubernetes.kustomize import files_folder

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command, which has no arguments."""
    parser.description = "Print the roles as YAML: pytest-tfserving rbac | kubectl apply --filename -"


def run(_options: argparse.Namespace) -> int:
    """Print the roles."""
    print((files_folder() / "rbac" / "roles.yaml").read_text(encoding="utf-8"), end="")
    return 0
