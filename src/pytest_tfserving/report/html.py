"""The report as one HTML page, which needs no network and no other file."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import jinja2
from markupsafe import Markup

from pytest_tfserving.calibration.words import figures as calibration_lines
from pytest_tfserving.report import card, comparison_text, server_comparison
from pytest_tfserving.report.about import about
from pytest_tfserving.report.formatting import (
    causes,
    columns_of,
    curve_lines,
    figure,
    kind_cells,
    measured_cells,
    named,
    numbers,
    part_metrics,
    percent,
    percent_with_interval,
    reasons,
    roles,
    shows_costs,
    usd,
    with_interval,
    written,
)
from pytest_tfserving.report.json import finite
from pytest_tfserving.report.judged_parts import part_tables
from pytest_tfserving.report.markdown import verdict_line
from pytest_tfserving.slo.language import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_tfserving.experiments.load_profile import ProfileFields
    from pytest_tfserving.report.schema import (
        Document,
        GeneratorData,
        Intervals,
        Metrics,
        ResultData,
        RunData,
        SampleSizes,
        ServerData,
        StageData,
    )
    from pytest_tfserving.slo.metrics import Metric

ASSETS = Path(__file__).with_name("assets")
_MOST_REASONS = 5
# Fields of a load profile that only one kind of loop uses.
_OF_CLOSED_LOOPS = frozenset({"users", "spawn_rate", "think_time_s", "pace_s", "grpc_channels"})
_OF_BURSTS = frozenset({"cv", "burst_factor", "burst_s", "calm_s"})
_OF_REPLAYS = frozenset({"replay", "speed", "cut"})
_OF_OPEN_LOOPS = frozenset({"rate", "arrivals", "seed", "max_in_flight", *_OF_BURSTS, *_OF_REPLAYS})
# Characters that could end a script element, or a line of one.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the table: its text, its sort key, the verdict that colours it, its interval."""

    text: str
    value: float | str | None
    kind: str = ""
    interval: str = ""


def html_text(document: Document) -> str:
    """Return the HTML page of a document."""
    document = cast("Document", finite(document))
    results = document["results"]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS), autoescape=True, undefined=jinja2.StrictUndefined
    )
    counts = Counter(result["verdict"] for result in results)
    why = _why(results)
    times = sorted(result["started_at"][:16].replace("T", " ") + " UTC" for result in results)
    return environment.get_template("report.html.j2").render(
        **_whole(document),
        results=results,
        verdicts=[(str(verdict), counts[verdict]) for verdict in Verdict if counts[verdict]],
        why=why[:_MOST_REASONS],
        more=len(why) - _MOST_REASONS if len(why) > _MOST_REASONS else 0,
        comparison_text=comparison_text,
        server_comparison=server_comparison,
        began=times[0] if times else "",
        ended=times[-1] if times else "",
        columns=("experiment", "verdict", *(each.column for each in columns_of(results)), "USD a million"),
        cells=partial(_cells, shown=columns_of(results)),
        slos=card.slo_rows,
        about=about(results),
        facts=lambda result: list(_facts(result)),
        figures=_figures,
        stages=lambda result: list(map(_stage, result["stages"])),
        part_tables=part_tables,
        kind_head=("kind", *map(named, part_metrics())),
        kinds=lambda result: [[name, *kind_cells(kind)] for name, kind in result.get("kinds", {}).items()],
        with_interval=with_interval,
        figure=figure,
        head=card.head,
        remarks=lambda result: [] if why and len(results) == 1 else _remarks(result),
        usd=usd,
        roles=roles,
        css=asset("report.css"),
        d3=asset("d3.min.js"),
        plot=asset("plot.min.js"),
        script=asset("report.js"),
    )


def _whole(document: Document) -> dict[str, object]:
    """Return the parts of the page that are about the whole document, by their names in the template."""
    searches = document["searches"]
    calibration = document["calibration"]
    return {
        "document": document,
        "searches": [{**each, "lines": curve_lines(each["probes"], each["found"])} for each in searches],
        "priced": [each for each in document["results"] if each["cost"]] if shows_costs(document) else [],
        "verdict_line": verdict_line(document),
        "comparison": document["comparison"],
        "calibration": calibration,
        "calibrated": calibration_lines(calibration) if calibration else {},
        "data": script_data(_without_recordings(document)),
    }


def _why(results: Sequence[ResultData]) -> list[tuple[str, str, str]]:
    """Return why results are FAIL or INVALID: the verdict, the label and the reason, a row each.

    A warning has no verdict. A single result needs no label, and has its reasons even if it is INCONCLUSIVE
    or NOT JUDGED.
    """
    is_single = len(results) == 1
    told = set(Verdict) - {Verdict.PASS} if is_single else {Verdict.FAIL, Verdict.INVALID}
    return [
        (
            result["verdict"] if reason in causes(result) else "",
            "" if is_single else result["label"],
            reason.removeprefix(f"{result['verdict']}: "),
        )
        for result in results
        if result["verdict"] in told
        for reason in reasons(result)
    ]


def _remarks(result: ResultData) -> list[str]:
    """Return the reasons that the table of SLOs does not have."""
    judged = {f"{slo.verdict}: {slo.slo}: {slo.reason}" for slo in card.slo_rows(result)}
    return [reason for reason in reasons(result) if reason not in judged]


def _without_recordings(document: Document) -> dict[str, object]:
    """Return the document without recordings, which are as large as all the rest."""
    return {**document, "results": [_without_recording(result) for result in document["results"]]}


def _without_recording(run: RunData) -> dict[str, object]:
    """Return a run of load without its recordings, and without those of the baseline server."""
    kept: dict[str, object] = {name: value for name, value in run.items() if name != "recording"}
    kept["kinds"] = {
        kind: {name: value for name, value in figures.items() if name != "recording"}
        for kind, figures in run.get("kinds", {}).items()
    }
    if comparison := run.get("comparison"):
        kept["comparison"] = {**comparison, "result": _without_recording(comparison["result"])}
    return kept


def script_data(value: object) -> Markup:
    """Return a JSON value for a script element."""
    return Markup(json.dumps(finite(value), separators=(",", ":")).translate(_ESCAPES))  # noqa: S704 - escaped


def asset(name: str) -> Markup:
    """Return the text of a file for a page."""
    return Markup((ASSETS / name).read_text(encoding="utf-8"))  # noqa: S704 - our own files


def _cells(result: ResultData, shown: Sequence[Metric]) -> list[Cell]:
    metrics, intervals = result["metrics"], result["intervals"]
    name = Cell(result["label"], result["label"])
    verdict = Cell(result["verdict"], result["verdict"], result["verdict"])
    if result["not_judged"] or not metrics["requests"]:
        return [name, verdict, *[Cell("-", None)] * (len(shown) + 1)]
    million = result["cost"]["million_usd"] if result["cost"] else None
    return [
        name,
        verdict,
        *(_measured(each, metrics.get(each.key), intervals.get(each.key)) for each in shown),
        Cell(usd(million), million),
    ]


def _measured(metric: Metric, value: float | None, interval: Sequence[float] | None) -> Cell:
    """Return the cell of a figure; the interval has a line of its own, to keep the table narrow."""
    ends = ", ".join(written(metric, each) for each in interval or ())
    return Cell(written(metric, value), value, interval=f"[{ends}]" if value is not None and ends else "")


_ALTERNATIVES = {
    "from_send": " from when it was sent",
    "corrected": " corrected",
    "without_lateness": " at least, without the load generator's lateness",
}


def _figures(result: ResultData) -> list[tuple[str, str, str, str]]:
    """Return each figure: its name, its value, its interval and its effective sample size."""
    if result["not_judged"] or not result["metrics"]["requests"]:
        return []
    sources: list[tuple[str, Metrics, Intervals, SampleSizes]] = [
        ("", result["metrics"], result["intervals"], result["n_eff"]),
        *(
            (_ALTERNATIVES[kind], numbers(part), part.get("intervals", {}), part.get("n_eff", {}))
            for kind, part in result["alternatives"].items()
        ),
    ]
    return [
        (f"{name}{ending}", *cells)
        for ending, figures, intervals, n_eff in sources
        for name, cells in measured_cells(figures, intervals, n_eff)
    ]


def _stage(stage: StageData) -> list[str]:
    """Return the row of a stage: its time, its load, its figures."""
    share = stage["errors"] / stage["requests"] if stage["requests"] else None
    figures, intervals = numbers(stage), stage["intervals"]
    latencies = [
        with_interval(figures.get(name), intervals.get(name)) for name in ("p50_ms", "p95_ms", "p99_ms")
    ]
    return [
        f"{figure(stage['start_s'])} to {figure(stage['end_s'])}",
        figure(stage["level"]),
        with_interval(stage["rps"], intervals.get("rps")),
        *latencies,
        percent_with_interval(share, intervals.get("error_rate")),
    ]


def _facts(result: ResultData) -> Iterator[tuple[str, str]]:
    """Yield the conditions of a result, as names and values."""
    window, generator = result["window"], result["generator"]
    yield "measured at", result["started_at"]
    yield "window", f"{window['start_s']:.1f} s to {window['end_s']:.1f} s of {result['run_s']:.1f} s"
    unused = _unused(result["profile"])
    used = [f"{name} {value}" for name, value in _fields(result["profile"]) if name not in unused]
    yield "load", ", ".join(used)
    lag = f"its event loop late by {figure(generator['lag_p95_ms'])} ms (p95)"
    if result["noise_memory_s"] is not None:
        yield "noise memory", f"{figure(result['noise_memory_s'])} s"
    yield "load generator", f"{percent(generator['cpu'])} of a core, {lag}, {_waiting(generator)}"
    if arrivals := result["arrivals"]:
        yield "arrivals", ", ".join(f"{name} {figure(value)}" for name, value in numbers(arrivals).items())
    if result["server"]:
        yield from _server_facts(result["server"])
    yield "reached", result["via"] or "-"
    if result["errors"]:
        yield "errors", ", ".join(f"{count} x {cause}" for cause, count in result["errors"].items())
    yield from _flat("", {**result["configuration"], **result["environment"]})


def _unused(profile: ProfileFields) -> frozenset[str]:
    """Return the names of the fields that the kind of load does not use."""
    if not profile.get("rate"):
        return _OF_OPEN_LOOPS
    if profile.get("replay"):
        return _OF_CLOSED_LOOPS | _OF_BURSTS | {"arrivals"}
    bursts = frozenset(name for name in _OF_BURSTS if not profile.get(name))
    return _OF_CLOSED_LOOPS | _OF_REPLAYS | bursts


def _fields(profile: ProfileFields) -> Iterator[tuple[str, object]]:
    """Yield the fields of a load profile that are set; of a trace the name of its file."""
    for name, value in profile.items():
        if isinstance(value, dict):
            yield name, value["path"]
        elif value not in (None, [], ""):
            yield name, value


def _waiting(generator: GeneratorData) -> str:
    """Return how long the load generator waited for a core, and which processes had the core."""
    taken_by = f" ({', '.join(generator['taken_by'])})" if generator["taken_by"] else ""
    return f"waiting for one {percent(generator['wait'])} of the time{taken_by}"


def _server_facts(server: ServerData) -> Iterator[tuple[str, str]]:
    """Yield the observations of the replicas, without unknown ones."""
    if figures := numbers(server):
        yield "server", ", ".join(f"{name} {figure(value)}" for name, value in figures.items())
    if server["incidents"]:
        yield "what happened to replicas", "; ".join(server["incidents"])
    if server["tf_metrics"]:
        grown = server["tf_metrics"].items()
        yield "TF Serving's metrics", ", ".join(f"{name} {figure(value)}" for name, value in grown)


def _flat(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name} ", value)
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", " ".join(map(str, value))
        else:
            yield f"{prefix}{name}", str(value)
