"""The command ``pytest-tfserving``."""

from __future__ import annotations

import argparse
import importlib
import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving import __version__
from pytest_tfserving.cost import Pricing, read_prices
from pytest_tfserving.errors import TFServingError, missing_extra
from pytest_tfserving.models.store import MODELS
from pytest_tfserving.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence


_SEARCH = """
from math import inf
from pathlib import Path
import pytest

@pytest.mark.experiments({experiment!r})
def test_search(load):
    found = load.max_rps(*{slos!r}, state={state!r}, **{settings!r})
    Path({found!r}).write_text(found.table())
    assert found.knee, str(found)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0 is success, 2 a mistake in what was asked for."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] == ["serve"]:
        from pytest_tfserving.model_server.main import main as serve

        return serve(arguments[1:])
    own, for_pytest = _parted(arguments)
    options = _parser().parse_args(own)
    options.pytest = for_pytest
    try:
        return int(options.run(options))
    except TFServingError as error:
        print(f"pytest-tfserving: {error}", file=sys.stderr)
    except OSError as error:
        print(f"pytest-tfserving: {error.filename}: {error.strerror}.", file=sys.stderr)
    return 2


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before ``--``, and what after it, where pytest is run."""
    if arguments[:1] != ["search"] or "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser() -> argparse.ArgumentParser:
    from pytest_tfserving.options import parse_hours

    parser = argparse.ArgumentParser(
        prog="pytest-tfserving", description="Model-serving performance as test assertions."
    )
    parser.add_argument("--version", action="version", version=f"pytest-tfserving {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    commands.add_parser(
        "serve",
        help="run the embedded server; it takes tensorflow_model_server's flags, see serve --help",
        add_help=False,
    )
    export = commands.add_parser(
        "export-model", help="write one of the models of this package as a SavedModel"
    )
    export.add_argument("model", choices=sorted(MODELS), help="which model")
    export.add_argument("folder", type=Path, help="the base folder; the model goes into a version below it")
    export.add_argument("--version", type=int, default=1, help="the model's version (default: %(default)s)")
    export.add_argument(
        "--weights",
        default="random",
        metavar="{random,imagenet,FILE}",
        help="resnet50's weights: the same random ones every time, ImageNet's (downloaded by Keras) or a "
        "Keras weights file (default: %(default)s)",
    )
    export.set_defaults(run=_export)
    report = commands.add_parser("report", help="remake reports from the JSON that --tfserving-json wrote")
    report.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results; several are merged")
    report.add_argument("--html", type=Path, metavar="FILE", help="write the report as one HTML page")
    report.add_argument("--markdown", type=Path, metavar="FILE", help="write verdicts and recommendation")
    report.add_argument("--json", type=Path, metavar="FILE", help="write the merged results")
    report.add_argument(
        "--prices", type=Path, metavar="FILE", help="a price list (default: the one in the first file)"
    )
    report.add_argument(
        "--hours",
        type=parse_hours,
        help="hours a month that a deployment runs (default: as in the first file)",
    )
    report.set_defaults(run=_report)
    search = commands.add_parser(
        "search",
        help="find the largest load that holds SLOs on one experiment; arguments after -- go to pytest",
    )
    search.add_argument("experiment", metavar="EXPERIMENT", help="its name, as 1cpu-2gb-1n-interop1")
    search.add_argument(
        "--slo", action="append", metavar="SLO", required=True, help='as "p95<200ms"; can be repeated'
    )
    search.add_argument(
        "--over", default="users", metavar="FIELD", help="what is raised (default: %(default)s)"
    )
    search.add_argument("--start", type=float, default=1, help="where to begin (default: %(default)s)")
    search.add_argument("--most", type=float, default=math.inf, help="what is not exceeded")
    search.add_argument("--precision", type=float, default=0.05, help="as a fraction (default: %(default)s)")
    search.add_argument("--state", type=Path, metavar="FILE", help="keep what was tried, to go on from there")
    search.set_defaults(run=_search)
    bake = commands.add_parser("bake", help="build an image that has a model in it and serves it")
    bake.add_argument("image", help="the image to add the model to, as tensorflow/serving:2.19.1")
    bake.add_argument("folder", type=Path, help="the model's base folder; its name becomes the model's")
    bake.add_argument("tag", help="the new image's name")
    bake.set_defaults(run=_bake)
    cleanup = commands.add_parser(
        "cleanup", help="delete what runs that were killed have left on engines and clusters"
    )
    cleanup.add_argument(
        "--run", dest="run_id", default="", metavar="ID", help="delete what this run has deployed"
    )
    cleanup.add_argument(
        "--kept", action="store_true", help="delete what --tfserving-keep has kept, before its time is up"
    )
    cleanup.add_argument(
        "--target", choices=sorted(TARGETS), help="look on this target only (default: wherever one can look)"
    )
    cleanup.set_defaults(run=_cleanup)
    return parser


def _search(options: argparse.Namespace) -> int:
    """Run a test that searches, in a folder of its own, with the experiments file of this one."""
    from pytest_tfserving.experiments_file import find_file
    from pytest_tfserving.slo import parse_slos

    parse_slos(options.slo)
    here = Path.cwd()
    own = any(argument.startswith("--tfserving-experiments") for argument in options.pytest)
    experiments = [] if own else [f"--tfserving-experiments={find_file(here, here)}"]
    state = str(options.state.absolute()) if options.state else None
    settings = {name: getattr(options, name) for name in ("over", "start", "most", "precision")}
    with tempfile.TemporaryDirectory(prefix="pytest-tfserving-search-") as folder:
        test, found = Path(folder) / "test_search.py", Path(folder) / "found.txt"
        test.write_text(
            _SEARCH.format(
                experiment=options.experiment,
                slos=options.slo,
                settings=settings,
                state=state,
                found=str(found),
            ),
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:locust", "-p", "no:cacheprovider"]
        code = subprocess.run([*command, *experiments, *options.pytest, test], check=False).returncode
        if found.exists():
            print(found.read_text(encoding="utf-8"), end="")
    return 1 if code else 0


def _export(options: argparse.Namespace) -> int:
    module = importlib.import_module(MODELS[options.model])
    own = {} if options.weights == "random" else {"weights": options.weights}
    if own and options.model != "resnet50":
        raise TFServingError(f"--weights is for resnet50, {options.model} has none to choose.")
    try:
        folder = module.export(options.folder, options.version, **own)
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "embedded", "exporting a model") from None
    print(folder / str(options.version))
    return 0


def _report(options: argparse.Namespace) -> int:
    from pytest_tfserving.report.document import merged, priced, pricing_of, read_document
    from pytest_tfserving.report.files import write_reports

    if not (options.html or options.markdown or options.json):
        raise TFServingError("report writes nothing without --html, --markdown or --json; give one of them.")
    document = merged([read_document(path) for path in options.files])
    known = pricing_of(document)
    prices = read_prices(options.prices) if options.prices else known.prices
    document = priced(document, Pricing(prices, options.hours or known.hours))
    for path in write_reports(document, json=options.json, html=options.html, markdown=options.markdown):
        print(path)
    return 0


def _bake(options: argparse.Namespace) -> int:
    from pytest_tfserving.bake import bake

    print(bake(options.image, options.folder, options.tag))
    return 0


def _cleanup(options: argparse.Namespace) -> int:
    """Sweep every target that has a sweep; one that cannot be reached matters only if it was asked for."""
    from pytest_tfserving.targets.labels import Leftovers

    leftovers = Leftovers(run=options.run_id, kept=options.kept)
    for name in [options.target] if options.target else TARGETS:
        sweep = getattr(importlib.import_module(TARGETS[name]), "sweep", None)
        if sweep is None:
            continue
        try:
            deleted = sweep(leftovers)
        except TFServingError as error:
            if options.target:
                raise
            print(f"{name}: not looked at: {error}")
            continue
        for line in deleted:
            print(f"{name}: deleted {line}")
        if not deleted:
            print(f"{name}: nothing to delete")
    return 0


if __name__ == "__main__":
    sys.exit(main())
