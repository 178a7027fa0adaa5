"""Detection of servers that answer repeated requests from a cache.

Load repeats one request. If a cache answers it, the figures describe the cache, not the model. After a run
the known request and new requests like it are sent in turn. A cache answers the known request faster than any
new one.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_tfserving.errors import LoadError, TFServingError
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.client import client_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.protocols.payload import Payload
    from pytest_tfserving.protocols.payload_set import PayloadSet
    from pytest_tfserving.protocols.serving_protocol import ModelClient
    from pytest_tfserving.text.json_value import JsonValue

# Without a cache, one in 12,870 such series has all eight times of one kind below all of the other kind.
_PAIRS = 8
_FEWEST_PAIRS = 5
_MOST_S = 2.0
# A smaller difference is not a cache, or hardly matters.
_FACTOR = 1.5
_LARGEST_CHANGE = 1e-3
_MS = 1_000


def cache_found(deployment: Deployment, payloads: PayloadSet) -> str:
    """Return a sentence with both times if the server answers from a cache; empty if it does not.

    The first request of a set stands for all. The answer is also empty if its payload has no number with a
    fraction to change, if requests fail, and if answers take so long that there are too few of them.
    """
    payload, path = payloads[0].payload, deployment.path_of(payloads[0].model)
    others = list(_others(payload))
    same_s: list[float] = []
    other_s: list[float] = []
    if not (others and deployment.loaded):
        return ""
    with suppress(TFServingError), client_for(deployment.loaded[0], path) as asked:
        _took_s(asked, payload, deployment)
        deadline = time.monotonic() + _MOST_S
        for number, other in enumerate(others):
            pair = [(same_s, payload), (other_s, other)]
            for times_s, sent in pair if number % 2 else reversed(pair):
                times_s.append(_took_s(asked, sent, deployment))
            if time.monotonic() > deadline:
                break
    return _told(same_s, other_s, len(payloads))


def _told(same_s: list[float], other_s: list[float], requests: int) -> str:
    if min(len(same_s), len(other_s)) < _FEWEST_PAIRS:
        return ""
    same, other = statistics.median(same_s), statistics.median(other_s)
    repeated = "one request" if requests == 1 else f"{requests} requests"
    if max(same_s) >= min(other_s) or other < _FACTOR * same:
        return ""
    return (
        f"the server answers a repeated request from a cache, in {_MS * same:.3g} ms, "
        f"and new requests in {_MS * other:.3g} ms; load repeats {repeated}, "
        "so the figures describe the cache"
    )


def _took_s(asked: ModelClient, payload: Payload, deployment: Deployment) -> float:
    """Return how long a successful answer took, in seconds.

    Raises:
        LoadError: when no successful answer came.
    """
    request = asked.request(payload)
    began = time.perf_counter()
    status, _ = asked.predict(request, _MOST_S)
    took_s = time.perf_counter() - began
    if status != SERVING_PROTOCOLS[deployment.experiment.protocol].success:
        raise LoadError(f"status {status}")
    return took_s


def _others(payload: Payload) -> Iterator[Payload]:
    """Yield payloads that differ from ``payload`` in one number, each a request that is new to the server."""
    document: JsonValue = None
    with suppress(ValueError, RecursionError):
        document = json.loads(payload.body)
    values = document.get("instances", document.get("inputs")) if isinstance(document, dict) else None
    if (found := _first_fraction(values)) is None:
        return
    number, put = found
    for _ in range(_PAIRS):
        share = random.uniform(_LARGEST_CHANGE / 2, _LARGEST_CHANGE)  # noqa: S311 - no secret
        put(number + share * max(abs(number), 1.0))
        yield replace(payload, body=json.dumps(document).encode())


def _first_fraction(value: JsonValue) -> tuple[float, Callable[[float], None]] | None:
    """Return the first number with a fraction, and a function that puts another number in its place."""
    for each, put in _parts(value):
        if isinstance(each, float):
            return each, put
        if found := _first_fraction(each):
            return found
    return None


def _parts(value: JsonValue) -> Iterator[tuple[JsonValue, Callable[[float], None]]]:
    """Yield the values in a list or object, each with a function that puts a number in its place."""
    if isinstance(value, dict):
        yield from ((each, partial(value.__setitem__, name)) for name, each in value.items())
    elif isinstance(value, list):
        yield from ((each, partial(value.__setitem__, index)) for index, each in enumerate(value))
