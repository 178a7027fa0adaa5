"""JUnit: figures and verdicts as ``<properties>`` of the test that requested them; a session that fails."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.report.formatting import with_brackets
from pytest_tfserving.report.json import metrics
from pytest_tfserving.report.server_comparison import property_texts
from pytest_tfserving.slo.language import full_reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.load.result import Result
    from pytest_tfserving.slo.language import Judgement, Verdict

# The runs of load that a test has taken, and the names of this plugin's properties.
_RUNS = pytest.StashKey[list[str]]()
_NAMES = pytest.StashKey[set[str]]()
# The class and the name of the testcase that fails where no test does.
_PLUGIN, _SESSION = "pytest-tfserving", "session"


def add_result(item: pytest.Item, run: str, result: Result) -> None:
    """Add every metric of ``result`` as a property of ``item``.

    If the test has taken another ``run`` of load before, the properties of the earlier run get a prefix.
    """
    taken = item.stash.setdefault(_RUNS, [])
    if taken and taken[-1] != run:
        _set_aside(item, f"run {len(taken)}: ")
    if taken[-1:] != [run]:
        taken.append(run)
    facts = {
        "experiment": result.experiment,
        **{name: text for name, text in result.origin.items() if text},
        "target": result.target,
        "via": result.via,
        "profile": result.profile["name"],
        **_load(result),
        "window_s": round(result.window.length_s, 3),
        "errors": sum(result.errors.values()),
    }
    figures = {name: round(value, 4) for name, value in metrics(result).items() if math.isfinite(value)}
    ranges = {f"{name}_interval": with_brackets(interval) for name, interval in result.intervals.items()}
    sizes = {f"{name}_n_eff": value for name, value in result.n_eff.items()}
    _add(item, facts | figures | ranges | sizes | _by_kind(result) | _against(result))


def _by_kind(result: Result) -> dict[str, float]:
    """Return the figures of each kind of requests, as ``kind:large:p95_ms``; empty with one kind."""
    return {
        f"kind:{kind}:{name}": round(value, 4)
        for kind in result.kinds
        for name, value in metrics(result.of_kind(kind)).items()
        if math.isfinite(value)
    }


def _load(result: Result) -> dict[str, float]:
    """Return the users of a closed loop, or the rates of an open loop: asked for, due and sent."""
    rate = result.profile.get("rate")
    if not rate:
        return {"users": result.users}
    adherence = result.arrivals
    found = (
        {"due_rps": round(adherence.due_rps, 4), "sent_rps": round(adherence.sent_rps, 4)}
        if adherence
        else {}
    )
    return {"rate": rate, **found}


def _against(result: Result) -> dict[str, str]:
    """Return the baseline server, and the change of each metric against it; empty without one."""
    comparison = result.comparison
    if comparison is None:
        return {}
    changes = {f"against:{key}": text for key, text in property_texts(comparison).items()}
    return {"against": comparison.against, **changes}


def add_changes(item: pytest.Item, changes: Mapping[str, str]) -> None:
    """Add the change of every figure since a stored run as a property ``change:KEY``."""
    _add(item, {f"change:{key}": text for key, text in changes.items()})


def add_judgements(item: pytest.Item, judgements: list[Judgement]) -> None:
    """Add every verdict as a property ``slo:TEXT``."""
    _add(
        item,
        {
            f"slo:{each.slo.text}": f"{each.verdict}: {full_reason(each.reason, strict=each.slo.strict)}"
            for each in judgements
        },
    )


def add_verdict(item: pytest.Item, verdict: Verdict) -> None:
    """Set the verdict that decided the test."""
    _add(item, {"verdict": verdict.value})


def add_failed_session(config: pytest.Config, causes: list[str]) -> None:
    """Add a failed testcase to the XML, if pytest writes any: who reads it does not see an exit code."""
    from _pytest.junitxml import xml_key

    if xml := config.stash.get(xml_key, None):
        place = (_PLUGIN, None, _SESSION)
        nodeid = f"{_PLUGIN}::{_SESSION}"
        report = pytest.TestReport(nodeid, place, {}, "failed", longrepr="\n".join(causes), when="call")
        xml.pytest_runtest_logreport(report)


def _set_aside(item: pytest.Item, prefix: str) -> None:
    """Put a prefix before the names of the last run's properties; keep the verdict that decided the test."""
    verdict = [pair for pair in item.user_properties if pair[0] == "verdict"]
    ours = item.stash.get(_NAMES, set())
    renamed = [(f"{prefix}{name}" if name in ours else name, value) for name, value in item.user_properties]
    item.user_properties[:] = [*renamed, *verdict]


def _add(item: pytest.Item, values: dict[str, object]) -> None:
    item.stash.setdefault(_NAMES, set()).update(values)
    kept = [pair for pair in item.user_properties if pair[0] not in values]
    item.user_properties[:] = [*kept, *values.items()]
