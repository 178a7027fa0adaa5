"""``rbac``: the roles with the permissions of a run in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.targets.kubernetes.kustomize import as_yaml
from pytest_tfserving.targets.kubernetes.permissions import bindings, roles, roles_text

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = "Print the roles as YAML: pytest-tfserving rbac | kubectl apply --filename -"
    parser.add_argument("--user", metavar="NAME", help="also bind the roles to this user of the cluster")
    parser.add_argument(
        "--namespace",
        metavar="NAME",
        default="",
        help="for runs with this --tfserving-namespace (default: for runs that make their own namespaces)",
    )


def run(options: argparse.Namespace) -> int:
    """Print the roles, and what binds them to the user."""
    if not options.user:
        print(roles_text(), end="")
        return 0
    print(as_yaml(*roles(options.namespace), *bindings(options.user, options.namespace)), end="")
    return 0
