"""The HTML report as a person has it: in a real browser."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import planted_results as planted
from harness import until
from pytest_tfserving.load.kinds import KindFigures
from pytest_tfserving.report.html import html_text
from pytest_tfserving.report.json import finite
from pytest_tfserving.slo.evidence_path import EvidencePath
from pytest_tfserving.slo.language import Undecided
from pytest_tfserving.slo.noise import Noise, NoiseKind
from pytest_tfserving.slo.span_figure import SpanFigure
from pytest_tfserving.statistics.latencies import Latencies

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_tfserving.report.schema import Document, ResultData

pytestmark = pytest.mark.needs("browser")

LATENCIES = Latencies.of(np.array([300.0, 310.0]))
CHARTS = ("chart-rps", "chart-latency", "chart-percentiles", "chart-cost-rps", "chart-cost-p95")
BARS = "#chart-rps svg[role=img] [aria-label=bar] rect"
LINES = "#chart-rps svg[role=img] [aria-label=line] path"


@pytest.fixture(scope="module")
def study() -> Document:
    return planted.study()


@pytest.fixture(scope="module")
def html(study: Document) -> str:
    return html_text(study)


def measured(document: Document) -> list[ResultData]:
    return [result for result in document["results"] if result["measured"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_without_a_complaint(
    show: Callable[..., Any], html: str, study: Document, scheme: str
) -> None:
    page = show(html, dark=scheme == "dark")

    assert page.errors() == []
    assert page.count(BARS) == len(measured(study)) == 12
    assert page.count("#chart-latency svg[role=img] [aria-label=dot] circle") == 12
    assert page.count("#chart-percentiles svg[role=img] [aria-label=line] path") == 12
    for chart in CHARTS:
        assert page.script(f"document.querySelector('#{chart} svg[role=img]').clientHeight") > 150
    page.screenshot(scheme)


def test_the_machines_noise_is_drawn_core_by_core(show: Callable[..., Any], study: Document) -> None:
    page = show(html_text({**study, "calibration": planted.calibration()}))

    assert page.errors() == []
    assert page.count("#chart-wander svg[role=img] [aria-label=line] path") == 2
    assert page.count("#chart-memory svg[role=img] [aria-label=line] path") == 2
    assert page.count("#chart-memory svg[role=img] [aria-label=dot] circle") == 2 * 20
    assert "fit to gate at 10 %" in page.script(
        "document.querySelector('#calibration').parentElement.textContent"
    )
    assert page.errors() == []
    page.driver.execute_script("document.querySelector('#calibration').scrollIntoView()")
    page.screenshot("calibration")


def test_the_figures_need_no_sideways_scroll(show: Callable[..., Any], study: Document) -> None:
    wide = {"rps": (14800.0, 15600.0), "p50_ms": (1201.0, 1299.0), "p95_ms": (11201.0, 12299.0)}
    intervals = {
        **wide,
        "p99_ms": (21201.0, 22299.0),
        "error_rate": (0.0123, 0.0234),
        "efficiency": (0.801, 0.899),
    }
    changes = {
        "intervals": {**intervals, "cpu_per_request_ms": (123.4, 234.5)},
        "experiment": "a-long-name-" * 6,
    }
    document: Any = {**study, "results": [{**each, **changes} for each in study["results"]]}
    page = show(html_text(document))

    for details in page.driver.find_elements("css selector", "details > summary"):
        details.click()

    scrolled = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth)"
    assert (
        page.script(f"{scrolled}.map(box => box.getAttribute('aria-label') || box.querySelector('table').id)")
        == []
    )
    assert page.script("document.documentElement.scrollWidth") <= 1280
    page.driver.execute_script("document.querySelector('#table').scrollIntoView()")
    page.screenshot("figures")


def test_one_experiment_has_one_colour_in_every_picture_and_in_the_table(
    show: Callable[..., Any], html: str, study: Document
) -> None:
    page = show(html)
    names = [result["experiment"] for result in study["results"]]
    shown = {result["experiment"] for result in measured(study)}
    painted = "each => d3.color(each.style.background).formatHex()"

    def colours(selector: str, attribute: str) -> list[str]:
        code = f"[...document.querySelectorAll('{selector}')].map(each => each.getAttribute('{attribute}'))"
        return [str(each) for each in page.script(code)]

    swatches = page.script(f"[...document.querySelectorAll('#table tbody .swatch')].map({painted})")
    by_name = dict(zip(names, swatches, strict=True))
    assert len(set(swatches)) == 15
    expected = [by_name[name] for name in names if name in shown]
    assert colours("#chart-rps svg[role=img] [aria-label=bar] rect", "fill") == expected
    assert colours("#chart-latency svg[role=img] [aria-label=dot] circle", "fill") == expected
    assert colours("#chart-percentiles svg[role=img] [aria-label=line] path", "stroke") == expected
    assert set(colours("#chart-cost-rps svg[role=img] [aria-label=dot] circle", "stroke")) >= set(expected)
    heads = f"[...document.querySelectorAll('summary .swatch')].map({painted})"
    assert page.script(heads) == swatches

    page.choose("colour", "shape")
    again = page.script(heads)
    assert len(set(again)) == len({result["configuration"]["shape"] for result in study["results"]})


@pytest.mark.parametrize(
    ("view", "chart"), [("time", "chart-rps"), ("time", "chart-latency"), ("plateau", "chart-percentiles")]
)
def test_lines_have_their_names_beside_them(
    show: Callable[..., Any], html: str, study: Document, view: str, chart: str
) -> None:
    page = show(html)
    page.choose("view", view)

    names = page.script(
        f"[...document.querySelectorAll('#{chart} .names text')].map(each => [each.textContent, "
        "...['top', 'right', 'left'].map(side => each.getBoundingClientRect()[side])])"
    )

    assert {name for name, *_ in names} == {result["experiment"] for result in measured(study)}
    tops = sorted(top for _, top, _, _ in names)
    assert min(second - first for first, second in pairwise(tops)) > 10
    edge = page.script(f"document.querySelector('#{chart} svg[role=img]').getBoundingClientRect().right")
    assert max(right for _, _, right, _ in names) <= edge + 1
    ends = page.script(
        f"[...document.querySelectorAll('#{chart} svg[role=img] [aria-label=line] path')]"
        ".map(each => each.getBoundingClientRect().right)"
    )
    assert min(left for *_, left in names) > max(ends)
    assert page.errors() == []
    page.driver.execute_script(f"document.querySelector('#{chart}').scrollIntoView()")
    page.screenshot(f"names-{chart}")


def test_a_narrow_screen_has_the_names_in_a_legend(show: Callable[..., Any], html: str) -> None:
    page = show(html, width=400)

    page.choose("view", "time")

    assert page.count("#chart-rps .names text") == 0
    assert page.count("#chart-rps [class*=swatch]") >= 12


def test_a_card_begins_with_verdict_load_and_noise(show: Callable[..., Any]) -> None:
    noise = Noise(NoiseKind.MACHINE, 0.21, 4.0, resolution=0.3)
    undecided = Undecided(0.01, 40.0, noise=noise, length_s=30.0, noise_memory_s=10.0)
    result = planted.result(undecided={"p95<400ms": undecided}, noise_memory_s=10.0)
    page = show(html_text(planted.document(planted.entry(result))))

    assert page.texts(".card .head tr") == [
        "verdict PASS",
        "load asked 150 users, 1 started a second, 1 s from a response to the next request; for 300 s",
        "load reached 1 to 150 users; 15000 requests sent or due, 15000 recorded; 1 load process",
        "noise taken to be forgotten within 10 s; the load generator waited for a core 0% of the time; "
        "p95<400ms stayed open, since the machine's speed wandered by 21 % (SD) over 4 s, "
        "so this run can tell 30 %",
    ]
    page.screenshot("card")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
def test_a_comparison_with_a_baseline_server_is_drawn(
    show: Callable[..., Any], width: int, scheme: str
) -> None:
    result = planted.compared("the candidate's memory grew by 1.0 MB a second", index=1)
    html = html_text(planted.document(planted.entry(result, "p95<=+5%", "rps>=-5%")))
    page = show(html, width=width, dark=scheme == "dark")

    figures = ".against.charts > figure"
    until(lambda: page.count(f"{figures} svg[role=img]") == 3, "the charts of the comparison")
    drawn = page.script(
        f"[...document.querySelectorAll('{figures}')].map(each => each.querySelectorAll("
        "'svg[role=img] [aria-label=line] path').length)"
    )
    assert drawn == [2, 2, 1]
    captions = page.texts(f"{figures} > figcaption")
    assert captions[0] == "Latency by percentile, of both servers"
    assert captions[1].endswith("; dashed: the SLO's limit")
    rows = [row.replace("\n", " ") for row in page.texts("table.against tbody tr")]
    assert "p95 ms 455 417 +9.3 % [+7.3, +11] 3.0 % FAIL" in rows
    assert page.texts("main li") == ["the candidate's memory grew by 1.0 MB a second"]
    assert page.script("document.documentElement.scrollWidth") <= width
    assert page.errors() == []
    page.driver.execute_script("document.querySelector('table.against').scrollIntoView()")
    page.screenshot(f"against-{width}-{scheme}")


def test_the_evidence_on_each_slo_is_drawn_over_time(show: Callable[..., Any]) -> None:
    path = EvidencePath(4.6, (1.0, 2.0, 4.0), (0.1, 2.0, 5.0), (0.0, 0.1, 0.0))
    evidence = {"p95<500ms": path, "rps>=50": replace(path, holds=path.fails, fails=path.holds)}
    result = replace(planted.result(), evidence=evidence)
    page = show(html_text(planted.document(planted.entry(result, *evidence))))

    caption = "Evidence on each SLO over time: up, that the SLO holds; down, that it does not"
    chart = f"[...document.querySelectorAll('figure')].find(each => each.innerText.startsWith('{caption}'))"
    until(lambda: page.script(f"!!{chart}"), "the chart of the evidence")
    assert page.script(f"{chart}.querySelectorAll('[aria-label=line] path').length") == 2
    text = page.script(f"{chart}.innerText")
    assert all(name in text for name in (*evidence, "PASS", "FAIL"))
    assert page.errors() == []
    page.screenshot("evidence")


def test_over_time_there_is_a_line_for_each_measurement(show: Callable[..., Any], html: str) -> None:
    page = show(html)

    page.choose("view", "time")

    assert page.count(LINES) == 12
    assert page.count(BARS) == 0
    assert page.errors() == []
    page.screenshot("over-time")


def test_an_experiment_opens_with_its_window_and_limits(show: Callable[..., Any], html: str) -> None:
    page = show(html)

    page.driver.find_elements("css selector", "details > summary")[4].click()

    until(lambda: page.count("details[open] figure svg[role=img]") == 3, "the charts of an experiment")
    texts = page.script("document.querySelector('details[open] .charts').textContent")
    assert "ramp and warm-up" in texts
    assert "window" in texts
    assert page.count("details[open] figure [aria-label=rule]") >= 5
    page.driver.execute_script("document.querySelector('details[open]').scrollIntoView()")
    page.screenshot("experiment")
    assert page.errors() == []


def test_a_far_limit_is_named_at_the_edge_and_presses_nothing_flat(show: Callable[..., Any]) -> None:
    limits = ("rps>=90000", "p95<60s")
    entries = [planted.entry(planted.result(index), *limits) for index in range(2)]
    page = show(html_text(planted.document(*entries, searches=[{**planted.search(), "slos": ["p95<60s"]}])))
    page.driver.find_element("css selector", "details > summary").click()
    until(lambda: page.count("details[open] figure svg[role=img]") == 3, "the charts of an experiment")

    def drawn(figure: str, axis: str) -> tuple[float, list[str]]:
        """Return the highest tick of a chart's axis, and the limits that are named with an arrow."""
        texts = f"[...document.querySelectorAll('{figure} svg[role=img] text')].map(each => each.textContent)"
        ticks = f'{figure} svg[role=img] [aria-label="{axis}-axis tick label"] text'
        highest = (
            f"Math.max(...[...document.querySelectorAll('{ticks}')].map(each => Number(each.textContent)))"
        )
        arrows = [text for text in page.script(texts) if text[:2] in ("→ ", "↑ ") and text[2:] in limits]
        return float(page.script(highest)), arrows

    rps, latency, search = "figure:nth-child(1)", "figure:nth-child(2)", ".search figure:nth-child(1)"
    for figure, axis, most, said in [
        ("#chart-rps", "x", 100, ["→ rps>=90000"] * 2),
        ("#chart-latency", "x", 1000, ["→ p95<60s"] * 2),
        (f"details[open] {rps}", "y", 100, ["↑ rps>=90000"]),
        (f"details[open] {latency}", "y", 1000, ["↑ p95<60s"]),
        (search, "y", 10_000, ["↑ p95<60s"]),
    ]:
        highest, arrows = drawn(figure, axis)
        assert 0 < highest <= most
        assert arrows == said
    assert page.errors() == []
    page.screenshot("far-limits")
    page.driver.execute_script("window.scrollTo(0, 0)")
    page.screenshot("far-limits-compared")
    page.driver.execute_script("document.querySelector('details').scrollIntoView()")
    page.screenshot("far-limits-card")


def test_far_limits_fit_a_phone(show: Callable[..., Any]) -> None:
    limits = ("rps>=90000", "p95<60s", "p99.9<60s")
    entries = [planted.entry(planted.result(index), *limits) for index in range(2)]
    page = show(html_text(planted.document(*entries)), width=400)

    assert page.script("document.documentElement.scrollWidth") <= 400
    chart = "#chart-latency svg[role=img]"
    named = (
        f"[...document.querySelectorAll('{chart} tspan')].filter(each => each.textContent.startsWith('→'))"
    )
    assert page.script(f"{named}.map(each => each.textContent)") == 2 * ["→ p95<60s", "→ p99.9<60s"]
    edge = page.script(f"document.querySelector('{chart}').getBoundingClientRect().right")
    assert page.script(f"Math.max(...{named}.map(each => each.getBoundingClientRect().right))") <= edge + 1
    page.screenshot("far-limits-phone")


def test_equal_costs_have_an_axis_and_short_latencies_plain_ticks(show: Callable[..., Any]) -> None:
    results = [planted.result(index, rps=40 + index, p50_ms=0.3) for index in range(3)]
    page = show(html_text(planted.document(*map(planted.entry, results))))

    def ticks(chart: str, axis: str) -> list[str]:
        labels = f'#{chart} svg[role=img] [aria-label="{axis}-axis tick label"] text'
        return [
            str(each)
            for each in page.script(
                f"[...document.querySelectorAll('{labels}')].map(each => each.textContent)"
            )
        ]

    for chart in ("chart-cost-rps", "chart-cost-p95"):
        assert len(set(ticks(chart, "x"))) >= 4
    percentiles = [text for text in ticks("chart-percentiles", "y") if text]
    assert percentiles
    assert all(0.01 < float(text) < 10 for text in percentiles)
    assert page.errors() == []
    page.driver.execute_script("document.querySelector('#cost').scrollIntoView()")
    page.screenshot("equal-costs")


def test_dark_and_light_are_readable(show: Callable[..., Any], html: str) -> None:
    def luminance(script: Callable[[str], list[float]], code: str) -> float:
        red, green, blue = script(f"{code}.match(/[0-9.]+/g).slice(0, 3).map(Number)")
        parts = [
            value / 12.92 / 255 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4
            for value in (red, green, blue)
        ]
        return float(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2])

    for dark in (False, True):
        page = show(html, dark=dark)
        behind = luminance(page.script, "getComputedStyle(document.querySelector('section')).backgroundColor")
        assert (behind < 0.1) is dark
        for selector in ("td", ".quiet", ".PASS", ".FAIL", ".NOT", "#chart-rps svg[role=img]"):
            text = luminance(page.script, f"getComputedStyle(document.querySelector('{selector}')).color")
            lighter, darker = max(text, behind), min(text, behind)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, selector


@pytest.mark.parametrize("view", ["plateau", "time"])
def test_a_phone_does_not_scroll_sideways(show: Callable[..., Any], html: str, view: str) -> None:
    page = show(html, width=400)

    page.choose("view", view)

    assert page.script("document.documentElement.scrollWidth") <= 400
    assert page.script("document.querySelector('#chart-rps svg[role=img]').clientWidth") <= 400
    page.screenshot(f"phone-{view}")


def test_the_keyboard_reaches_everything_in_reading_order(show: Callable[..., Any], html: str) -> None:
    page = show(html)
    names = []

    for _ in range(60):
        page.driver.switch_to.active_element.send_keys("\ue004")
        names.append(page.script("document.activeElement.id || document.activeElement.tagName"))
        if names[-1] == "download":
            break

    assert names[:4] == ["view", "colour", "sort", "filter"]
    assert names.count("BUTTON") == 10
    assert names.count("SUMMARY") == 15
    assert names[-1] == "download"


def test_filter_and_sort(show: Callable[..., Any], html: str) -> None:
    page = show(html)

    page.choose("filter", "64gb batch")

    assert page.texts("#table tbody td:first-child") == [
        f"8cpu-64gb-2n-interop{count}-batch" for count in (2, 4, 8)
    ]
    assert page.count(BARS) == 2

    page.driver.find_elements("css selector", "#table th button")[4].click()

    assert page.texts("#table tbody td:first-child") == [
        f"8cpu-64gb-2n-interop{count}-batch" for count in (8, 4, 2)
    ]
    page.choose("filter", " nothing")
    assert "No name matches the filter." in page.texts("#chart-rps p")
    assert page.errors() == []


def test_what_is_no_measurement_is_named_and_not_drawn(show: Callable[..., Any], html: str) -> None:
    page = show(html)

    chart = page.script("document.querySelector('#chart-rps svg[role=img]').textContent")
    assert {"INVALID", "NOT JUDGED", "INCONCLUSIVE"} <= {
        text for text in ("INVALID", "NOT JUDGED", "INCONCLUSIVE") if text in chart
    }
    assert page.texts("#left-out") == [
        "3 without a measurement: NOT JUDGED, INVALID or ended early. They are named, not drawn."
    ]


def test_a_hostile_name_stays_text(show: Callable[..., Any]) -> None:
    name = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
    entries = [planted.entry(planted.result(experiment=name, via=name)), planted.entry(planted.result(1))]
    document = planted.document(*entries)

    page = show(html_text(document))

    assert page.errors() == []
    assert page.script("window.hacked") is None
    assert page.texts("#table tbody td:first-child") == [name, planted.STUDY[1].name]
    assert page.count(BARS) == 2
    page = show(html_text(planted.document(entries[0])))
    assert page.script("window.hacked") is None
    assert page.texts("#answer") == [f"PASS: {name} on kubernetes"]


def test_the_data_is_downloaded_whole(
    show: Callable[..., Any], html: str, study: Document, tmp_path: Path
) -> None:
    page = show(html)

    page.driver.find_element("id", "download").click()

    until((tmp_path / "results.json").exists, "the download")
    results = [
        {name: value for name, value in result.items() if name != "recording"} for result in study["results"]
    ]
    downloaded = json.loads((tmp_path / "results.json").read_text())
    assert downloaded == json.loads(json.dumps(finite({**study, "results": results})))


def test_the_curve_of_a_search_is_drawn_with_its_knee(show: Callable[..., Any]) -> None:
    page = show(html_text(planted.document(searches=[planted.search()])), height=1000)

    assert page.errors() == []
    assert page.count(".search .charts > figure") == 2
    assert page.count(".search figure svg[role=img] [aria-label=dot] circle") == 18
    drawn = page.script(
        "[...document.querySelectorAll('.search figure svg[role=img]')]"
        ".map(svg => svg.viewBox.baseVal.width / svg.clientWidth)"
    )
    assert drawn == pytest.approx([1, 1], abs=0.05), "drawn as large as they are shown"
    assert page.texts(".search .answer") == ["64 is the largest load that held, confirmed, after 9 probes"]
    page.screenshot("search")


def test_kinds_have_a_table_and_a_chart(show: Callable[..., Any]) -> None:
    small, large = (planted.result(p50_ms=p50_ms) for p50_ms in (3.0, 300.0))
    kinds = {
        name: KindFigures(each.latencies, {}, each.intervals, each.n_eff)
        for name, each in {"small": small, "<large>": large}.items()
    }
    page = show(html_text(planted.document(planted.entry(planted.result(kinds=kinds)))))

    caption = "Latency by percentile, of each kind of requests"
    chart = f"[...document.querySelectorAll('figure')].find(each => each.innerText.startsWith('{caption}'))"
    until(lambda: page.script(f"!!{chart}"), "the chart of kinds")
    assert page.script(f"{chart}.querySelectorAll('[aria-label=line] path').length") == 2
    assert page.errors() == []
    assert [row.split()[0] for row in page.texts("table.kinds tbody tr")] == ["small", "<large>"]
    page.screenshot("kinds")


def test_a_warning_and_a_limit_on_one_kind_are_not_shown_as_more(show: Callable[..., Any]) -> None:
    warned = planted.result(warnings=["the server sheds load"], kinds={"large": KindFigures(LATENCIES)})
    page = show(html_text(planted.document(planted.entry(warned, "p95<1ms", "p95{large}<400ms"))))

    why = page.texts("header .quiet")
    assert why[0].startswith("FAIL p95<1ms: p95 is ")
    assert "the server sheds load" in why
    assert "Latency of each second, p50 and p95; dashed: p95<1ms" in page.texts("figcaption")


def test_windows_have_a_chart_and_those_that_miss_the_limit_a_table(show: Callable[..., Any]) -> None:
    text = "p95<200ms every 10s"
    found = [True] * 27 + [False, None, True]
    parts = [
        SpanFigure(10.0 * at, 10.0 * at + 10, {True: 150.0, False: 412.0, None: 201.0}[holds], holds)
        for at, holds in enumerate(found)
    ]
    result = planted.result(parts={text: tuple(parts)}, run_s=300.0)
    page = show(html_text(planted.document(planted.entry(result))))

    chart = f"[...document.querySelectorAll('figure')].find(each => each.innerText.startsWith('{text}'))"
    until(lambda: page.script(f"!!{chart}"), "the chart of windows")
    assert page.script(f"{chart}.querySelectorAll('[aria-label=rect] rect').length") == 1 + len(parts)
    assert page.errors() == []
    assert page.texts("table.parts tbody tr") == [
        "270 to 280 412 ms missed",
        "280 to 290 201 ms undecided",
    ]
    page.screenshot("windows")


def test_stages_and_figures_have_tables(show: Callable[..., Any]) -> None:
    stages = [
        {
            "start_s": 100.0 * number,
            "end_s": 100.0 * (number + 1),
            "level": 2.0**number,
            "requests": 1000,
            "errors": number,
            "rps": 40.0 * 2**number,
            "p50_ms": 10.0,
            "p95_ms": 20.0 + number,
            "p99_ms": 30.0,
            "intervals": {"rps": (38.0, 42.0), "p95_ms": (19.0, 22.0), "error_rate": (0.0, 0.003)},
            "n_eff": {"rps": 900.0, "p95_ms": 700.0, "error_rate": 1000.0},
        }
        for number in range(3)
    ]
    alternatives = {
        "from_send": {"p50_ms": 9.0, "intervals": {"p50_ms": (8.5, 9.5)}, "n_eff": {"p50_ms": 800.0}}
    }
    result = planted.result(stages=stages, alternatives=alternatives)
    page = show(html_text(planted.document(planted.entry(result))))

    assert page.errors() == []
    assert page.texts(".stages tbody tr")[2].startswith("200 to 300 4 160 [38, 42] 10 22 [19, 22] 30 0.2%")
    figures = page.texts(".figures tbody tr")
    assert any(row.startswith("p95 ms ") and " to " in row for row in figures)
    assert "p50 ms from when it was sent 9 8.5 to 9.5 800" in figures
    page.script("document.querySelector('.stages').scrollIntoView()")
    page.screenshot("stages")
