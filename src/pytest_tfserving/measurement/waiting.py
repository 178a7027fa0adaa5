"""Measurement of how long a server waits in a request: for a timer, a batch or another service."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.protocols.client import client_for

if TYPE_CHECKING:
    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.protocols.prepared_requests import PreparedRequests
    from pytest_tfserving.protocols.serving_protocol import ModelClient

_TRIALS = 5
_MOST_S = 1.0
_TIMEOUT_S = 20.0
# Connections, clocks and a busy machine take a smaller share of a request that only computes.
_LEAST_SHARE = 0.2


def waiting_s(deployment: Deployment, requests: PreparedRequests) -> float:
    """Return for how many seconds of a warm request neither the server nor this process computes.

    The first request to each model is sent a few times, and the time without computation is the shortest one
    of them, since a busy machine only adds to it. The longest one of all models is returned. It is 0 if it is
    a small part of a request, if the CPU time of the server is not known, and if requests fail.
    """
    if not deployment.loaded:
        return 0.0
    paths = list(deployment.paths.values())
    first = {requests.path_numbers[index]: index for index in reversed(range(len(requests)))}
    found_s = [0.0]
    for number, index in first.items():
        with suppress(TFServingError), client_for(deployment.loaded[0], paths[number]) as asked:
            found_s.append(_shortest_s(deployment, asked, bytes(requests[index])))
    return max(found_s)


def _shortest_s(deployment: Deployment, asked: ModelClient, request: bytes) -> float:
    shortest_s, deadline = _wait_s(deployment, asked, request), time.monotonic() + _MOST_S
    for _ in range(_TRIALS - 1):
        if time.monotonic() > deadline or not shortest_s:
            break
        shortest_s = min(shortest_s, _wait_s(deployment, asked, request))
    return shortest_s


def _wait_s(deployment: Deployment, asked: ModelClient, request: bytes) -> float:
    before_s, began, own_s = _cpu_s(deployment), time.perf_counter(), time.process_time()
    asked.predict(request, _TIMEOUT_S)
    taken_s, computed_s = time.perf_counter() - began, time.process_time() - own_s
    after_s = _cpu_s(deployment)
    if before_s is None or after_s is None:
        return 0.0
    wait_s = taken_s - computed_s - (after_s - before_s)
    return wait_s if wait_s > _LEAST_SHARE * taken_s else 0.0


def _cpu_s(deployment: Deployment) -> float | None:
    usage = deployment.usage()
    return usage.cpu_s if usage else None
