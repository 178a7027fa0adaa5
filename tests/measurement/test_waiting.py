"""How long a server waits in a request, as its time and its CPU time tell."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import planted_results as planted
from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.measurement.waiting import waiting_s
from pytest_tfserving.protocols.answer import AnswerForm
from pytest_tfserving.protocols.prepared_requests import PreparedRequests
from pytest_tfserving.system.resource_usage import ResourceUsage
from servers.odd_server import OddServer, RestPeer

if TYPE_CHECKING:
    from collections.abc import Callable

REQUESTS = PreparedRequests.of(b'{"instances": [1.0, 2.0, 5.0]}', AnswerForm())
TAKES_S = 0.05


def slow(peer: RestPeer) -> None:
    time.sleep(TAKES_S)
    peer.answer(b'{"predictions": [2.5, 3.0, 4.5]}')


def waits_s(port: int, usage: Callable[[], ResourceUsage | None]) -> float:
    deployment = Deployment(
        replace(planted.STUDY[0], protocol="rest"),
        label="half",
        paths={"half": "/v1/models/half"},
        addresses={"rest": (Endpoint("127.0.0.1", port),)},
        via="here",
        usage=usage,
    )
    return waiting_s(deployment, REQUESTS)


def computing(share: float) -> Callable[[], ResourceUsage]:
    """Return usages that grow by a share of the slow response's time with each reading."""
    readings = itertools.count()
    return lambda: ResourceUsage(cpu_s=next(readings) * share * TAKES_S)


@pytest.mark.parametrize(("share", "least"), [(0.0, 0.8), (0.5, 0.3)])
def test_a_server_waits_for_as_long_as_it_does_not_compute(share: float, least: float) -> None:
    """This process computes for a part of the time."""
    with OddServer("rest", slow, after=0) as server:
        assert waits_s(server.port, computing(share)) > least * TAKES_S


@pytest.mark.parametrize(
    "usage", [computing(100.0), ResourceUsage, lambda: None], ids=["computes", "not counted", "not seen"]
)
def test_a_server_that_computes_or_is_not_seen_does_not_wait(
    usage: Callable[[], ResourceUsage | None],
) -> None:
    with OddServer("rest", slow, after=0) as server:
        assert waits_s(server.port, usage) == 0.0


def test_a_server_that_is_gone_does_not_wait() -> None:
    with OddServer("rest", slow, after=0) as server:
        pass

    assert waits_s(server.port, computing(0.0)) == 0.0
