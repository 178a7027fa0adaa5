"""Figures and verdicts as JUnit ``<properties>`` of the test that asked for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_tfserving.report.figures import with_brackets
from pytest_tfserving.report.json import metrics

if TYPE_CHECKING:
    import pytest

    from pytest_tfserving.load.result import Result
    from pytest_tfserving.slo import Judgement, Verdict


def add_result(item: pytest.Item, result: Result) -> None:
    """Every metric of ``result`` as a property of ``item``."""
    facts = {
        "experiment": result.experiment,
        "target": result.target,
        "reached": result.reached,
        "profile": result.profile["name"],
        "users": result.users,
        "window_s": round(result.window.length_s, 3),
        "errors": sum(result.errors.values()),
    }
    figures = {name: round(value, 4) for name, value in metrics(result).items() if math.isfinite(value)}
    ranges = {f"{name}_interval": with_brackets(interval) for name, interval in result.intervals.items()}
    sizes = {f"{name}_n_eff": value for name, value in result.effective.items()}
    _add(item, facts | figures | ranges | sizes)


def add_judgements(item: pytest.Item, judgements: list[Judgement]) -> None:
    """Every verdict as a property ``slo:TEXT``."""
    _add(item, {f"slo:{each.slo.text}": f"{each.verdict}: {each.reason}" for each in judgements})


def add_verdict(item: pytest.Item, verdict: Verdict) -> None:
    """The verdict that decided the test."""
    _add(item, {"verdict": verdict.value})


def _add(item: pytest.Item, values: dict[str, object]) -> None:
    kept = [pair for pair in item.user_properties if pair[0] not in values]
    item.user_properties[:] = [*kept, *values.items()]
