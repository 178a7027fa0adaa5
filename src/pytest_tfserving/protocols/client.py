"""Requests to a deployment before load: model state, signature, first answers."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import DeploymentError, LoadError
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.answer import (
    NULL,
    ExpectedAnswer,
    answer_value,
    is_close,
    kinds_of,
    layout_of,
    room_for,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pytest_tfserving.deployment.deployment import Deployment, Endpoint
    from pytest_tfserving.protocols.payload import Payload
    from pytest_tfserving.protocols.serving_protocol import ModelClient

_POLL_S = 0.05
WARM_UP_REQUESTS = 3


@dataclass(frozen=True)
class FirstAnswers:
    """The outcome of first requests: the expectation on later answers, and the time of a warm answer.

    ``request`` has the bytes that were sent, which load will send too. ``values`` are the values of the first
    answers if these agree, else None.
    """

    expected: ExpectedAnswer
    warm_s: float
    request: bytes
    values: Any = None


def client_for(endpoint: Endpoint, path: str) -> AbstractContextManager[ModelClient]:
    """Return a client for the model at ``path``, a REST path for every protocol, as a context."""
    return SERVING_PROTOCOLS[endpoint.protocol].client(endpoint, path)


def wait_until_available(
    endpoint: Endpoint, path: str, *, timeout_s: float, failure: Callable[[], str], advice: str
) -> None:
    """Wait until the model behind ``endpoint`` is AVAILABLE.

    Raises:
        DeploymentError: as soon as ``failure()`` returns a cause or the model ends, and after ``timeout_s``.
    """
    deadline, state = time.monotonic() + timeout_s, "no response"
    with client_for(endpoint, path) as asked:
        while time.monotonic() < deadline:
            if cause := failure():
                raise DeploymentError(cause)
            state, error = asked.state()
            if state == "AVAILABLE":
                return
            if state == "END":
                raise DeploymentError(f"the model at {endpoint}{path} did not load: {error}")
            time.sleep(_POLL_S)
    raise DeploymentError(
        f"the model at {endpoint}{path} was not AVAILABLE after {timeout_s:g} s (last: {state}); {advice}"
    )


def first_answers(deployment: Deployment, payload: Payload, timeout_s: float) -> FirstAnswers:
    """Send first requests to every replica and check their answers.

    Raises:
        LoadError: when an answer does not come or is wrong, with the cause.
        ConfigurationError: when the payload does not fit the model.
    """
    found: FirstAnswers | None = None
    for endpoint in deployment.loaded:
        with client_for(endpoint, deployment.path) as asked:
            try:
                found = _asked(asked, deployment, payload, timeout_s, found)
            except LoadError as error:
                raise LoadError(f"a first request to {endpoint}{deployment.path} failed: {error}") from None
    if found is None:
        protocol = deployment.experiment.protocol
        raise LoadError(f"no {protocol} address is known of the deployment reached by {deployment.via}")
    return found


def _asked(
    asked: ModelClient, deployment: Deployment, payload: Payload, timeout_s: float, known: FirstAnswers | None
) -> FirstAnswers:
    """Return the first answers of one replica, checked against those ``known`` from earlier replicas."""
    request = known.request if known else asked.request(payload)
    expected = known.expected if known else None
    taken_s, found = 0.0, []
    for _ in range(WARM_UP_REQUESTS):
        start = time.perf_counter()
        answer = asked.predict(request, timeout_s)
        taken_s = time.perf_counter() - start
        expected = expected or _expectation(payload, answer, deployment)
        if cause := wrong(*answer, expected):
            raise LoadError(cause)
        found.append(answer_value(*answer, expected.key, expected.protocol)[0])
    assert expected is not None
    same = all(is_close(each, found[0]) for each in found) and (not known or is_close(found[0], known.values))
    warm_s = max(taken_s, known.warm_s if known else 0.0)
    return FirstAnswers(expected, warm_s, request, found[0] if same else None)


def _expectation(payload: Payload, answer: tuple[int, bytes], deployment: Deployment) -> ExpectedAnswer:
    """Return the in-process model's answer as the expectation if it is known, else the first answer's layout.

    TensorFlow Serving does not check answers against the shape in the signature, so this function does not.
    """
    protocol = deployment.experiment.protocol
    value, layout = answer_value(*answer, payload.key, protocol)
    room = room_for(len(answer[1]))
    values = deployment.right_answer()
    if values is not None:
        return ExpectedAnswer(payload.key, layout_of(values), values, protocol, most_bytes=room)
    rows = layout[0] if isinstance(layout, list) and layout else "no"
    if payload.rows not in (None, rows):
        raise LoadError(f"{rows} rows came back for {payload.rows}")
    kinds = sorted(kinds_of(value))
    if NULL in kinds:
        raise LoadError(f"the response has {NULL} in it")
    return ExpectedAnswer(payload.key, layout, protocol=protocol, kinds=kinds, most_bytes=room)
