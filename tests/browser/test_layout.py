"""No text of the page stands over another or is cut, and axes have names, units and ticks: by their boxes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import pytest

import planted_results as planted
from harness import until
from pytest_tfserving.cli import main
from pytest_tfserving.load.kinds import KindFigures
from pytest_tfserving.report.html import html_text
from pytest_tfserving.report.json import json_text
from pytest_tfserving.slo.evidence_path import EvidencePath
from pytest_tfserving.slo.language import Undecided
from pytest_tfserving.slo.noise import Noise, NoiseKind
from pytest_tfserving.slo.span_figure import SpanFigure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from browser.conftest import Page
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.report.schema import Document

pytestmark = pytest.mark.needs("browser")

WIDE, NARROW, HEIGHT = 1280, 420, 2600
NOISE = Noise(NoiseKind.MACHINE, 0.21, 4.0, resolution=0.3)
OPEN = Undecided(0.01, 40.0, noise=NOISE, length_s=30.0, noise_memory_s=10.0)
VERDICTS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "PASS": ({}, ("rps>=40", "p95<1s", "errors<1%")),
    "FAIL": ({}, ("rps>=40", "p95<0.2ms", "p99<0.3ms")),
    "INCONCLUSIVE": ({"undecided": {"p95<500ms": OPEN}, "noise_memory_s": 10.0}, ("rps>=40", "p95<500ms")),
    "INVALID": ({"invalid": "the load generator, not the server, was the limit"}, ("rps>=40",)),
}
# The boxes of all texts that are seen, in the page's own pixels: of each text node in the HTML, and of each
# text element in the pictures.
TEXTS = """
const texts = [];
const add = (text, box, inside) => {
  if (text.trim() && box.width > 0 && box.height > 0) {
    const { left, right, top, bottom } = box;
    texts.push({ text: text.trim(), left, right, top, bottom, inside });
  }
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const parent = node.parentElement;
  if (parent.closest("script, style, title, option, select") || !parent.checkVisibility()) continue;
  // A wide table scrolls by itself on a narrow screen.
  const wide = parent.closest(".scroll");
  if (wide && wide.scrollWidth > wide.clientWidth) continue;
  const svg = parent.closest("svg[role=img]");
  if (svg) {
    const { left, right } = svg.getBoundingClientRect();
    add(node.textContent, parent.getBoundingClientRect(), { left, right });
    continue;
  }
  const range = document.createRange();
  range.selectNodeContents(node);
  const box = parent.closest("section, details")?.getBoundingClientRect() ?? null;
  for (const each of range.getClientRects()) add(node.textContent, each, box);
}
"""
OVERLAPS = (
    TEXTS
    + """
texts.sort((a, b) => a.top - b.top);
const found = [];
texts.forEach((one, at) => {
  for (let other = at + 1; other < texts.length && texts[other].top < one.bottom - 2; other += 1) {
    const two = texts[other];
    const across = Math.min(one.right, two.right) - Math.max(one.left, two.left);
    const down = Math.min(one.bottom, two.bottom) - two.top;
    if (across > 1 && down > 3) found.push(`${one.text} | ${two.text}`);
  }
});
return found;
"""
)
CUT = (
    TEXTS
    + """
return texts.filter(({ left, right, inside }) =>
  left < -1 || right > innerWidth + 1 || (inside && (left < inside.left - 1 || right > inside.right + 1)))
  .map(({ text }) => text);
"""
)
SCROLLED = """
return [...document.querySelectorAll(".scroll")].filter((box) => box.scrollWidth > box.clientWidth)
  .map((box) => box.getAttribute("aria-label") ?? box.getAttribute("aria-labelledby"));
"""
# Verdicts that take two lines.
BROKEN = """
return [...document.querySelectorAll("td.verdict, span.verdict")].filter((each) => {
  const range = document.createRange();
  range.selectNodeContents(each);
  return range.getClientRects().length > 1;
}).map((each) => each.textContent);
"""
# Of each chart: the texts of its ticks, and whether its axes have names. Names of rows are no ticks.
AXES = """
return [...document.querySelectorAll("svg[role=img]")].map((svg) => ({
  chart: svg.getAttribute("aria-label"),
  ...Object.fromEntries(["x", "y"].map((axis) => [axis, {
    ticks: [...svg.querySelectorAll(`[aria-label="${axis}-axis tick label"] text`)]
      .map((each) => each.textContent),
    label: svg.querySelector(`[aria-label="${axis}-axis label"]`)?.textContent ?? "",
  }])),
}));
"""


# Texts with less contrast than WCAG 2 asks of level AA, 4.5, with the contrast.
PALE = """
const parts = (css) => css.match(/[0-9.]+/g).map(Number);
const luminance = (css) => parts(css).slice(0, 3).map((value) => value / 255)
  .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
  .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
const isClear = (css) => (parts(css)[3] ?? 1) === 0;
const behind = (element) => {
  const { backgroundColor } = getComputedStyle(element);
  return isClear(backgroundColor) && element.parentElement ? behind(element.parentElement) : backgroundColor;
};
const found = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const parent = node.parentElement;
  const text = node.textContent.trim();
  if (!text || parent.closest("script, style, title") || !parent.checkVisibility()) continue;
  const style = getComputedStyle(parent);
  const [one, two] = [parent.closest("svg") ? style.fill : style.color, behind(parent)].map(luminance);
  const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  if (contrast < 4.5) found.add(`${text}: ${contrast.toFixed(2)}`);
}
return [...found];
"""
WINDOWED, RECOVERED = "p95<1s every 10s", "recovery<2s"
LONG_SLOS = (
    *("rps>=40", WINDOWED, RECOVERED, "goodput>=99%", "errors<0.1%", "p99.9<900ms"),
    f"p95{{a-kind-with-a-long-name-{'x' * 60}}}<400ms",
    "goodput{small}>=99%",
)


def document(count: int, loop: str, verdict: str) -> Document:
    """One configuration, or the study's fifteen, with one verdict; an open loop has latencies below 1 ms."""
    changes, slos = VERDICTS[verdict]
    evidence = {slo: EvidencePath(4.6, (60.0, 120.0), (1.0, 5.0), (0.1, 0.0)) for slo in slos}

    def result(index: int) -> Result:
        p50_ms = 0.3 if loop == "open" else 300.0 - 5 * index
        found = planted.result(index, rps=50 + index, p50_ms=p50_ms, evidence=evidence, **changes)
        return planted.in_open_loop(found, 50.0 + index) if loop == "open" else found

    if count == 1:
        return planted.document(planted.entry(result(0), *slos))
    return planted.document(*(planted.entry(result(index), *slos) for index in range(count)))


CASES = [
    *itertools.product((1,), ("closed", "open"), VERDICTS),
    *itertools.product((15,), ("closed", "open"), ("PASS", "FAIL", "INVALID")),
]


@pytest.mark.parametrize(("count", "loop", "verdict"), CASES)
def test_no_text_is_cut_or_over_another(
    show: Callable[..., Any], count: int, loop: str, verdict: str
) -> None:
    page = show(html_text(document(count, loop, verdict)), width=WIDE, height=HEIGHT)
    if count > 1:
        open_cards(page, 1)

    check(page, f"{count}-{loop}-{verdict}")


def test_a_page_with_every_part(show: Callable[..., Any]) -> None:
    """A study with a comparison, a baseline server, stages, a search and a calibration."""
    page = show(html_text(cast("Document", planted.every_part())), width=WIDE, height=HEIGHT)
    open_cards(page, 3)

    check(page, "every-part")


def test_a_page_with_kinds_windows_recovery_goodput_and_long_names(show: Callable[..., Any]) -> None:
    page = show(html_text(planted.document(planted.entry(of_kinds(), *LONG_SLOS))), width=WIDE, height=HEIGHT)

    check(page, "kinds")


def test_a_page_of_two_files(show: Callable[..., Any], tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("yesterday.json", "today.json")]
    for path, p50_ms in zip(paths, (300.0, 330.0), strict=True):
        results = [planted.result(index, p50_ms=p50_ms) for index in range(2)]
        path.write_text(json_text(planted.document(*map(planted.entry, results))), encoding="utf-8")
    written = tmp_path / "both.html"
    assert main(["report", *map(str, paths), "--html", str(written)]) == 0
    page = show(written.read_text(encoding="utf-8"), width=WIDE, height=HEIGHT)

    check(page, "two-files")


def of_kinds() -> Result:
    """A result of requests of four kinds with long names, and with SLOs on parts of the run."""
    kinds = {
        name: KindFigures(each.latencies, {"HTTP 500": 3}, each.intervals, each.n_eff, good_requests=900)
        for name in ("small", f"a-kind-with-a-long-name-{'x' * 60}", "<b>", "größer")
        for each in (planted.result(p50_ms=len(name)),)
    }
    windows = tuple(SpanFigure(10.0 * at, 10.0 * at + 10, 300.0 + at, at < 5) for at in range(6))
    parts = {WINDOWED: windows, RECOVERED: (SpanFigure(60.0, 61.5, 1.5, True),)}
    name = "-".join(["a-configuration-with-a-long-name"] * 4)
    return planted.result(
        experiment=name,
        origin={"file": f"perf_tests/{name}/experiments.yaml"},
        kinds=kinds,
        parts=parts,
        good_requests=7400,
        errors={f"HTTP 500: {'no word ends here' * 9}": 3, "connection reset": 2},
        warnings=["the server sheds load: " + "one of its answers is HTTP 503, which it sends at once, " * 3],
    )


def open_cards(page: Page, count: int) -> None:
    """Open the first cards of configurations."""
    for summary in page.driver.find_elements("css selector", "details.card > summary")[:count]:
        page.driver.execute_script("arguments[0].click()", summary)
    drawn = (
        "[...document.querySelectorAll('details[open]')].filter(each => each.querySelector('svg[role=img]'))"
    )
    until(lambda: page.script(f"{drawn}.length") == count, "the charts of the cards")


def check(page: Page, name: str) -> None:
    """Check the page at both widths, and its colours in both schemes."""
    for width in (WIDE, NARROW):
        page.resize(width, HEIGHT)
        check_boxes(page, width)
        for scheme in ("light", "dark"):
            page.prefer(scheme)
            page.screenshot(f"layout-{name}-{width}-{scheme}")
            assert page.driver.execute_script(PALE) == [], (width, scheme)
    assert page.errors() == []


def check_boxes(page: Page, width: int) -> None:
    """Check where texts are, and the axes of all charts."""
    assert page.driver.execute_script(OVERLAPS) == [], width
    assert page.driver.execute_script(CUT) == [], width
    assert page.driver.execute_script(BROKEN) == [], width
    assert page.driver.execute_script("return document.documentElement.scrollWidth") <= width
    if width == WIDE:
        assert page.driver.execute_script(SCROLLED) == []
    for chart in page.driver.execute_script(AXES):
        has_rows = "at the plateau" in chart["chart"]
        assert len(chart["x"]["ticks"]) > 1, chart
        assert len(chart["y"]["ticks"]) > 1, chart
        assert chart["x"]["label"], chart
        assert chart["y"]["label"] or has_rows, chart
        numbers = chart["x"]["ticks"] + ([] if has_rows else chart["y"]["ticks"])
        assert all(is_number(text) for text in numbers), chart


def is_number(tick: str) -> bool:
    """Return whether a tick is a plain number, perhaps in per cent, without a prefix as in 200m."""
    try:
        float(tick.removesuffix(" %").replace("\N{MINUS SIGN}", "-").replace(",", "") or "0")
    except ValueError:
        return False
    return True
