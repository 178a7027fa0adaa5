"""``render``: experiments as manifests, or as Kustomize overlays to write or check."""

from __future__ import annotations

import sys
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.experiments import DEFAULT_IMAGE
from pytest_tfserving.plugin.options import parse_image
from pytest_tfserving.targets.kubernetes import kustomize
from pytest_tfserving.targets.kubernetes.kustomize import (
    GENERATED,
    KUSTOMIZATION,
    Variant,
    files_folder,
    overlay,
    own_base,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from pytest_tfserving.experiments.experiment import Experiment

_FOLDER = Path("k8s")
_OVERLAYS = "overlays"
_COPIED = ("base", "components")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "experiment",
        nargs="?",
        metavar="EXPERIMENT",
        help='name of an experiment, or a pattern like "8cpu-*"',
    )
    which.add_argument("--all", action="store_true", help="every experiment of the file")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="write overlays/EXPERIMENT, base and components into the folder (default: show the manifests; "
        f"with --all, {_FOLDER})",
    )
    parser.add_argument(
        "--files",
        type=Path,
        metavar="DIR",
        help="let overlays refer to the base and components in this folder, and write no copies of them",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; list outdated files")
    parser.add_argument(
        "--experiments",
        type=Path,
        metavar="FILE",
        help="the experiments (default: experiments.yaml here, or in perf_tests)",
    )
    parser.add_argument("--base", type=Path, metavar="DIR", help="a base of your own, as --tfserving-base")
    parser.add_argument(
        "--image",
        type=parse_image,
        metavar="IMAGE",
        help=f"the image (default: {DEFAULT_IMAGE}; with --base, the base's own)",
    )


def run(options: argparse.Namespace) -> int:
    """Show, write or check the manifests; return 1 if files are outdated or belong to no experiment."""
    from pytest_tfserving.experiments.yaml_file import find_from_top, read_file

    path = options.experiments or find_from_top(Path.cwd())
    experiments = chosen(read_file(path).experiments, "*" if options.all else options.experiment)
    base = options.base or own_base()
    variant = Variant(base, options.image or ("" if options.base else DEFAULT_IMAGE))
    folder = options.output or (_FOLDER if options.all or options.check else None)
    if folder is None:
        print(shown(experiments, variant), end="")
        return 0
    files = tree(experiments, variant, folder, _checked(options.files))
    if not options.check:
        write(files)
    found = [f"{path} is outdated" for path in outdated(files)]
    if options.all:
        found += [f"{path} no longer belongs to any experiment; delete it" for path in orphans(files, folder)]
    for line in found:
        print(f"pytest-tfserving: {line}", file=sys.stderr)
    return 1 if found else 0


def chosen(experiments: Sequence[Experiment], pattern: str) -> list[Experiment]:
    """Return the experiments whose names match ``pattern``.

    Raises:
        ConfigurationError: when no name matches, and when an experiment has no shape.
    """
    found = [each for each in experiments if fnmatchcase(each.name, pattern)]
    if not found:
        names = [each.name for each in experiments]
        raise ConfigurationError(f"no experiment {pattern!r}; {nearest(pattern, names)}.")
    if problem := next((each.lacks_for_a_cluster for each in found if each.lacks_for_a_cluster), ""):
        raise ConfigurationError(problem)
    return found


def shown(experiments: Sequence[Experiment], variant: Variant) -> str:
    """Return the manifests of experiments as YAML."""
    with tempfile.TemporaryDirectory(prefix="pytest-tfserving-render-") as folder:
        manifests = [
            manifest
            for experiment in experiments
            for manifest in kustomize.render(experiment, variant, Path(folder) / experiment.name)
        ]
    return kustomize.as_yaml(*manifests)


def _checked(files: Path | None) -> Path | None:
    """Return the folder of ``--files``, in which overlays must find the components and the base.

    Raises:
        ConfigurationError: when one of these is missing.
    """
    missing = [files / part for part in _COPIED if not (files / part).is_dir()] if files else []
    if missing:
        raise ConfigurationError(f"--files: there is no folder {missing[0]}.")
    return files


def tree(
    experiments: Sequence[Experiment], variant: Variant, folder: Path, referred: Path | None = None
) -> dict[Path, str]:
    """Return the files for ``folder`` by path: overlays, and copies of the base and components.

    With ``referred``, overlays refer to the base and components in this folder, and there are no copies.
    """
    files = {}
    for experiment in experiments:
        place = folder / _OVERLAYS / experiment.name
        for name, text in overlay(experiment, variant, place, referred or folder).items():
            files[place / name] = text
    return files if referred else _copies(variant, folder) | files


def _copies(variant: Variant, folder: Path) -> dict[Path, str]:
    """Return copies of the package's files for ``folder``."""
    source = files_folder()
    wanted = _COPIED if variant.base == own_base() else _COPIED[1:]
    paths = [path for part in wanted for path in sorted((source / part).rglob("*")) if path.is_file()]
    return {folder / path.relative_to(source): path.read_text(encoding="utf-8") for path in paths}


def write(files: Mapping[Path, str]) -> None:
    """Write the files of a tree."""
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def outdated(files: Mapping[Path, str]) -> list[Path]:
    """Return the files of a tree that are missing or have other content."""
    return [
        path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def orphans(files: Mapping[Path, str], folder: Path) -> list[Path]:
    """Return generated files in overlays that no experiment has any more."""
    return [
        path
        for kustomization in sorted((folder / _OVERLAYS).glob(f"*/{KUSTOMIZATION}"))
        if kustomization.read_text(encoding="utf-8").startswith(GENERATED)
        for path in sorted(kustomization.parent.iterdir())
        if path not in files
    ]
