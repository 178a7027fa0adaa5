"""Results made up for reports and verdicts: what a run of the study, or of a project, could have measured."""

from __future__ import annotations

import json
import math
import os
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from pytest_tfserving.deployment.deployment import Deployment
from pytest_tfserving.experiments.yaml_file import read_file
from pytest_tfserving.load.result import Generator, Result, ScheduleAdherence, Window
from pytest_tfserving.load.run_record import RATE, USERS, RunRecord
from pytest_tfserving.load.server_comparison import ServerComparison
from pytest_tfserving.measurement import measure
from pytest_tfserving.report.comparison import Base, compare
from pytest_tfserving.report.cost import Pricing
from pytest_tfserving.report.json import json_text, metrics
from pytest_tfserving.report.report_data import document_of
from pytest_tfserving.report.store import Entry
from pytest_tfserving.report.stored_runs import kept, stored_form
from pytest_tfserving.slo.change_limit import ChangeLimit
from pytest_tfserving.slo.change_tests import ServerChange
from pytest_tfserving.slo.language import Slo
from pytest_tfserving.statistics.span import SpanStatistics
from pytest_tfserving.targets.docker.target import DockerTarget
from pytest_tfserving.targets.kubernetes.target import KubernetesTarget
from pytest_tfserving.targets.local import LocalTarget
from pytest_tfserving.targets.url import UrlTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import pytest
    from numpy.typing import NDArray

    from harness import Project
    from pytest_tfserving.calibration.content import Calibration, Core, SmallestChanges, WanderFigures
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.measurement.prepared_load import LoadRequest
    from pytest_tfserving.report.schema import Document, ProbeData, SearchData
    from pytest_tfserving.targets.common.request import DeploymentRequest

Floats: TypeAlias = "NDArray[np.float64]"
STUDY = [
    each
    for each in read_file(Path(__file__).parents[2] / "perf_tests" / "experiments.yaml").experiments
    if each.profile.name == "study"
]


_CONFTEST = """
from types import SimpleNamespace
import planted_results as planted
import pytest

planted.instead_of_load(SimpleNamespace(monkeypatch=pytest.MonkeyPatch()), {special})
"""


def result(index: int = 0, rps: float = 50.0, p50_ms: float = 300.0, **changes: object) -> Result:
    """A result of the study's experiment ``index``, with ``rps`` and about ``p50_ms`` at its plateau."""
    return Result(**(_planted(index, rps, p50_ms) | changes))


@cache
def _planted(index: int, rps: float, p50_ms: float) -> dict[str, Any]:
    """The fields of a result, whose intervals take longer than all else of a short test."""
    experiment = STUDY[index]
    run_s, ramp_s = int(experiment.profile.run_time_s), 150
    random = np.random.default_rng(index)
    finished_s = np.sort(random.uniform(0, run_s, int(rps * run_s)))
    latencies_ms = p50_ms * np.exp(random.normal(0, 0.2, len(finished_s)))
    window = Window(float(ramp_s), float(run_s))
    part = SpanStatistics(window.start_s, window.end_s)
    part.add(finished_s, latencies_ms, np.zeros(len(finished_s), bool))
    part.close()
    part.see_again(finished_s, latencies_ms, np.zeros(len(finished_s), bool))
    intervals, n_eff = part.intervals()
    return {
        "experiment": experiment.name,
        "target": "kubernetes",
        "profile": asdict(experiment.profile),
        "started_at": f"2026-03-0{1 + index // 10}T10:{10 + index}:00.000+00:00",
        "window": window,
        "latencies": part.latencies,
        "errors": {},
        "users": experiment.profile.users,
        "run_s": float(run_s),
        "total_requests": len(finished_s),
        "total_errors": 0,
        "generator": Generator(0.31, 1.2),
        "via": "LoadBalancer",
        "endpoints": ["http://10.0.0.1:8501"],
        "intervals": intervals,
        "n_eff": n_eff,
        "configuration": experiment.configuration,
        "series": [_second(second, finished_s, latencies_ms) for second in range(run_s)],
        "run_record": _record(experiment.profile, finished_s, run_s),
        "environment": {"machine": {"cpu": "a CPU", "cores": 16}, "commit": "0123abc"},
    }


def in_open_loop(planted: Result, rate: float) -> Result:
    """``planted`` as if its load had been a rate of requests, in a run that ended within a second."""
    length = int(planted.run_s)
    even = tuple(rate + at % 3 - 1 for at in range(length))
    # The last step lasted 0.4 s.
    sent, ended = (*even, 0.4 * rate), (*(0.99 * each for each in even), 0.4 * rate)
    record = RunRecord(
        RATE, 1, (rate,) * (length + 1), sent, sent, ended, (1,) * (length + 1), len(planted.series), 0, 0
    )
    last = {**planted.series[-1], "at_s": length}
    return replace(
        planted,
        profile={**planted.profile, "users": 0, "rate": rate, "arrivals": "poisson"},
        users=0,
        run_s=length + 0.4,
        arrivals=ScheduleAdherence(rate, 0.999 * rate, 0, 0.1, 0.3, 2.0),
        run_record=record,
        series=[{**each, "users": 0} for each in (*planted.series, last)],
    )


def against(candidate: Result, baseline: Result, *differences: str) -> ServerComparison:
    """What a comparison of two results has, each change known to two per cent."""
    ours, theirs = metrics(candidate), metrics(baseline)
    changes = {}
    for key in ("rps", "p50_ms", "p95_ms", "p99_ms", "mean_ms", "error_rate", "cpu_per_request_ms"):
        value = ours[key] - theirs[key] if key == "error_rate" else ours[key] / theirs[key] - 1
        if math.isfinite(value):
            width = 0.02 if value else 0.0
            changes[key] = ServerChange(value, value - width, value + width, 0.03 if value else math.nan)
    return ServerComparison("image:serving:main", baseline, changes, 0.1, differences)


def compared(
    *differences: str, index: int = 0, rps: float = 50.0, p50_ms: float = 330.0, **changes: object
) -> Result:
    """A result of a candidate with ``p50_ms``, with that of a baseline server with 300 ms."""
    candidate = result(index, rps, p50_ms, **changes)
    return replace(candidate, comparison=against(candidate, result(), *differences))


def entry(planted: Result, *slos: str) -> Entry:
    """``planted`` as a test has judged it."""
    parsed = [Slo.parse(text) for text in slos or ("rps>=40", "p95<1000ms")]
    return Entry(planted.experiment, planted, [("test_slos", each) for each in planted.judge(parsed)])


def document(*entries: Entry, interrupted: bool = False, searches: Sequence[SearchData] = ()) -> Document:
    """The document of a run."""
    return document_of(entries, interrupted=interrupted, pricing=Pricing(), searches=searches)


def _nothing_special(_: LoadProfile) -> dict[str, Any]:
    return {}


def in_every_process(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, special: str = "lambda _: {}"
) -> None:
    """Let `instead_of_load` hold for processes of their own, too, by a conftest; ``special`` is its code."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    pytester.makeconftest(_CONFTEST.format(special=special))


def instead_of_load(
    project: Project, special: Callable[[LoadProfile], dict[str, Any]] = _nothing_special
) -> None:
    """Let each run of load of a project have a planted `result`; nothing is started.

    ``special`` has arguments of `result` for a run's profile. All else is real: how tests come to their
    experiments, verdicts, reports. It holds for runs in this process only.
    """

    def deployed(order: DeploymentRequest) -> AbstractContextManager[Deployment]:
        name = order.experiment.name
        return nullcontext(Deployment(order.experiment, name, {"half": "/v1/models/half"}, {}, via="nothing"))

    def measured(deployment: Deployment, asked: LoadRequest, *_: object) -> tuple[Result, bool]:
        return result(**_about(deployment, asked), **special(asked.profile)), False

    _instead_of_deploying(project, deployed)
    project.monkeypatch.setattr(measure, "measure", measured)


def instead_of_servers(project: Project) -> list[tuple[str, str]]:
    """Let a file `weights` in a project's model say how slow it is, in ms; nothing is started.

    Return a list that gets the weights as they were deployed, and the request, of each run of load.
    """
    runs: list[tuple[str, str]] = []

    def deployed(order: DeploymentRequest) -> AbstractContextManager[Deployment]:
        (base_path,) = order.model_paths().values()
        weights = (base_path / "1" / "weights").read_text(encoding="utf-8")
        name = order.experiment.name
        about: dict[str, Any] = {"via": "nothing", "environment": {"weights": weights}}
        return nullcontext(Deployment(order.experiment, name, {"half": ""}, {}, **about))

    def measured(deployment: Deployment, asked: LoadRequest, *_: object) -> tuple[Result, bool]:
        weights = str(deployment.environment["weights"])
        runs.append((weights, asked.payloads[0].payload.body.decode()))
        return result(**_about(deployment, asked), p50_ms=float(weights)), False

    _instead_of_deploying(project, deployed)
    project.monkeypatch.setattr(measure, "measure", measured)
    return runs


def _instead_of_deploying(
    project: Project, deployed: Callable[[DeploymentRequest], AbstractContextManager[Deployment]]
) -> None:
    for target in (LocalTarget, DockerTarget, KubernetesTarget, UrlTarget):
        project.monkeypatch.setattr(target, "deploy", lambda _, order: deployed(order))


def _about(deployment: Deployment, asked: LoadRequest) -> dict[str, Any]:
    return {
        "experiment": deployment.label,
        "target": deployment.experiment.target,
        "profile": asdict(asked.profile),
        "users": asked.profile.users,
        "configuration": deployment.configuration,
    }


def search() -> SearchData:
    """A search for the largest rate of a server that has its knee near 64."""
    loads = (16.0, 32.0, 48.0, 56.0, 58.0, 64.0, 64.0, 80.0, 128.0)
    probes: list[ProbeData] = [
        {
            "load": load,
            "holds": load <= 64,
            "rps": min(load, 70.0),
            "p95_ms": 20 + 4000 / max(75 - load, 5),
            "reason": "" if load <= 64 else "FAIL",
            "rps_interval": (0.97 * min(load, 70.0), 1.03 * min(load, 70.0)),
            "p95_interval": None
            if load == 128
            else (18 + 3800 / max(75 - load, 5), 25 + 4300 / max(75 - load, 5)),
        }
        for load in loads
    ]
    found = "64 is the largest load that held, confirmed, after 9 probes"
    return {
        "experiment": STUDY[0].name,
        "target": "kubernetes",
        "over": "rate",
        "slos": ["p95<400ms"],
        "knee": 64.0,
        "confirmed": True,
        "found": found,
        "probes": probes,
    }


def study() -> Document:
    """All fifteen: most pass, some fail, one each is INVALID, NOT JUDGED and INCONCLUSIVE."""
    spoilt = {
        3: {"invalid": "the load generator, not the server, was the limit: it used 97 % of its core"},
        7: {"not_judged": "needs 16 vCPUs, this machine has 2; smoke run: 12 requests, 0 errors"},
        12: {"incomplete": "the run was interrupted"},
    }
    return document(
        *(
            entry(result(index, 30 + 4 * index, 400 - 15 * index, **spoilt.get(index, {})))
            for index in range(len(STUDY))
        )
    )


def _second(second: int, finished_s: Floats, latencies_ms: Floats) -> dict[str, float]:
    first, last = np.searchsorted(finished_s, [second, second + 1])
    part = np.sort(latencies_ms[first:last])
    row: dict[str, float] = {
        "at_s": second,
        "users": min(second + 1, 150),
        "successes": len(part),
        "errors": 0,
    }
    if len(part):
        row["p50_ms"] = round(float(part[len(part) // 2]), 3)
        row["p95_ms"] = round(float(part[int(0.95 * (len(part) - 1))]), 3)
    return row


def _record(profile: LoadProfile, finished_s: Floats, run_s: int) -> RunRecord:
    users = tuple(float(min(second + 1, profile.users)) for second in range(run_s))
    ended = tuple(np.histogram(finished_s, range(run_s + 1))[0].astype(float).tolist())
    counts = {"to_record": len(finished_s), "recorded": len(finished_s)}
    return RunRecord(USERS, 1, users, users, ended, ended, (1,) * run_s, **counts)


def calibration() -> Calibration:
    """What `pytest-tfserving calibrate` could have measured on a machine with two cores."""
    wall: WanderFigures = {
        "scatter": 0.2,
        "level_sd": 0.1,
        "noise_sd": 0.1,
        "memory_s": 2.0,
        "memory_high_s": 3.1,
        "slow_share": 0.25,
    }
    core: Core = {
        "waited": 0.1,
        "steal": 0.02,
        "wall": wall,
        "cpu": {**wall, "scatter": 0.05},
        "slowness": [[at / 2, 1 + 0.1 * math.sin(at)] for at in range(60)],
        "autocorrelation": [[lag / 2, math.exp(-lag / 4), math.exp(-lag / 5)] for lag in range(1, 21)],
    }
    changes: SmallestChanges = {"p95": 0.1, "rps": 0.08, "cpu_per_request": 0.02}
    return {
        "machine": {"cpu": "a CPU", "cores": 2, "ram_gb": 8, "id": "1"},
        "measured_at": "2026-03-01T09:00:00+00:00",
        "noise_memory_s": 3.1,
        "cores": [{**core, "core": number} for number in range(2)],
        "generator": {"p50_ms": 0.05, "p95_ms": 0.07, "lag_p95_ms": 0.5, "rps": 40_000.0},
        "gate": {
            "server": "the embedded server",
            "run_time_s": 8.0,
            "runs": [{"p95_ms": 4.0, "rps": 900.0, "verdicts": {}}],
            "passed": 0,
            "failed": 0,
            "inconclusive": 2,
            "invalid": 0,
        },
        "left_out": [],
        "smallest_change": {"30": changes, "60": changes, "120": changes},
        "answer": ["This machine is fit to gate at 10 % with runs of 60 s."],
    }


def every_part() -> dict[str, Any]:
    """The JSON of a document with a part of every kind, short enough to be reported a thousand times."""
    stage = {"start_s": 0, "end_s": 9, "level": 4, "requests": 9, "rps": 1.0, "errors": 0}
    staged = result(3, invalid="x", stages=[{**stage, "intervals": {}, "n_eff": {}}])
    entries = (entry(result(0)), entry(staged), entry(compared("the causes", index=7, rps=9), "p95<=+5%"))
    content: dict[str, Any] = json.loads(
        json_text({**document(*entries, searches=[search()]), "calibration": calibration()})
    )
    before = stored_form(document(entry(result(0))), "main", "2026-03-01T10:30:00+00:00", None)
    base = Base(before, None, "this machine is not calibrated")
    results = [kept(each) for each in content["results"]]
    content["comparison"] = compare(results, base, [ChangeLimit.parse("p95:5%")], 0.01)
    comparison = content["results"][2]["comparison"]
    comparison["distribution"] = comparison["distribution"][-3:]
    for each in content["results"]:
        each["distribution"] = each["distribution"][-3:]
    for each in (*content["results"], comparison["result"]):
        each["series"] = each["series"][:3]
        each["recording"].update(exact_ms=None, slices=[])
    return content
