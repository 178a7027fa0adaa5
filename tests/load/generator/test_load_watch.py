"""Load that was not as asked is found out, and told; e2e/test_misbehaving_generator.py has real runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from _misbehaving import CLIENT

from harness import EXPERIMENTS
from load_events import end, leads, part, settled, tick
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.generator.load_watch import LoadWatch
from pytest_tfserving.load.result import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness import Project


def test_users_that_quit_are_told_to_the_user(project: Project) -> None:
    text = CLIENT.replace("{then}", "raise StopUser()").format(at=1).replace("half_plus_two", "half")
    (project.pytester.path / "locustfile.py").write_text(text, encoding="utf-8")
    project.write(EXPERIMENTS.replace("run_time_s: 1.2", "run_time_s: 6"))

    run, (result,) = project.results("--tfserving-locustfile=locustfile.py", "--tfserving-html=out.html")

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["INVALID: only * of the 2 users asked for ran *", "1cpu-1gb-1n-interop1 on local: INVALID"]
    )
    assert result["verdict"] == "INVALID"
    assert result["run_record"]["asked"][0] == 2
    page = (project.pytester.path / "out.html").read_text(encoding="utf-8")
    assert "<td>load asked</td><td>2 users, 20 started a second, " in page
    assert "<td>load reached</td><td>2, " in page


# Watched


def watched(profile: LoadProfile, levels: Sequence[tuple[float, int]]) -> LoadWatch:
    """A watch that has seen levels twice a second, and the end."""
    watch = LoadWatch(profile)
    for at_s, running in levels:
        watch.hear(part(at_s, running))
    watch.end(profile.run_time_s)
    return watch


def twice_a_second(run_time_s: float, level: Callable[[float], float]) -> list[tuple[float, int]]:
    return [(at / 2, math.ceil(level(at / 2))) for at in range(1, int(2 * run_time_s) + 1)]


@pytest.mark.parametrize(
    ("profile", "level"),
    [
        ({"users": 150, "spawn_rate": 1, "run_time_s": 300}, lambda at_s: min(at_s + 1, 150)),
        ({"users": 4, "run_time_s": 30}, lambda at_s: 0 if at_s < 4 else 4),
        ({"shape": "steps 1:8:x2", "run_time_s": 40}, lambda at_s: 2 ** int(max(at_s - 1, 0) / 10)),
        ({"shape": "ramp 1:100", "run_time_s": 20}, lambda at_s: 1 + 4.95 * max(at_s - 1, 0)),
        ({"shape": "spike 2:9", "run_time_s": 30}, lambda at_s: 9 if 11 <= at_s < 23 else 2),
        (
            {"shape": "steps 100:400:x2", "spawn_rate": 40, "run_time_s": 60},
            lambda at_s: min(40 * at_s, 100 * 2 ** int(at_s / 20), 100 + 40 * max(at_s - 20, 0), 400),
        ),
    ],
    ids=["ramp", "late", "steps", "ramp of a shape", "spike whose users leave late", "slow spawn"],
)
def test_levels_that_are_reached_a_little_later_are_no_trouble(
    profile: Mapping[str, float | str], level: Callable[[float], float]
) -> None:
    asked = LoadProfile("p", run_time_s=60, users=1).with_overrides(profile)

    assert watched(asked, twice_a_second(asked.run_time_s, level)).cause == ""


@pytest.mark.parametrize(
    ("profile", "level", "cause", "until_s"),
    [
        (
            {"users": 4, "run_time_s": 30},
            lambda at_s: 4 if at_s < 20 else 3,
            "only 3 of the 4 users asked for ran (users that quit by themselves or were lost are not "
            "replaced) 20.5 s into the load",
            19.5,
        ),
        ({"users": 4, "run_time_s": 30}, lambda _: 3, "only 3 of the 4 users asked for ran 11.", None),
        (
            {"users": 4, "run_time_s": 30},
            lambda at_s: 4 if at_s < 30 else 3,
            "only 3 of the 4 users asked for ran when it was over",
            29.5,
        ),
        (
            {"shape": "steps 1:8:x2", "run_time_s": 40},
            lambda at_s: min(2 ** int(at_s / 10), 2),
            "only 2 of the 4 users asked for ran 23.",
            None,
        ),
        (
            {"users": 4, "run_time_s": 30},
            lambda at_s: 4 if at_s < 20 else 6,
            "6 of the 4 users asked for ran 22.5 s into the load",
            None,
        ),
        (
            {"users": 4, "run_time_s": 30},
            lambda at_s: 4 if at_s < 30 else 6,
            "6 of the 4 users asked for ran when it was over",
            30.0,
        ),
    ],
    ids=["quit", "never reached", "quit at the end", "stuck", "too many", "too many at the end"],
)
def test_levels_that_are_not_reached_are_found(
    profile: Mapping[str, float | str], level: Callable[[float], float], cause: str, until_s: float | None
) -> None:
    asked = LoadProfile("p", run_time_s=60, users=1).with_overrides(profile)

    watch = watched(asked, twice_a_second(asked.run_time_s, level))

    assert watch.cause.startswith(cause)
    assert until_s is None or watch.loaded_until_s == until_s


def test_a_process_that_says_nothing_is_found() -> None:
    watch = LoadWatch(LoadProfile("p", users=4, run_time_s=60), processes=2, silence_s=15)
    for at_s in range(1, 40):
        watch.hear(leads(at_s))
        watch.hear(part(at_s, 2, process=0))
        if at_s < 10:
            watch.hear(part(at_s, 2, process=1))

    assert watch.cause == "load process 2 of 2 said nothing for 15 s"
    assert watch.loaded_until_s == 9


def led(until_s: float) -> LoadWatch:
    """A watch of two processes and a master that speaks twice a second until a moment."""
    watch = LoadWatch(LoadProfile("p", users=4, run_time_s=30), processes=2, silence_s=15)
    watch.hear(settled(0.5))
    for half in range(1, 61):
        if half / 2 <= until_s:
            watch.hear(leads(half / 2))
        for process in (0, 1):
            watch.hear(part(half / 2, 2, process))
    watch.hear(end(30.0))
    return watch


def test_a_master_that_says_nothing_is_found() -> None:
    watch = led(until_s=9.0)

    assert watch.cause == "the load generator's master said nothing for 15 s"
    assert watch.loaded_until_s == 9.0


def test_a_master_that_says_nothing_at_the_end_is_found_at_the_end() -> None:
    watch = led(until_s=28.0)
    assert watch.cause == ""

    watch.end(30.0)

    assert watch.cause == "the load generator's master said nothing from 28.0 s into the load on"
    assert watch.loaded_until_s == 28.0


@pytest.mark.parametrize(
    ("stop", "is_found"),
    [
        ((27.5, 30.5, 3000.0), True),
        ((27.5, 28.4, 900.0), False),
        ((30.1, 33.1, 3000.0), False),
    ],
    ids=["long", "short", "after the load"],
)
def test_a_master_that_stands_still_is_found(stop: tuple[float, float, float], *, is_found: bool) -> None:
    watch = led(until_s=30.0)
    watch.hear(leads(33.2, stop))
    watch.end(30.0)

    cause = "the load generator's master stood still for 3.0 s, 27.5 s into the load: "
    assert watch.cause.startswith(cause) if is_found else watch.cause == ""
    assert watch.loaded_until_s == (27.5 if is_found else math.inf)


def test_a_stop_of_the_master_keeps_no_request_waiting() -> None:
    watch = led(until_s=30.0)
    watch.hear(leads(20.0, (19.0, 19.5, 500.0)))

    assert watch.stood_s(Window(0.0, 30.0)) == 0


def test_a_level_seen_before_it_is_known_to_be_asked_for_is_no_trouble() -> None:
    """What a locustfile's shape asks for comes over another pipe."""
    watch = LoadWatch(LoadProfile("p", users=4, run_time_s=60), own_shape=True)
    for at_s, running, asked in ((1.0, 2, 2), (2.0, 4, 4), (3.0, 1, 1), (3.5, 1, 1)):
        watch.hear(part(at_s, running))
        watch.hear({"event": "asked", "at_s": at_s - 0.01, "users": asked, "spawn_rate": 9.0, "failed": ""})

    assert watch.cause == ""


def test_a_shape_that_fails_asks_for_nothing_any_more() -> None:
    watch = LoadWatch(LoadProfile("p", users=4, run_time_s=60), own_shape=True)
    for at_s, failed in ((0.0, ""), (9.0, "ZeroDivisionError: division by zero")):
        users, spawn_rate = (0, 0.0) if failed else (4, 9.0)
        watch.hear(
            {"event": "asked", "at_s": at_s, "users": users, "spawn_rate": spawn_rate, "failed": failed}
        )
        watch.hear(part(at_s + 0.5, 4))

    assert watch.cause == (
        "the locustfile's shape failed 9.0 s into the load: ZeroDivisionError: division by zero"
    )
    assert watch.loaded_until_s == 9.0


def test_a_stop_before_all_users_run_is_not_measured() -> None:
    stops = [(1.0, 4.0, 3000.0)]
    early = LoadWatch(LoadProfile("p", users=4, run_time_s=60))
    early.hear(tick(4.0, stops=stops))
    early.hear(settled(4.5))
    late = LoadWatch(LoadProfile("p", users=4, run_time_s=60))
    late.hear(settled(0.5))
    late.hear(tick(4.0, stops=stops))

    assert early.cause == ""
    assert late.cause.startswith("the load generator stood still for 3.0 s, 1.0 s into the load: ")
    assert late.loaded_until_s == 1.0


# Kept
