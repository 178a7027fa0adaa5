"""Load that was not as asked is not measured: whatever the generator does, such a run never passes."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from _misbehaving import CLIENT, KINDS, Kind, misbehaved, server, verdict

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.slo.language import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_tfserving.load.generator.generator import LoadGenerator

pytestmark = pytest.mark.needs("long-runs")

# Some kinds, and the cause that a run of each has; where it has none, its SLOs are INVALID.
CAUSES = {
    "a load process is killed": "the load generator was killed by signal 9",
    "the only load process is killed": "the load generator was killed by signal 9",
    "a load process is stopped for 3 s": "the load generator stood still for ",
    "the only load process is stopped for 3 s": "the load generator stood still for ",
    "the master is stopped for 3 s": "the load generator's master stood still for ",
    "the master is stopped for 3 s, open loop": "the load generator's master stood still for ",
    "the master is stopped until the end": "the load generator's master said nothing from ",
    "the load process is starved": "",
    "users quit": "of the 2 users asked for ran",
    "a user calls quit": "the load ended by itself",
    "a user calls stop": "the load ended by itself",
    "a user ends the process with exit code 0": "the load generator ended with exit code 0",
    "a user computes": "the load generator stood still for ",
    "a shape ends, two processes": "the load ended by itself",
}


def patient(**fields: float | str) -> LoadProfile:
    """A profile that allows for a busy machine."""
    return LoadProfile("p", run_time_s=60, users=1, max_lag_ms=900, max_cpu_wait=1).with_overrides(fields)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with server() as found:
        yield found


@pytest.mark.parametrize("name", CAUSES)
def test_a_run_whose_generator_misbehaves_never_passes(name: str, tmp_path: Path, port: int) -> None:
    result = misbehaved(KINDS[name], 1, tmp_path, port)

    assert verdict(result) is Verdict.INVALID
    assert CAUSES[name] in result.invalid
    assert bool(CAUSES[name]) == bool(result.invalid)


def test_stages_that_were_not_reached_have_no_figures(tmp_path: Path, port: int) -> None:
    result = misbehaved(KINDS["the master is killed in steps"], 1, tmp_path, port)

    assert verdict(result) is Verdict.INVALID
    assert result.invalid == "the load generator's master was killed by signal 9"
    assert [stage["level"] for stage in result.stages] in ([1], [1, 2])
    assert result.run_record is not None
    assert max(result.run_record.reached) <= 2


def test_a_stage_that_begins_while_the_master_is_stopped_is_not_measured(tmp_path: Path, port: int) -> None:
    """The stage begins within what is allowed to users that come late."""
    kind = replace(
        KINDS["the master is stopped while a stage begins"],
        profile=patient(shape="steps 1:2:+1", run_time_s=8.0),
    )

    result = misbehaved(kind, 1, tmp_path, port)

    assert verdict(result) is Verdict.INVALID
    assert result.invalid.startswith("the load generator's master stood still for ")
    assert [stage["level"] for stage in result.stages] == [1]
    assert result.stages[0]["end_s"] < 4


@pytest.mark.parametrize(
    "kind",
    [
        Kind(profile=patient(users=2, run_time_s=2.5)),
        Kind(profile=patient(users=3, run_time_s=2.5, think_time_s=0.05), processes=2),
        Kind(profile=patient(rate=40, run_time_s=2.5), processes=2),
        Kind(profile=patient(shape="spike 1:4", run_time_s=4.5)),
        Kind(profile=patient(shape="steps 1:3:+1", run_time_s=6.0), processes=2),
    ],
    ids=["closed", "two processes", "open", "spike", "steps"],
)
def test_a_good_run_passes_and_its_record_says_what_was_reached(
    kind: Kind, tmp_path: Path, port: int
) -> None:
    result = misbehaved(kind, 1, tmp_path, port)
    record, profile = result.run_record, kind.profile

    assert result.invalid == ""
    assert verdict(result) is Verdict.PASS
    assert record is not None
    assert record.to_record == record.recorded == result.total_requests
    assert max(record.asked) == (profile.rate or profile.users)
    assert set(record.processes) == {kind.processes}
    assert sum(record.sent) == pytest.approx(sum(record.ended), abs=profile.users + 0.2 * profile.rate + 1)
    if not profile.is_open:
        assert record.reached[-1] == record.asked[-1]


# Siblings


def test_a_worker_that_comes_late_is_waited_for(tmp_path: Path, port: int) -> None:
    """What is before all users run is not measured."""
    late_s = 3.0

    def stop_at_once(child: LoadGenerator) -> None:
        os.kill(child.pids[1], signal.SIGSTOP)
        threading.Timer(late_s, os.kill, [child.pids[1], signal.SIGCONT]).start()

    profile = patient(users=2, run_time_s=5.0)
    result = misbehaved(Kind(begin=stop_at_once, processes=2, profile=profile), 1, tmp_path, port)

    assert result.invalid == ""
    assert result.window.start_s > 1
    assert result.run_record is not None
    assert result.run_record.reached[0] < 2


def test_users_that_never_come_are_told(tmp_path: Path, port: int) -> None:
    never = CLIENT.replace(
        "    def on_start",
        "    def __init__(self, environment):\n        time.sleep(600)\n\n    def on_start",
    )
    profile = patient(users=2, run_time_s=2.0)

    result = misbehaved(Kind(never.replace("{then}", "pass"), profile=profile), 1, tmp_path, port)

    assert verdict(result) is Verdict.INVALID
    assert result.invalid == "only 0 of the 2 users asked for ran when it was over"


def test_a_rate_that_the_generator_cannot_reach_never_passes(tmp_path: Path, port: int) -> None:
    profile = patient(rate=100_000, max_in_flight=4, run_time_s=2.0, max_failure_ratio=1)

    result = misbehaved(Kind(profile=profile), 1, tmp_path, port)

    assert verdict(result) is Verdict.INVALID
    assert result.invalid.startswith("the load generator did not keep up: it sent ")


def test_requests_that_are_lost_are_told(tmp_path: Path, port: int) -> None:
    def lose(child: LoadGenerator) -> None:
        os.truncate(child.records[0], 0)

    result = misbehaved(
        Kind(act=lose, from_the_start=True, profile=patient(users=2, run_time_s=2.5)), 1, tmp_path, port
    )

    assert verdict(result) is Verdict.INVALID
    assert result.invalid.startswith("requests were lost: ")
