"""``cleanup``: deletion of the objects that killed runs left on engines and clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.experiments import TARGET_NAMES
from pytest_tfserving.plugin.project_settings import project_settings
from pytest_tfserving.targets import target_class
from pytest_tfserving.targets.common.ownership import OrphanRule

if TYPE_CHECKING:
    import argparse

    from pytest_tfserving.settings import Settings

_OPTIONS_OF_A_CLUSTER = ("kubeconfig", "context", "namespace")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "--run", dest="run_id", default="", metavar="ID", help="delete only the deployment of this run"
    )
    parser.add_argument(
        "--kept",
        action="store_true",
        help="also delete deployments that --tfserving-keep kept and that have not expired",
    )
    parser.add_argument(
        "--target",
        choices=sorted(TARGET_NAMES),
        help="search only this target (default: all targets that can be searched)",
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="as --tfserving-kubeconfig")
    parser.add_argument("--context", metavar="NAME", help="as --tfserving-context")
    parser.add_argument("--namespace", metavar="NAME", help="as --tfserving-namespace")


def run(options: argparse.Namespace) -> int:
    """Sweep every target that can be swept; an unreachable target is an error only if it was requested."""
    leftovers = OrphanRule(run=options.run_id, kept=options.kept)
    for name in [options.target] if options.target else TARGET_NAMES:
        target = target_class(name)
        if not target.leaves_objects:
            continue
        said: list[str] = []
        try:
            target(_settings(name, options)).sweep(leftovers, said.append)
        except TFServingError as error:
            if options.target:
                raise
            said.append(f"not looked at: {error}")
        for line in said or ["nothing to delete"]:
            print(f"{name}: {line}")
    return 0


def _settings(target: str, options: argparse.Namespace) -> Settings:
    """Return the settings for a target; as in a run, the ini file says which clusters are allowed."""
    given = {name: text for name in _OPTIONS_OF_A_CLUSTER if (text := getattr(options, name))}
    if target != "kubernetes" and not options.target:
        given = {}
    return project_settings({"target": target, **given})
