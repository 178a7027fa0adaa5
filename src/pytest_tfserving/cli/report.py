"""``report``: reports from results in JSON files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.plugin.options import parse_hours
from pytest_tfserving.report.cost import Pricing, read_prices

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results; several are merged")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as one HTML page")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write verdicts and recommendation")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the merged results")
    parser.add_argument(
        "--prices", type=Path, metavar="FILE", help="a price list (default: the one in the first file)"
    )
    parser.add_argument(
        "--hours",
        type=parse_hours,
        help="hours a month that a deployment runs (default: as in the first file)",
    )


def run(options: argparse.Namespace) -> int:
    """Write the reports and print their paths.

    Raises:
        TFServingError: when no report is requested, or a file cannot be read.
    """
    from pytest_tfserving.report.merge import merged, with_changes
    from pytest_tfserving.report.report_data import priced, pricing_of
    from pytest_tfserving.report.results_file import read_document
    from pytest_tfserving.report.writer import write_reports

    if not (options.html or options.markdown or options.json):
        raise TFServingError("report writes nothing without --html, --markdown or --json; give one of them.")
    documents = {str(path): read_document(path) for path in options.files}
    document = merged(documents)
    known = pricing_of(document)
    prices = read_prices(options.prices) if options.prices else known.prices
    is_asked = known.is_asked or options.prices is not None or options.hours is not None
    document = priced(document, Pricing(prices, options.hours or known.hours, is_asked))
    document = with_changes(document, documents)
    if len(documents) > 1 and document["comparison"]:
        print(document["comparison"]["sentence"])
    for path in write_reports(document, json=options.json, html=options.html, markdown=options.markdown):
        print(path)
    return 0
