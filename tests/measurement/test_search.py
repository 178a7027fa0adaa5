"""The search for the largest load, on a server whose knee is known."""

from __future__ import annotations

import heapq
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

import planted_results as planted
from pytest_tfserving.cli import main
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.measurement.search import Search, Trial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness import Project


SERVICE_S = 0.02
SERVERS = 4
LIMIT_S = 0.030


def p95_s(rate: float, seed: int, requests: int = 40_000) -> float:
    """The p95 of sojourn times in an M/D/c queue: Poisson arrivals, each served for 20 ms by one of four."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, requests))
    free = [0.0] * SERVERS
    times = np.empty(requests)
    for index, at in enumerate(arrivals):
        done = max(at, heapq.heappop(free)) + SERVICE_S
        heapq.heappush(free, done)
        times[index] = done - at
    return float(np.quantile(times[requests // 10 :], 0.95))


def known_knee() -> float:
    """Where the mean p95 over several long runs meets the limit, by bisection."""
    low, high = 20.0, SERVERS / SERVICE_S
    for _ in range(8):
        middle = (low + high) / 2
        held = np.mean([p95_s(middle, seed) for seed in (101, 102)]) < LIMIT_S
        low, high = (middle, high) if held else (low, middle)
    return low


def test_the_knee_of_an_m_d_c_queue_is_found_within_five_per_cent() -> None:
    knee = known_knee()
    for start in (10.0, 1000.0):
        seeds = iter(range(100))

        def attempt(load: float, seeds: object = seeds) -> Trial:
            p95 = p95_s(load, next(seeds), 20_000)  # type: ignore[call-overload]
            return Trial(load, p95 < LIMIT_S, load, p95 * 1e3)

        found = Search(start, precision=0.02).run(attempt)

        assert found.knee == pytest.approx(knee, rel=0.05)
        assert found.confirmed
        assert len(found.probes) <= 15


def sharp(knee: float, tried: list[float] | None = None) -> object:
    def attempt(load: float) -> Trial:
        if tried is not None:
            tried.append(load)
        return Trial(load, load <= knee, load)

    return attempt


@pytest.mark.parametrize(("knee", "found"), [(37, 37), (1, 1), (0, 0), (64, 64), (63, 63)])
def test_users_are_whole(knee: float, found: float) -> None:
    assert Search(1, precision=0.01, whole=True).run(sharp(knee)).knee == found  # type: ignore[arg-type]


def test_it_stops_at_the_most() -> None:
    assert Search(10, most=100).run(sharp(math.inf)).knee == 100  # type: ignore[arg-type]


def test_a_knee_that_does_not_hold_again_is_not_confirmed() -> None:
    tried: list[float] = []

    def attempt(load: float) -> Trial:
        again = load in tried
        tried.append(load)
        return Trial(load, load <= 50 and not again)

    found = Search(10).run(attempt)

    assert not found.confirmed
    assert found.knee < 50
    assert "not confirmed" in str(found)


def test_an_interrupted_search_goes_on_where_it_was(tmp_path: Path) -> None:
    state, first, second = tmp_path / "state.json", list[float](), list[float]()

    def breaks(load: float) -> Trial:
        if len(first) == 5:
            raise KeyboardInterrupt
        return sharp(37.0, first)(load)  # type: ignore[operator,no-any-return]

    with pytest.raises(KeyboardInterrupt):
        Search(1).run(breaks, state)
    found = Search(1).run(sharp(37.0, second), state)  # type: ignore[arg-type]

    assert [probe.load for probe in found.probes] == first + second
    assert found.knee == pytest.approx(37, rel=0.05)


def test_a_link_beside_the_state_is_not_written_to(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "state.json.new").symlink_to("precious")

    Search(1).run(sharp(3.0), state)  # type: ignore[arg-type]  # a function is enough

    assert (tmp_path / "precious").read_text() == "precious"
    assert state.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "[1]",
        lambda _: "7",
        lambda text: text[:40],
        lambda text: text.replace('"holds": true', '"holds": "yes"', 1),
        lambda text: text.replace('"load": 1', '"load": null', 1),
        lambda text: text.replace('"probes"', '"tries"', 1),
        lambda _: "[" * 50_000,
    ],
    ids=["list", "number", "cut off", "holds", "load", "no probes", "nested"],
)
def test_a_state_that_somebody_changed_is_refused(tmp_path: Path, change: Callable[[str], str]) -> None:
    state = tmp_path / "state.json"
    Search(1).run(sharp(3.0), state)  # type: ignore[arg-type]  # a function is enough
    before = state.read_text(encoding="utf-8")
    changed = change(before)
    assert changed != before
    state.write_text(changed, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=f"the state of a search {state} is n"):
        Search(1).run(sharp(3.0), state)  # type: ignore[arg-type]  # a function is enough


def test_the_state_of_another_search_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    Search(1, name="one").run(sharp(3.0), state)  # type: ignore[arg-type]  # a function is enough

    with pytest.raises(ConfigurationError, match="is the state of another search"):
        Search(1, name="other").run(sharp(3.0), state)  # type: ignore[arg-type]  # a function is enough


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"start": 0}, "above 0, not at 0"),
        ({"start": 1, "precision": 1}, "between 0 and 1, not 1"),
        ({"start": 5, "most": 4}, "below the load it starts at"),
    ],
)
def test_what_cannot_be_searched(arguments: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Search(**arguments)  # type: ignore[arg-type]


def test_a_server_is_searched(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to four users are answered ten times as fast as the limit, five ten times as slowly."""
    planted.instead_of_load(project, lambda profile: {"p50_ms": 9.0 if profile.users <= 4 else 900.0})
    project.write(
        tests="def test_knee(load):\n"
        '    found = load.max_rps("p95<90ms", most=8, state="state.json")\n'
        "    assert found.knee == 4, found.table()\n"
        "    assert found.confirmed\n"
    )

    run = project.run(*(f"--tfserving-{name}=out.{name}" for name in ("html", "markdown", "json")))

    run.assert_outcomes(passed=1)
    assert (project.pytester.path / "state.json").exists()
    run.stdout.fnmatch_lines(
        [
            "*1cpu-1gb-1n-interop1: users that hold p95<90ms, errors<1%*",
            "*load * rps * p95 ms *holds",
            "* 4 * [[]*[]] * [[]*[]] *yes",
            "4 is the largest load that held, confirmed, after * probes",
        ]
    )
    html, markdown, text = (
        (project.pytester.path / f"out.{name}").read_text(encoding="utf-8")
        for name in ("html", "markdown", "json")
    )
    assert "4 is the largest load that held" in html
    assert "| `users` | rps | p95 ms | holds |" in markdown
    (search,) = json.loads(text)["searches"]
    assert (search["knee"], search["confirmed"], search["over"]) == (4, True, "users")
    assert [probe["load"] for probe in search["probes"]] == sorted(
        probe["load"] for probe in search["probes"]
    )
    assert {probe["holds"] for probe in search["probes"]} == {True, False}
    monkeypatch.chdir(project.pytester.path)
    assert main(["report", "out.json", "--html", "again.html"]) == 0
    assert "4 is the largest load" in (project.pytester.path / "again.html").read_text(encoding="utf-8")
