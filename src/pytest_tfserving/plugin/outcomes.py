"""The effect of verdicts on a test: pass, fail, skip as NOT JUDGED, or warn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError, warn_user
from pytest_tfserving.report import junit
from pytest_tfserving.report.slo_lines import headline
from pytest_tfserving.slo.language import Judgement, Slo, Verdict, full_reason
from pytest_tfserving.slo.metrics import metric_of

if TYPE_CHECKING:
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.settings import Settings

# An SLO on rate or latency alone would pass a server that fails one request in ten.
DEFAULT_ERRORS_SLO = replace(Slo.parse("errors<1%"), guard=True)


def with_errors(slos: tuple[Slo, ...]) -> tuple[Slo, ...]:
    """Return ``slos``, with one on errors unless they have one or are empty."""
    if not slos or any(slo.metric == "errors" and not slo.kind for slo in slos):
        return slos
    return (*slos, DEFAULT_ERRORS_SLO)


def stop_unless_measured(item: pytest.Item, result: Result, settings: Settings) -> None:
    """Fail or skip a test whose result has no valid figures."""
    __tracebackhide__ = True
    if cause := result.aborted:
        incidents = result.server.incidents if result.server else ()
        seen = (*incidents, *result.warnings)
        _fail_by(item, Verdict.FAIL, cause, result, *(f"  server: {each}" for each in seen))
    if cause := result.invalid:
        _fail_by(item, Verdict.INVALID, cause, result)
    if cause := result.incomplete:
        _fail_by(item, Verdict.INCONCLUSIVE, cause, result)
    if cause := result.not_judged:
        if settings.unfit == "fail":
            _fail_by(item, Verdict.NOT_JUDGED, cause, result)
        _skip(item, f"{Verdict.NOT_JUDGED}: {cause}")


def settle(
    item: pytest.Item,
    settings: Settings,
    result: Result,
    judgements: list[Judgement],
    metrics: tuple[str, ...],
) -> None:
    """Turn the verdicts on the SLOs that a test checked into the test's outcome."""
    __tracebackhide__ = True
    _check_metrics(metrics)
    junit.add_judgements(item, judgements)
    strict = [each for each in judgements if each.slo.strict]
    bad = [each for each in strict if _fails(each, settings)]
    if bad:
        text = f"{headline(bad)}\n{explain(result, judgements)}"
        _fail(item, Verdict.worst(each.verdict for each in bad), text)
    answers = [each for each in strict if _answers(each, metrics)]
    if all(each.verdict is Verdict.NOT_JUDGED for each in answers):
        _skip(item, _not_judged(result, answers, metrics))
    for each in strict:
        if each.verdict in (Verdict.INCONCLUSIVE, Verdict.NOT_JUDGED):
            warn_user(f"{result.experiment}: {each}")
    junit.add_verdict(item, Verdict.worst(each.verdict for each in strict))


def doubt_reading(item: pytest.Item, result: Result, figure: str, problem: str, settings: Settings) -> None:
    """Warn of a figure that a test reads and that rests on too few data; fail if an option says so."""
    __tracebackhide__ = True
    text = f"{_who(result)}: {figure}: {problem}"
    if settings.inconclusive == "fail":
        _fail(item, Verdict.INCONCLUSIVE, text)
    warn_user(text)


def _check_metrics(metrics: tuple[str, ...]) -> None:
    __tracebackhide__ = True
    for metric in metrics:
        try:
            metric_of(metric.partition("{")[0])
        except ConfigurationError as error:
            raise pytest.fail.Exception(f"check(): {error}", pytrace=False) from None


def explain(result: Result, judgements: list[Judgement]) -> str:
    """Return every verdict with its figures, and the requests and the load behind them."""
    worst = Verdict.worst(each.verdict for each in judgements if each.slo.strict)
    lines = [f"{_who(result)}: {worst}"]
    for each in judgements:
        reason = full_reason(each.reason, strict=each.slo.strict)
        lines.append(f"  {each.verdict:12} {each.slo.text}: {reason}")
    lines.append(
        f"  {result.requests} requests in a window of {result.window.length_s:.1f} s "
        f"from {result.window.start_s:.1f} s on, {result.load_text}"
    )
    lines += [f"  {count} x {cause}" for cause, count in result.errors.items()]
    lines += [f"  server: {each}" for each in result.warnings]
    if worst is Verdict.FAIL:
        lines += [f"  server: {finding}" for finding in result.server_findings]
        lines += [f"  {each}" for each in (result.comparison.differences if result.comparison else ())]
    return "\n".join(lines)


def _answers(judgement: Judgement, metrics: tuple[str, ...]) -> bool:
    """Return whether a test asked for the judged SLO, which may also be judged only along with others."""
    slo = judgement.slo
    return bool({slo.metric, slo.subject} & {*metrics}) if metrics else slo is not DEFAULT_ERRORS_SLO


def _fails(judgement: Judgement, settings: Settings) -> bool:
    if judgement.verdict is Verdict.INCONCLUSIVE:
        return settings.inconclusive == "fail" or not judgement.estimate_holds
    return judgement.verdict in (Verdict.FAIL, Verdict.INVALID)


def _not_judged(result: Result, answers: list[Judgement], metrics: tuple[str, ...]) -> str:
    measured = f"measured {result.rps:.4g} rps, p95 {result.p95_ms:.4g} ms"
    if answers:
        return f"{Verdict.NOT_JUDGED}: {answers[0].slo.text}: {answers[0].reason}; {measured}"
    which = f" for {' or '.join(metrics)}" if metrics else ""
    return f"{Verdict.NOT_JUDGED}: no SLO{which} on target {result.target!r}; {measured}"


def _who(result: Result) -> str:
    return f"{result.experiment} on {result.target}"


def _fail_by(item: pytest.Item, verdict: Verdict, cause: str, result: Result, *more: str) -> None:
    """Fail a test by a cause, which comes first: pytest's summary has only the first line."""
    __tracebackhide__ = True
    _fail(item, verdict, "\n".join((f"{verdict}: {cause}", f"{_who(result)}: {verdict}", *more)))


def _fail(item: pytest.Item, verdict: Verdict, text: str) -> None:
    __tracebackhide__ = True
    junit.add_verdict(item, verdict)
    pytest.fail(text, pytrace=False)


def _skip(item: pytest.Item, text: str) -> None:
    __tracebackhide__ = True
    junit.add_verdict(item, Verdict.NOT_JUDGED)
    pytest.skip(text)
