"""``history``: a metric over stored runs, with its change points, as a page or for other programs."""

from __future__ import annotations

import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.cli.compare import add_folder, folder_of
from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.slo.metrics import METRICS, metric_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from pytest_tfserving.report.history import Series
    from pytest_tfserving.report.schema import StoredRun
    from pytest_tfserving.slo.metrics import Metric

_PAGE = Path("history.html")
_HTML, _CSV, _GITHUB, _BENCHER = "html", "csv", "github-action-benchmark", "bencher"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "metric", nargs="?", metavar="METRIC", help="the metric, as p95 (default: p95; of exports, all)"
    )
    add_folder(parser)
    parser.add_argument(
        "--experiment", default="*", metavar="PATTERN", help='only experiments whose names match, as "8cpu-*"'
    )
    parser.add_argument(
        "--format",
        choices=(_HTML, _CSV, _GITHUB, _BENCHER),
        default=_HTML,
        help="a page with charts; CSV of all runs; or the last run as customSmallerIsBetter of "
        "github-action-benchmark, or as Bencher Metric Format (default: html)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=f"the file (default: {_PAGE}; of exports, stdout)"
    )


def run(options: argparse.Namespace) -> int:
    """Write the page or the export; print the change points.

    Raises:
        ConfigurationError: when there is no stored run, and when no run has the metric.
    """
    wanted = [metric_of(options.metric)] if options.metric else list(METRICS.values())
    runs = _matching(_stored(folder_of(options)), options.experiment)
    if options.format == _HTML:
        series = _series(runs, wanted if options.metric else [metric_of("p95")])
        _write_page(series, options.output or _PAGE)
        return 0
    _write(_exported(options.format, runs, wanted), options.output)
    return 0


def _stored(folder: Path) -> list[StoredRun]:
    """Return the stored runs in a folder, the oldest first; report files that cannot be read.

    Raises:
        ConfigurationError: when there is none.
    """
    from pytest_tfserving.report.stored_runs import StoredRuns, read_stored

    found = []
    for path in StoredRuns(folder).paths():
        try:
            found.append(read_stored(path))
        except ConfigurationError as error:
            print(f"pytest-tfserving: left out: {error}", file=sys.stderr)
    if not found:
        raise ConfigurationError(
            f"{folder} has no stored run that can be read; save one with --tfserving-save=NAME."
        )
    return found


def _matching(runs: Sequence[StoredRun], pattern: str) -> list[StoredRun]:
    """Return the runs with only those results whose experiment matches.

    Raises:
        ConfigurationError: when no experiment matches.
    """
    found: list[StoredRun] = []
    for stored in runs:
        results = [each for each in stored["results"] if fnmatchcase(each["experiment"], pattern)]
        if results:
            found.append({**stored, "results": results})
    if not found:
        names = sorted({each["experiment"] for stored in runs for each in stored["results"]})
        raise ConfigurationError(f"no experiment {pattern!r}; {nearest(pattern, names)}.")
    return found


def _series(runs: Sequence[StoredRun], metrics: Sequence[Metric]) -> list[Series]:
    from pytest_tfserving.report.history import series_of

    found = [series for metric in metrics for series in series_of(runs, metric)]
    if not found:
        names = [metric.name for metric in METRICS.values() if series_of(runs, metric)]
        raise ConfigurationError(
            f"no stored run has a figure of {metrics[0].name}; {nearest(metrics[0].name, names)}."
        )
    return found


def _write_page(series: Sequence[Series], path: Path) -> None:
    from pytest_tfserving.report.history_page import history_html
    from pytest_tfserving.system.files import write_whole

    write_whole(path, history_html(series))
    for each in series:
        print(f"{each.label}: {each.answer}")
    print(path)


def _exported(form: str, runs: Sequence[StoredRun], metrics: Sequence[Metric]) -> str:
    from pytest_tfserving.report import history_export

    if form == _CSV:
        return history_export.csv_text(_series(runs, metrics))
    export = history_export.smaller_is_better if form == _GITHUB else history_export.bencher
    return export(runs[-1], metrics)


def _write(text: str, path: Path | None) -> None:
    from pytest_tfserving.system.files import write_whole

    if path:
        write_whole(path, text)
        print(path)
    else:
        print(text, end="")
