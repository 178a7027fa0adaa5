"""``cleanup``: deletion of the objects that killed runs left on engines and clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfserving.errors import ConfigurationError, TFServingError
from pytest_tfserving.experiments import TARGET_NAMES
from pytest_tfserving.plugin.options import read_settings
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


class _Reader:
    """A pytest plugin that reads the settings of a run in this folder and then ends the run."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.problem = "pytest cannot read its configuration here"

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> int:
        try:
            self.settings = read_settings(config)
        except pytest.UsageError as error:
            self.problem = str(error)
        return 0


def _settings(target: str, options: argparse.Namespace) -> Settings:
    """Return the settings for a target; as in a run, the ini file says which clusters are allowed."""
    given: dict[str, Any] = {name: getattr(options, name) for name in _OPTIONS_OF_A_CLUSTER}
    own = [f"--tfserving-{name}={value}" for name, value in given.items() if value]
    if target != "kubernetes" and not options.target:
        own = []
    reader = _Reader()
    # The package is imported already, too late for pytest to rewrite its assertions.
    pytest.main(["-p", "no:locust", "--assert=plain", f"--tfserving-target={target}", *own], plugins=[reader])
    if reader.settings is None:
        raise ConfigurationError(reader.problem)
    return reader.settings
