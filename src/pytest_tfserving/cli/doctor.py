"""``doctor``: what works on this machine and in its cluster, and what mends the rest."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pytest_tfserving.cli import doctor_checks
from pytest_tfserving.experiments import TARGET_NAMES
from pytest_tfserving.plugin.project_settings import project_settings

if TYPE_CHECKING:
    import argparse

    from pytest_tfserving.cli.doctor_checks import Finding

_OPTIONS_OF_A_CLUSTER = ("kubeconfig", "context", "namespace")
# The checks without which nothing can be measured on a target.
_NEEDED = {
    "local": ("cores", "memory", "TensorFlow"),
    "docker": ("cores", "memory", "engine"),
    "kubernetes": ("kubectl", "context", "permissions"),
    "url": (),
}
_GREEN, _RED, _PLAIN = "\033[32m", "\033[31m", "\033[0m"
_MARKS = {True: "ok", False: "no"}
_WIDTH = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.description = (
        "Say within ten seconds what works here: a line for each part, green, or with the command that mends "
        "it. The exit code is 0 if everything that the target needs works, else 1."
    )
    parser.add_argument(
        "--target", choices=sorted(TARGET_NAMES), help="the target that must work (default: the ini file's)"
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="as --tfserving-kubeconfig")
    parser.add_argument("--context", metavar="NAME", help="as --tfserving-context")
    parser.add_argument("--namespace", metavar="NAME", help="as --tfserving-namespace")


def run(options: argparse.Namespace) -> int:
    """Print a line for each check; return 1 if the target lacks something that it needs."""
    target = options.target or project_settings({}).target
    given = {name: text for name in _OPTIONS_OF_A_CLUSTER if (text := getattr(options, name))}
    settings = project_settings({"target": "kubernetes", **given})
    works = True
    for finding in doctor_checks.findings(settings):
        print("\n".join(_lines(finding)), flush=True)
        works = works and (finding.is_good or finding.name not in _NEEDED[target])
    needs = "everything that it needs works" if works else "something that it needs is missing"
    print(f"\ntarget {target}: {needs}")
    return 0 if works else 1


def _lines(finding: Finding) -> list[str]:
    """Return the line of a check, and the command that mends it."""
    mark, indent = _MARKS[finding.is_good], " " * (len(_MARKS[True]) + _WIDTH + 2)
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        mark = f"{_GREEN if finding.is_good else _RED}{mark}{_PLAIN}"
    lines = [f"{mark}  {finding.name:<{_WIDTH}}{finding.text}"]
    return lines if finding.is_good else [*lines, f"{indent}mend: {finding.mend}"]
