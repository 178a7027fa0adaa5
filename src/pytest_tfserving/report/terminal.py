"""Output on the terminal: progress while load runs, a table at the end."""

from __future__ import annotations

import math
import shutil
import sys
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from pytest_tfserving.report import comparison_text
from pytest_tfserving.report.formatting import (
    aligned,
    columns,
    curve_lines,
    figure,
    kind_text,
    measured_text,
    open_loop_rates,
    reasons,
    roles,
    shows_costs,
    stage_text,
    usd,
    written,
)
from pytest_tfserving.report.judged_parts import part_lines
from pytest_tfserving.report.server_comparison import changed_metrics
from pytest_tfserving.report.slo_lines import slo_rows
from pytest_tfserving.slo.language import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import pytest
    from _pytest.capture import CaptureManager
    from _pytest.terminal import TerminalReporter

    from pytest_tfserving.deployment.load_messages import MergedTick
    from pytest_tfserving.report.schedule import Schedule
    from pytest_tfserving.report.schema import (
        Document,
        Metrics,
        ResultData,
        SearchData,
        ServerComparisonData,
    )
    from pytest_tfserving.slo.metrics import Metric

_NAME_WIDTH = 27
_SIMPLE_EVERY_S = 10.0
# The first line on a run of load comes sooner, to show that there are answers.
_FIRST_S = 2.0
_FIGURES_A_LINE = 3
# As many labels before a reason that several results share.
_MOST_LABELS = 3
_VERDICT_WIDTH = max(map(len, Verdict))
_COLOURS = {
    Verdict.PASS: {"green": True},
    Verdict.FAIL: {"red": True},
    Verdict.INVALID: {"red": True},
    Verdict.INCONCLUSIVE: {"yellow": True},
    Verdict.NOT_JUDGED: {"yellow": True},
}


class Progress:
    """A line about the current work: rewritten in place on a terminal, else printed now and then.

    A worker of pytest-xdist has no terminal. It prints to standard error, which is the controller's, and says
    its name in the place of how far the session is: it does not know what other workers do.
    """

    def __init__(self, config: pytest.Config, ui: str) -> None:
        self._worker = str(getattr(config, "workerinput", {}).get("workerid", ""))
        # Nobody sees what the reporter of a worker writes.
        self._reporter: TerminalReporter | None = (
            None if self._worker else config.pluginmanager.get_plugin("terminalreporter")
        )
        self._capture: CaptureManager | None = config.pluginmanager.get_plugin("capturemanager")
        is_terminal = bool(self._reporter and self._reporter.isatty)
        self._ui = ui or ("live" if is_terminal else "simple")
        if self._worker and self._ui == "live":
            self._ui = "simple"
        if not (self._reporter or self._worker):
            self._ui = "none"
        self._is_quiet = config.get_verbosity() < 0
        self._shown_at = -math.inf
        self._open = False
        self.schedule: Schedule | None = None

    def __call__(self, text: str, *, often: bool = False) -> None:
        """Show ``text``; texts that come ``often`` replace each other, or are thinned out in simple mode."""
        if self._is_quiet or self._ui == "none" or (self._ui == "simple" and often and not self._due()):
            return
        self._shown_at = time.monotonic()
        if before := self._worker or str(self.schedule or ""):
            text = f"{before}: {text}"
        with self._uncaptured():
            if self._ui == "live":
                self._rewrite(text)
            else:
                self._write_line(f"  {text}")

    def waiting(self, text: str) -> None:
        """Show that the session waits for another one, which can take long, even with ``-q``."""
        if not self._is_quiet:
            self(text)
        elif self._ui != "none":
            with self._uncaptured():
                self._write_line(f"  {text}")

    def close(self) -> None:
        """Clear the line."""
        if self._open and self._reporter:
            with self._uncaptured():
                self._reporter.rewrite("", erase=True)
            self._open = False

    @contextmanager
    def load(
        self, experiment: str, run_time_s: float, turns: int = 1, rate: float = 0.0
    ) -> Iterator[Callable[[MergedTick], None]]:
        """Note that load is put on ``experiment``; give a function that shows one tick of the load.

        Load on several servers in turn takes the time of as many ``turns``. An open loop has a ``rate`` of
        requests a second, and no users.
        """
        has_begun = False

        def show(tick: MergedTick) -> None:
            nonlocal has_begun
            p95 = "no response yet" if tick["p95_ms"] is None else f"p95 {figure(tick['p95_ms'])} ms"
            users = f"{tick['users']} user{'' if tick['users'] == 1 else 's'}"
            asked = f"{figure(rate)} requests a second asked for" if rate else users
            failed = f", {tick['failures']} errors" if tick["failures"] else ""
            if self.schedule:
                self.schedule.go_on(turns * (run_time_s - tick["at_s"]))
            self(
                f"{experiment}: {tick['at_s']:.0f} s of at most {run_time_s:.0f} s, {asked}, "
                f"{tick['rps']:.0f} rps, {p95}{failed}",
                often=has_begun or tick["at_s"] < _FIRST_S,
            )
            has_begun = tick["at_s"] >= _FIRST_S

        if self.schedule:
            self.schedule.begin_load(turns * run_time_s)
        try:
            yield show
        finally:
            if self.schedule:
                self.schedule.end_load()

    def _due(self) -> bool:
        return time.monotonic() - self._shown_at >= _SIMPLE_EVERY_S

    def _rewrite(self, text: str) -> None:
        assert self._reporter is not None
        # A longer line would wrap, and only its last part would be rewritten.
        width = shutil.get_terminal_size().columns - 1
        self._reporter.rewrite(text[:width], erase=True)
        self._open = True

    def _write_line(self, line: str) -> None:
        if self._reporter:
            self._reporter.ensure_newline()
            self._reporter.write_line(line)
            self._reporter.flush()
        else:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    def _uncaptured(self) -> AbstractContextManager[None]:
        return self._capture.global_and_fixture_disabled() if self._capture else nullcontext()


def write_table(reporter: TerminalReporter, document: Document) -> None:
    """Write one row for each run of load, and below the rows the reasons of their verdicts."""
    results = document["results"]
    title = "serving performance"
    reporter.write_sep(
        "=", f"{title}, incomplete: the run was interrupted" if document["interrupted"] else title
    )
    width = max([_NAME_WIDTH, *(len(result["label"]) for result in results)])
    head = " ".join(f"{each.column:>{each.terminal_width}}" for each in _columns())
    reporter.write_line(f"{'':{width}} {head} verdict")
    for result in results:
        _write_row(reporter, result, width)
    for reason, labels in _reasons_with_labels(results).items():
        reporter.write_line(f"{_listed(labels)}: {reason}")
    if any(result["metrics"]["requests"] for result in results):
        reporter.write_line("in ms; [95 % interval]; eff. = rps as a share of the in-process baseline's")
    if any(" n_eff " in _intervals(result) for result in results if not result.get("comparison")):
        reporter.write_line("n_eff: how many independent requests carry as much information")


def _reasons_with_labels(results: Sequence[ResultData]) -> dict[str, list[str]]:
    """Return the reasons of all verdicts, each one once, with the labels of its results."""
    found: dict[str, list[str]] = {}
    for result in results:
        for reason in reasons(result):
            found.setdefault(reason, []).append(result["label"])
    return found


def _listed(labels: Sequence[str]) -> str:
    """Return the first labels, and how many more there are."""
    shown, more = ", ".join(labels[:_MOST_LABELS]), len(labels) - _MOST_LABELS
    return f"{shown} and {more} more" if more > 0 else shown


def _write_row(reporter: TerminalReporter, result: ResultData, width: int) -> None:
    """Write the figures and the verdict of a run of load, and below them its parts and its SLOs."""
    cells = _cells(result["metrics"], is_known=not result["not_judged"])
    reporter.write(f"{result['label']:{width}} {cells} ")
    reporter.write_line(result["verdict"], **_COLOURS[Verdict(result["verdict"])])
    if comparison := result.get("comparison"):
        _write_baseline_server(reporter, result, comparison, width)
    elif line := _intervals(result):
        reporter.write_line(line)
    if rates := open_loop_rates(result):
        reporter.write_line(f"  {rates}")
    for stage in result["stages"]:
        reporter.write_line("  " + ": ".join(stage_text(stage)))
    for name, kind in result.get("kinds", {}).items():
        reporter.write_line(f"  {kind_text(name, kind)}")
    for line in part_lines(result) if result["measured"] else ():
        reporter.write_line(f"  {line}")
    _write_slos(reporter, result)


def _write_slos(reporter: TerminalReporter, result: ResultData) -> None:
    """Write a line for each SLO: its verdict, the value, the limit and the margin."""
    rows = slo_rows(result) if result["measured"] else []
    lines = aligned([(f"{verdict:{_VERDICT_WIDTH}} {slo}", *rest) for verdict, (slo, *rest) in rows])
    for (verdict, _), line in zip(rows, lines, strict=True):
        reporter.write_line(f"  {line}", **_COLOURS[Verdict(verdict)])


def _write_baseline_server(
    reporter: TerminalReporter, result: ResultData, comparison: ServerComparisonData, width: int
) -> None:
    """Write the row of the baseline server, a line for each changed metric, and what else differs."""
    name = _fitting(comparison["against"], width - 2)
    reporter.write_line(f"  {name:{width - 2}} {_cells(comparison['metrics'], is_known=True)}")
    changed = changed_metrics(result)
    rows = [(each.name, each.change, f"smallest seen {each.smallest}", each.verdict) for each in changed]
    for line, each in zip(aligned(rows), changed, strict=True):
        reporter.write_line(f"  {line}", **(_COLOURS[Verdict(each.kind)] if each.kind else {}))
    for difference in comparison["differences"]:
        reporter.write_line(f"  {difference}")


def _fitting(against: str, width: int) -> str:
    """Return the name of a baseline server, without its beginning if it is too long."""
    for name in (f"against {against}", against):
        if len(name) <= width:
            return name
    return f"…{against[1 - width :]}"


def write_curve(reporter: TerminalReporter, search: SearchData) -> None:
    """Write the curve of a search for the largest load."""
    reporter.write_sep("=", f"{search['label']}: {search['over']} that hold {', '.join(search['slos'])}")
    for line in curve_lines(search["probes"], search["found"]):
        reporter.write_line(line)


def write_comparison(reporter: TerminalReporter, document: Document) -> None:
    """Write the comparison with a stored run, if there is one."""
    if comparison := document["comparison"]:
        reporter.write_sep("-", comparison["sentence"])
        for line in comparison_text.lines(comparison):
            reporter.write_line(line)
        for limit in comparison["limits"]:
            reporter.write_line(comparison_text.limit_line(limit), **_COLOURS[Verdict(limit["verdict"])])


def write_costs(reporter: TerminalReporter, document: Document) -> None:
    """Write the cost of each result and the recommendation, if there is a choice or costs were asked for."""
    priced = [(result, cost) for result in document["results"] if (cost := result["cost"])]
    if not shows_costs(document):
        return
    prices = document["prices"]
    width = max([_NAME_WIDTH, *(len(result["label"]) for result, _ in priced)])
    month = f"USD for {prices['hours_a_month']:g} h a month"
    reporter.write_line("")
    reporter.write_line(f"{'':{width}} {month} {'USD a million':>13}")
    for result, cost in priced:
        usd_a_month, million = usd(cost["month_usd"]), usd(cost["million_usd"])
        best = roles(document, result["label"])
        reporter.write_line(
            f"{result['label']:{width}} {usd_a_month:>{len(month)}} {million:>13}  {best}".rstrip()
        )
    reporter.write_line(f"prices: {prices['source']}, {prices['date']}")
    reporter.write_line(document["recommendation"]["sentence"])


def _intervals(result: ResultData) -> str:
    """Return ``  rps 148 [141, 156] n_eff 120, p95 210 [201, 224] n_eff 310``; empty without intervals."""
    texts = [
        measured_text(each, result["metrics"], result["intervals"], result["n_eff"])
        for each in columns()
        if each.key in result["intervals"]
    ]
    lines = [", ".join(texts[at : at + _FIGURES_A_LINE]) for at in range(0, len(texts), _FIGURES_A_LINE)]
    return "\n".join(f"  {line}" for line in lines) if not result["not_judged"] else ""


def _cells(metrics: Metrics, *, is_known: bool) -> str:
    return " ".join(f"{_cell(metrics, each, is_known):>{each.terminal_width}}" for each in _columns())


def _cell(metrics: Metrics, metric: Metric, is_known: bool) -> str:  # noqa: FBT001 - private, and one caller
    is_known = is_known and bool(metrics["requests"])
    return written(metric, metrics.get(metric.key)) if is_known else "-"


def _columns() -> list[Metric]:
    """Return the metrics that the terminal has room for."""
    return [each for each in columns() if each.terminal_width]
