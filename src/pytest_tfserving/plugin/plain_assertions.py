"""Assertions of tests on figures: one that fails marks the run of load that its figure is of."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

    from pytest_tfserving.report.store import Taking

_PACKAGE = "pytest_tfserving."


class _Read(NamedTuple):
    """A read of a figure by a test: the run of load, and the place in the code."""

    taking: Taking
    code: CodeType
    line: int
    instruction: int


class _Statement(NamedTuple):
    """A statement that an error passed through: its file, its first and its last line."""

    file: str
    first: int
    last: int

    def has(self, read: _Read) -> bool:
        """Return whether the statement read a figure."""
        return read.code.co_filename == self.file and self.first <= read.line <= self.last


_READS: pytest.StashKey[list[_Read]] = pytest.StashKey()


def begin(item: pytest.Item) -> None:
    """Forget what a test has read: the test begins, perhaps not for the first time."""
    item.stash[_READS] = []


def remember(item: pytest.Item, taking: Taking) -> None:
    """Remember that a test reads a figure of the run of load that it has taken."""
    frame = _reader(sys._getframe(1))  # noqa: SLF001 - as inspect.currentframe, which may return None
    item.stash[_READS].append(_Read(taking, frame.f_code, frame.f_lineno, frame.f_lasti))


def mark_run(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Mark the runs whose figures an assertion of the test's own read, if the assertion has failed."""
    reads = item.stash.get(_READS, [])
    if not reads or call.when != "call" or call.excinfo is None or not _is_assertion(call.excinfo.value):
        return
    from pytest_tfserving.plugin.session_start import session_of
    from pytest_tfserving.report import junit
    from pytest_tfserving.slo.language import Verdict

    for taking in _read_by(_statements(call.excinfo.tb), reads):
        session_of(item.config).log.add_failed_assertion(taking, Verdict.FAIL, _first_line(report, call))
    junit.add_verdict(item, Verdict.FAIL)


def _reader(frame: FrameType) -> FrameType:
    """Return the innermost frame that is not of this package."""
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith(_PACKAGE):
        frame = frame.f_back
    return frame


def _read_by(statements: list[_Statement], reads: list[_Read]) -> list[Taking]:
    """Return the runs that the statements read when they ran last; without any, the run read last."""
    found: list[_Read] = []
    for read in reversed(reads):
        # In an earlier turn of a loop the same statement may have held for another run of load.
        is_of_earlier_turn = any(
            later.code is read.code and later.instruction <= read.instruction for later in found
        )
        if is_of_earlier_turn or not any(statement.has(read) for statement in statements):
            break
        found.append(read)
    return list(dict.fromkeys(read.taking for read in found[::-1] or reads[-1:]))


def _statements(traceback: TracebackType | None) -> list[_Statement]:
    """Return the statements of a traceback, the outermost first."""
    found = []
    while traceback:
        code, line = traceback.tb_frame.f_code, traceback.tb_lineno
        first, last, *_ = next(islice(code.co_positions(), traceback.tb_lasti // 2, None))
        found.append(_Statement(code.co_filename, first or line, last or line))
        traceback = traceback.tb_next
    return found


def shorten_summary(report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    """Let pytest's summary of a failure without a traceback be its first line, without `Failed:` before it.

    In CI the summary has the whole text otherwise, which stands above it already.
    """
    crash = getattr(report.longrepr, "reprcrash", None)
    value = call.excinfo.value if call.excinfo else None
    if crash is not None and isinstance(value, pytest.fail.Exception) and not value.pytrace:
        crash.message = crash.message.removeprefix("Failed: ").partition("\n")[0]


def _is_assertion(error: BaseException) -> bool:
    """Return whether a test has failed by its own code; the plugin's failures have no traceback."""
    if isinstance(error, pytest.xfail.Exception):
        return False
    return isinstance(error, AssertionError) or (isinstance(error, pytest.fail.Exception) and error.pytrace)


def _first_line(report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else call.excinfo.exconly() if call.excinfo else ""
    return next(iter(str(text).splitlines()), "").removeprefix("AssertionError: ")
