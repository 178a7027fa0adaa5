"""The plan of a load process, as a line of JSON."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_tfserving.deployment.deployment import Endpoint
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.process_plan import ProcessPlan
from pytest_tfserving.protocols.answer import ExpectedAnswer

PLAN = ProcessPlan(
    role="alone",
    index=0,
    processes=1,
    profile=LoadProfile("p", users=2, run_time_s=3),
    endpoints=(Endpoint("::1", 8501), Endpoint("host", 8500, tls=True, protocol="grpc")),
    path="/v1/models/half:predict",
    body=b"\0\xff\n",
    expected=ExpectedAnswer("outputs", {"a": [2], "b": []}, {"a": [1.5, None], "b": "text"}, kinds=["texts"]),
    stall_s=5.0,
)


@pytest.mark.parametrize(
    "plan",
    [
        PLAN,
        replace(PLAN, role="master", cores=(2, 3), clock="/tmp/clock", master=("127.0.0.1", 5557)),
        replace(PLAN, profile=LoadProfile("open", rate=2.5, run_time_s=60, arrivals="constant")),
        replace(PLAN, profile=LoadProfile("fraction", shape="ramp 1:2.5", run_time_s=60)),
    ],
    ids=["alone", "master", "open loop", "fraction"],
)
def test_a_process_reads_the_plan_that_was_written(plan: ProcessPlan) -> None:
    line = plan.to_json()

    assert "\n" not in line
    assert ProcessPlan.from_json(line.encode()) == plan
