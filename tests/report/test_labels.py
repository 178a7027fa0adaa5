"""Results of one name are told apart by what differs; verdicts and recommendations belong to one run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree as ET

import pytest

import planted_results as planted
from pytest_tfserving.cli import main
from pytest_tfserving.experiments.load_profile import PROFILES
from pytest_tfserving.report.formatting import roles
from pytest_tfserving.report.labels import labelled, labelled_searches

if TYPE_CHECKING:
    from harness import Project
    from pytest_tfserving.report.schema import JudgedData, SearchData

NAME = "1cpu-1gb-1n-interop1"
USERS_1, USERS_8 = f"{NAME} (users 1)", f"{NAME} (users 8)"
QUICK = asdict(PROFILES["quick"])
TWO_LOADS = """
import pytest

@pytest.mark.slo("p95<50ms")
@pytest.mark.parametrize("users", [1, 8])
def test_gate(load, users):
    load(users=users, spawn_rate=8).check()
"""


def result(**changes: object) -> JudgedData:
    parts = {"profile": QUICK, "origin": {}, "identity": {}, "started_at": "1"}
    return cast("JudgedData", {"experiment": "e", "target": "local", **parts, **changes})


def labels(*changes: dict[str, Any]) -> list[str]:
    return [each["label"] for each in labelled([result(**each) for each in changes])]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([{}], ["e"]),
        ([{"experiment": "one"}, {"experiment": "two", "target": "url"}], ["one", "two"]),
        ([{"target": "local"}, {"target": "docker"}], ["e (on local)", "e (on docker)"]),
        ([{"origin": {"folder": "."}}, {"origin": {"folder": "a/b"}}], ["e (./)", "e (a/b/)"]),
        (
            [
                {"origin": {"folder": "a", "overridden_in": ""}},
                {"origin": {"folder": "a", "overridden_in": "b"}},
            ],
            ["e", "e (b)"],
        ),
        ([{}, {"profile": QUICK | {"name": "mine", "users": 9}}], ["e (quick)", "e (mine)"]),
        (
            [{}, {"profile": QUICK | {"users": 8, "run_time_s": 60.0}}],
            ["e (run_time_s 30, users 4)", "e (run_time_s 60, users 8)"],
        ),
        (
            [{}, {"profile": QUICK | {"name": "mine"}}, {"profile": QUICK | {"name": "mine", "users": 5}}],
            ["e (quick)", "e (mine, users 4)", "e (mine, users 5)"],
        ),
        (
            [
                {"identity": {"model": "a" * 64, "server": "s"}},
                {"identity": {"model": "b" * 64, "server": "s"}},
            ],
            ["e (model aaaaaaaa)", "e (model bbbbbbbb)"],
        ),
        (
            [{"identity": {"batching": {"max_batch_size": 8}}}, {"identity": {"batching": None}}],
            ["e (batching max_batch_size=8)", "e (batching -)"],
        ),
        (
            [
                {},
                {"identity": {"against": {"named": "image:a", "image": "a" * 64}}},
                {"identity": {"against": {"named": "image:b", "image": "b" * 64}}},
            ],
            ["e", "e (against image:a)", "e (against image:b)"],
        ),
        ([{"started_at": "2"}, {"started_at": "1"}], ["e (run 2)", "e (run 1)"]),
    ],
)
def test_what_differs_is_told_and_nothing_else(changes: list[dict[str, Any]], found: list[str]) -> None:
    assert labels(*changes) == found


def test_searches_are_told_apart_by_their_place() -> None:
    search = planted.search()
    places: list[SearchData] = [{**search, "origin": {"folder": folder}} for folder in ("a", "b")]
    name = search["experiment"]

    assert [each["label"] for each in labelled_searches(places)] == [f"{name} (a/)", f"{name} (b/)"]
    others = labelled_searches([search, {**search, "over": "users"}])
    assert [each["label"] for each in others] == [name, name]


def slower_with_users(project: Project) -> None:
    """Plant results that pass with few users and fail with many, though they are the fastest."""
    planted.instead_of_load(
        project, lambda profile: {"p50_ms": 5.0 if profile.users < 8 else 500.0, "rps": 50.0 * profile.users}
    )


def test_each_load_has_a_row_a_verdict_and_a_recommendation_of_its_own(project: Project) -> None:
    slower_with_users(project)
    project.write(tests=TWO_LOADS)

    run, results = project.results("--tfserving-markdown=out.md", "--tfserving-html=out.html")

    run.assert_outcomes(passed=1, failed=1)
    assert {each["label"]: each["verdict"] for each in results} == {USERS_1: "PASS", USERS_8: "FAIL"}
    run.stdout.fnmatch_lines_random([f"{USERS_1} * PASS", f"{USERS_8} * FAIL"])
    run.stdout.fnmatch_lines([f"{USERS_8}: FAIL: p95<50ms: *", f"{USERS_1} * cheapest, fastest"])
    run.stdout.fnmatch_lines([f"{USERS_1} is the only configuration that passed, at *"])
    run.stdout.no_fnmatch_line(f"{USERS_8} *cheapest*")
    document = json.loads((project.pytester.path / "out.json").read_text())
    assert document["recommendation"]["cheapest"]["name"] == USERS_1
    assert document["recommendation"]["fastest"]["name"] == USERS_1
    assert roles(document, USERS_8) == ""
    for name in ("out.md", "out.html"):
        text = (project.pytester.path / name).read_text()
        assert USERS_1 in text
        assert USERS_8 in text


def test_a_test_with_two_loads_has_the_properties_of_both(project: Project) -> None:
    slower_with_users(project)
    project.write(
        tests="import pytest\n@pytest.mark.slo('p95<50ms')\ndef test_gate(load):\n"
        "    load(users=1, spawn_rate=8).check()\n    load(users=1, spawn_rate=8)\n"
        "    load(users=8, spawn_rate=8).check()\n"
    )

    project.run("--junit-xml=out.xml").assert_outcomes(failed=1)

    (case,) = ET.parse(project.pytester.path / "out.xml").getroot().iter("testcase")
    found = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
    assert (found["run 1: users"], found["users"]) == ("1", "8")
    assert (found["run 1: verdict"], found["verdict"]) == ("PASS", "FAIL")
    assert found["run 1: slo:p95<50ms"].startswith("PASS")
    assert found["slo:p95<50ms"].startswith("FAIL")
    assert "run 2: users" not in found


def test_results_of_before_there_were_labels_are_still_read_and_told_apart(project: Project) -> None:
    slower_with_users(project)
    project.write(tests=TWO_LOADS)
    _, results = project.results()
    path = project.pytester.path / "out.json"
    document = json.loads(path.read_text())
    for each in document["results"]:
        for name in ("label", "origin", "identity", "earlier"):
            del each[name]
    path.write_text(json.dumps(document))

    assert main(["report", str(path), "--json", str(path)]) == 0

    again = json.loads(path.read_text())["results"]
    assert {each["label"] for each in again} == {each["label"] for each in results} == {USERS_1, USERS_8}
