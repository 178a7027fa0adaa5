"""Summary at the end of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.report.terminal import write_comparison, write_costs, write_curve, write_table

if TYPE_CHECKING:
    import pytest
    from _pytest.terminal import TerminalReporter


def write_summary(reporter: TerminalReporter, config: pytest.Config, *, interrupted: bool) -> None:
    """Write the table of a pytest run, if the run measured anything."""
    from pytest_tfserving.plugin.session_start import session_of
    from pytest_tfserving.plugin.stored import document
    from pytest_tfserving.report.labels import labelled_searches

    perf = session_of(config)
    perf.progress.close()
    if perf.entries():
        made = document(perf, interrupted=interrupted)
        write_table(reporter, made)
        write_costs(reporter, made)
        write_comparison(reporter, made)
    for search in labelled_searches(perf.searches()):
        write_curve(reporter, search)
    for note in perf.notes():
        reporter.write_line(note)
    for line in perf.slo_update.diff if perf.slo_update else ():
        reporter.write_line(line, green=line.startswith("+"), red=line.startswith("-"))
    saved = [perf.saved] if perf.saved else []
    for path in [*perf.settings.report_files, *saved]:
        if path.exists():
            here = config.invocation_params.dir
            reporter.write_line(f"results: {path.relative_to(here) if path.is_relative_to(here) else path}")
