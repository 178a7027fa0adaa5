"""What the person at the terminal sees: progress while load runs, a table at the end."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from pytest_tfserving.slo import Verdict

if TYPE_CHECKING:
    import pytest
    from _pytest.terminal import TerminalReporter

    from pytest_tfserving.load.result import Result
    from pytest_tfserving.report.runlog import Entry

_NAME_WIDTH = 27
_SIMPLE_EVERY_S = 10.0
_COLUMNS = (("rps", 6), ("p50", 6), ("p95", 6), ("p99", 6), ("errors", 6), ("eff.", 5))
_COLOURS = {
    Verdict.PASS: {"green": True},
    Verdict.FAIL: {"red": True},
    Verdict.INVALID: {"red": True},
    Verdict.INCONCLUSIVE: {"yellow": True},
    Verdict.NOT_JUDGED: {"yellow": True},
}


class Progress:
    """One line about what is going on: rewritten in place on a terminal, else printed now and then."""

    def __init__(self, config: pytest.Config, ui: str) -> None:
        self._reporter: TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
        self._capture = config.pluginmanager.get_plugin("capturemanager")
        is_terminal = bool(self._reporter and self._reporter.isatty)
        self._ui = ui or ("live" if is_terminal else "simple")
        if self._reporter is None or hasattr(config, "workerinput") or config.get_verbosity() < 0:
            self._ui = "none"
        self._shown_at = -math.inf
        self._open = False

    def __call__(self, text: str, *, often: bool = False) -> None:
        """Show ``text``; ``often`` texts replace each other and are thinned out where nothing is replaced."""
        if self._ui == "none" or (self._ui == "simple" and often and not self._due()):
            return
        self._shown_at = time.monotonic()
        assert self._reporter is not None
        with self._uncaptured():
            if self._ui == "live":
                self._reporter.rewrite(text, erase=True)
                self._open = True
            else:
                self._reporter.ensure_newline()
                self._reporter.write_line(f"  {text}")
                self._reporter.flush()

    def close(self) -> None:
        """Leave the line as it was found."""
        if self._open and self._reporter:
            with self._uncaptured():
                self._reporter.rewrite("", erase=True)
            self._open = False

    def load(self, experiment: str, run_time_s: float) -> Any:
        """A function that shows one tick of a run of load."""

        def show(tick: dict[str, Any]) -> None:
            p95 = f"p95 {tick['p95_ms']:.0f} ms" if tick["p95_ms"] is not None else "no answer yet"
            failed = f", {tick['failures']} errors" if tick["failures"] else ""
            self(
                f"{experiment}: {tick['at_s']:.0f}/{run_time_s:.0f} s, {tick['users']} users, "
                f"{tick['rps']:.0f} rps, {p95}{failed}",
                often=True,
            )

        return show

    def _due(self) -> bool:
        return time.monotonic() - self._shown_at >= _SIMPLE_EVERY_S

    def _uncaptured(self) -> Any:
        from contextlib import nullcontext

        return self._capture.global_and_fixture_disabled() if self._capture else nullcontext()


def write_summary(reporter: TerminalReporter, config: pytest.Config, *, interrupted: bool) -> None:
    """The table of a pytest run, if it measured anything."""
    from pytest_tfserving.session import PerfSession

    perf = PerfSession.of(config)
    perf.progress.close()
    entries = perf.log.entries() if perf.has_folder else []
    if entries:
        write_table(reporter, entries, interrupted=interrupted)
    if perf.settings.json:
        reporter.write_line(f"results: {perf.settings.json}")


def write_table(reporter: TerminalReporter, entries: list[Entry], *, interrupted: bool) -> None:
    """One row an experiment, and below it what its verdict rests on when it is not PASS."""
    title = "serving performance"
    reporter.write_sep("=", f"{title}, incomplete: the run was interrupted" if interrupted else title)
    width = max([_NAME_WIDTH, *(len(_label(entry.result)) for entry in entries)])
    head = " ".join(f"{name:>{size}}" for name, size in _COLUMNS)
    reporter.write_line(f"{'':{width}} {head} verdict")
    for entry in entries:
        reporter.write(f"{_label(entry.result):{width}} {_cells(entry.result)} ")
        reporter.write_line(str(entry.verdict), **_COLOURS[entry.verdict])
    for entry in entries:
        for reason in reasons(entry):
            reporter.write_line(f"{entry.result.experiment}: {reason}")
    if any(entry.result.successes for entry in entries):
        reporter.write_line("latencies in ms; eff. = rps as a share of the bare in-process session's")


def reasons(entry: Entry) -> list[str]:
    """What the verdict rests on, where it is not PASS."""
    result = entry.result
    cause = result.aborted or result.invalid or result.incomplete or result.not_judged
    if cause:
        return [cause]
    if not entry.judgements:
        return ["no SLO for this target"]
    missed = [each for _, each in entry.judgements if each.verdict not in (Verdict.PASS, Verdict.NOT_JUDGED)]
    return list(dict.fromkeys(map(str, missed)))


def figure(value: float) -> str:
    """A number in six columns: three digits that count, or all of its whole ones."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def percent(fraction: float) -> str:
    """A fraction as per cent, never rounded to 0 when it is not."""
    if not math.isfinite(fraction):
        return "-"
    if 0 < fraction < 0.001:  # noqa: PLR2004
        return "<0.1%"
    return f"{100 * fraction:.3g}%"


def _label(result: Result) -> str:
    return result.experiment


def _cells(result: Result) -> str:
    latencies = (result.p50_ms, result.p95_ms, result.p99_ms)
    errors = percent(result.error_rate) if result.requests else "-"
    shown = [figure(result.rps), *map(figure, latencies), errors, percent(result.efficiency)]
    if result.not_judged:
        shown = ["-"] * len(_COLUMNS)
    return " ".join(f"{text:>{size}}" for text, (_, size) in zip(shown, _COLUMNS, strict=True))
