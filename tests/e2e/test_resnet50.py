"""ResNet50 on the embedded server: each form of request has the response of the in-process model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.experiments.experiment import PAYLOADS

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project

pytestmark = pytest.mark.needs("long-runs")

RESNET50 = """
profiles:
  tiny: {users: 1, spawn_rate: 1, run_time_s: 60, max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - shape: 1cpu-2gb-1n
    inter_op: 1
    payload: json
    profile: tiny
    slo: ["errors<90%", "errors{jpeg}<90%", "errors{raw}<90%", "errors{json}<90%"]
"""
FORMS = """
import pytest
from pytest_tfserving.protocols.payload import picture_payload
from pytest_tfserving.protocols.payload_set import PayloadSet, SetEntry

@pytest.fixture(scope="session")
def request_payload():
    return PayloadSet([SetEntry(picture_payload(form), kind=form) for form in ("jpeg", "raw", "json")])

def test_gate(load):
    load().check()
"""


def test_resnet50_answers_rightly_in_every_form(project: Project, resnet50: Path) -> None:
    """One deployment serves all forms, and each response is compared with the in-process model's."""
    project.monkeypatch.setenv("PYTEST_TFSERVING_CACHE", str(resnet50.parent))
    project.write(RESNET50, FORMS)

    run, (result,) = project.results(server=False)

    run.assert_outcomes(passed=1)
    assert result["baseline"], "nothing says what is right"
    assert (result["total_errors"], result["aborted"], result["errors"]) == (0, "", {})
    assert {kind for kind, each in result["kinds"].items() if each["metrics"]["requests"]} == {*PAYLOADS}
