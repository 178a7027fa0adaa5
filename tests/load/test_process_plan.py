"""The plan of a load process, as a line of JSON."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest

from pytest_tfserving.deployment.deployment import Endpoint
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.experiments.trace import ReplaySchedule, Trace
from pytest_tfserving.load.process_plan import ProcessPlan
from pytest_tfserving.protocols.answer import ExpectedAnswer

PLAN = ProcessPlan(
    role="alone",
    index=0,
    processes=1,
    profile=LoadProfile("p", users=2, run_time_s=3),
    endpoints=(Endpoint("::1", 8501), Endpoint("host", 8500, tls=True, protocol="grpc")),
    paths=("/v1/models/half:predict", "/v1/models/other:predict"),
    expected={
        7: ExpectedAnswer("outputs", {"a": [2], "b": []}, {"a": [1.5, None], "b": "text"}, kinds=["texts"])
    },
    most_bytes=1 << 20,
    stall_s=5.0,
)
TRACE = Trace("/logs/a.jsonl", "", "9f", 3, 3.75, 2.0)
SCHEDULE = ReplaySchedule(array("d", [0.0, 0.1, 2.5]), array("Q", [0, 2, 2**40]))


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        replace(PLAN, role="master", cores=(2, 3), clock="/tmp/clock", master=("127.0.0.1", 5557)),
        replace(
            PLAN,
            requests="/tmp/requests",
            profile=LoadProfile("open", rate=2.5, run_time_s=60, arrivals="constant"),
        ),
        replace(PLAN, profile=LoadProfile("fraction", shape="ramp 1:2.5", run_time_s=60)),
        replace(PLAN, profile=LoadProfile("replay", run_time_s=60, replay=TRACE), schedule=SCHEDULE),
    ],
    ids=["alone", "master", "open loop", "fraction", "replay"],
)
def test_a_process_reads_the_plan_that_was_written(plan: ProcessPlan) -> None:
    line = plan.to_json()

    assert "\n" not in line
    assert ProcessPlan.from_json(line.encode()) == plan
