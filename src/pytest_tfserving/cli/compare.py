"""``compare``: comparison of two stored runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.plugin.options import parse_alpha, parse_change_limit

if TYPE_CHECKING:
    import argparse

    from pytest_tfserving.report.comparison import Base
    from pytest_tfserving.report.schema import ComparisonData, StoredRun

_FAILING = ("FAIL", "NOT JUDGED")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    run = "a name, `last`, or a file of --tfserving-save or --tfserving-json"
    parser.add_argument("before", metavar="A", help=f"the stored run to compare with: {run}")
    parser.add_argument("now", metavar="B", help="the stored run that is compared with A")
    add_folder(parser)
    parser.add_argument(
        "--fail",
        action="append",
        default=[],
        type=parse_change_limit,
        metavar="METRIC:CHANGE",
        help="exit with 1 if a metric is proved to be worse by more than a change, as p95:5%%",
    )
    parser.add_argument(
        "--alpha",
        type=parse_alpha,
        default=0.01,
        help="largest probability of a wrong FAIL (default: 0.01)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="compare although machine, image, model, load or payload differ",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the comparison as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write the comparison as an HTML page")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the comparison as Markdown")


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Declare the argument for the folder of stored runs."""
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="the folder of stored runs (default: .tfserving here or in a folder above)",
    )


def folder_of(options: argparse.Namespace) -> Path:
    """Return the folder of stored runs."""
    from pytest_tfserving.report.stored_runs import FOLDER

    if options.folder:
        return Path(options.folder)
    here = Path.cwd()
    places = (folder / FOLDER for folder in (here, *here.parents))
    return next((place for place in places if place.is_dir()), here / FOLDER)


def run(options: argparse.Namespace) -> int:
    """Compare, print the comparison, write the reports; return 1 if a limit on a change is missed."""
    from pytest_tfserving.report import comparison_text
    from pytest_tfserving.report.comparison import compare
    from pytest_tfserving.report.stored_runs import StoredRuns, is_path, read_stored

    runs = StoredRuns(folder_of(options))
    before, now = (
        read_stored(Path(name) if is_path(name) else runs.find(name))
        for name in (options.before, options.now)
    )
    comparison = compare(now["results"], _base(before, now, options), options.fail, options.alpha)
    print(f"{now['name']} {comparison['sentence']}")
    for line in comparison_text.lines(comparison):
        print(line)
    for limit in comparison["limits"]:
        print(comparison_text.limit_line(limit))
    _write(options, comparison)
    return 1 if _fails(options, comparison) else 0


def _base(before: StoredRun, now: StoredRun, options: argparse.Namespace) -> Base:
    from pytest_tfserving.calibration.run_scatter import RunScatter
    from pytest_tfserving.report.comparison import Base

    known = now["scatter"] or before["scatter"]
    why = "neither run was saved on a calibrated machine; run pytest-tfserving calibrate"
    return Base(before, RunScatter.from_data(known) if known else None, why, options.force, "--force")


def _write(options: argparse.Namespace, comparison: ComparisonData) -> None:
    from pytest_tfserving.report.cost import E2, STUDY_HOURS, Pricing
    from pytest_tfserving.report.report_data import document_of
    from pytest_tfserving.report.writer import write_reports

    document = document_of((), interrupted=False, pricing=Pricing(E2, STUDY_HOURS))
    written = write_reports(
        {**document, "comparison": comparison},
        json=options.json,
        html=options.html,
        markdown=options.markdown,
    )
    for path in written:
        print(f"results: {path}")


def _fails(options: argparse.Namespace, comparison: ComparisonData) -> bool:
    verdicts = [limit["verdict"] for limit in comparison["limits"]]
    return bool(options.fail) and (not verdicts or any(verdict in _FAILING for verdict in verdicts))
