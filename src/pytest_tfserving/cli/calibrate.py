"""``calibrate``: measurement of the machine's noise, and of the differences that a test can detect."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.options import parse_duration

if TYPE_CHECKING:
    from typing import Self

    from pytest_tfserving.calibration.content import Calibration

_USUAL_S, _QUICK_S, _LEAST_S, _MOST_S = 270.0, 70.0, 5.0, 300.0
_SAY_EVERY_S = 10.0
_INTERRUPTED = 130


def parse_time(text: str) -> float:
    """Return the seconds of a time from 5 s to 5 min; other texts raise an ArgumentTypeError."""
    seconds = parse_duration(text)
    if not _LEAST_S <= seconds <= _MOST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time from {_LEAST_S:g}s to {_MOST_S / 60:g}m.")
    return seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--time",
        type=parse_time,
        default=_USUAL_S,
        metavar="TIME",
        help="how long the calibration takes, from 5s to 5m (default: 4.5m)",
    )
    length.add_argument(
        "--quick", dest="time", action="store_const", const=_QUICK_S, help="take about a minute"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the calibration to this file")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write an HTML page with charts")


def run(options: argparse.Namespace) -> int:
    """Measure, keep the calibration, and print its meaning."""
    from pytest_tfserving.calibration import words
    from pytest_tfserving.calibration.file import calibration_path, read_calibration, write_calibration
    from pytest_tfserving.system.signals import ended_by_signals

    path = calibration_path()
    try:
        read_calibration(path)
    except ConfigurationError as error:
        print(f"pytest-tfserving: {error}; measuring again.", file=sys.stderr)
    try:
        with ended_by_signals():
            content = _measured(options.time)
    except KeyboardInterrupt:
        print("\npytest-tfserving: interrupted; nothing was kept.", file=sys.stderr)
        return _INTERRUPTED
    for each in filter(None, (path, options.json)):
        write_calibration(each, content)
    if options.html:
        _write_page(options.html, content)
    print("\n".join(words.lines(content)))
    print(f"\nkept in {path} for later runs on this machine")
    return 0


def _measured(whole_s: float) -> Calibration:
    from pytest_tfserving.calibration.calibrate import Calibrator, PartLengths
    from pytest_tfserving.system.machine_lock import MachineLock

    with (
        tempfile.TemporaryDirectory(prefix="pytest-tfserving-calibrate-") as folder,
        MachineLock().turn("calibrate", lambda text: print(text, file=sys.stderr), whole_s),
        _Progress(whole_s) as progress,
    ):
        return Calibrator(PartLengths.of(whole_s), Path(folder), progress).measure()


def _write_page(path: Path, content: Calibration) -> None:
    from pytest_tfserving.report.cost import E2, STUDY_HOURS, Pricing
    from pytest_tfserving.report.report_data import document_of
    from pytest_tfserving.report.writer import write_reports

    document = document_of((), interrupted=False, pricing=Pricing(E2, STUDY_HOURS), calibration=content)
    write_reports(document, html=path)


class _Progress:
    """A line on standard error with the remaining time: rewritten on a terminal, else printed at times."""

    def __init__(self, whole_s: float) -> None:
        self._end_s = time.monotonic() + whole_s
        self._live = sys.stderr.isatty()
        self._said = ""
        self._said_at_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def __call__(self, text: str) -> None:
        now_s = time.monotonic()
        left_s = max(self._end_s - now_s, 0)
        line = f"{text}, about {left_s:.0f} s left"
        if self._live:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        elif text != self._said or now_s - self._said_at_s > _SAY_EVERY_S:
            print(line, file=sys.stderr, flush=True)
            self._said, self._said_at_s = text, now_s
