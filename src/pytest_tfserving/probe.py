"""Asks a deployment about itself, over REST, before it is loaded: model state, signature, a first answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import DeploymentError, LoadError
from pytest_tfserving.load.answer import ExpectedAnswer, answer_value, layout_of, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from pytest_tfserving.load.payload import Payload
    from pytest_tfserving.targets.deployment import Deployment, Endpoint

_POLL_S = 0.05
_STATUS_TIMEOUT_S = 5.0
WARM_UP_REQUESTS = 3


def wait_until_available(
    endpoint: Endpoint, path: str, *, timeout_s: float, failure: Callable[[], str], advice: str
) -> None:
    """Wait until the model behind ``endpoint`` is AVAILABLE.

    Raises:
        DeploymentError: as soon as ``failure()`` says so or the model ended, and after ``timeout_s``.
    """
    deadline, state = time.monotonic() + timeout_s, "no answer"
    with _session() as session:
        while time.monotonic() < deadline:
            if cause := failure():
                raise DeploymentError(cause)
            state, error = _model_state(session, f"{endpoint}{path}")
            if state == "AVAILABLE":
                return
            if state == "END":
                raise DeploymentError(f"the model at {endpoint}{path} did not load: {error}")
            time.sleep(_POLL_S)
    raise DeploymentError(
        f"the model at {endpoint}{path} was not AVAILABLE after {timeout_s:g} s (last: {state}); {advice}"
    )


def _model_state(session: requests.Session, url: str) -> tuple[str, str]:
    """`best_state` of the model at a REST address."""
    import requests

    try:
        answer = session.get(url, timeout=_STATUS_TIMEOUT_S).json()
    except requests.JSONDecodeError:
        return "no model status", ""
    except requests.RequestException:
        return "no answer", ""
    return best_state(answer)


def best_state(answer: Any) -> tuple[str, str]:
    """The best state among the versions of a model's status, and the error that goes with it."""
    try:
        versions = answer["model_version_status"]
    except (KeyError, TypeError):
        return "no model status", ""
    states = {version["state"]: version.get("status", {}).get("error_message", "") for version in versions}
    if "AVAILABLE" in states:
        return "AVAILABLE", ""
    state = next((state for state in states if state != "END"), "END" if states else "no version")
    return state, states.get(state, "")


def expected_answer(
    deployment: Deployment, payload: Payload, timeout_s: float
) -> tuple[ExpectedAnswer, float]:
    """Send first requests to every replica and check their answers.

    Returns:
        What every later answer must look like, and the slowest replica's warm latency in seconds.

    Raises:
        LoadError: when an answer does not come or is wrong, with its cause.
    """
    expected: ExpectedAnswer | None = None
    warm_s = 0.0
    with _session() as session:
        for endpoint in deployment.endpoints:
            url = f"{endpoint}{deployment.path}"
            for _ in range(WARM_UP_REQUESTS):
                status, body, taken_s = _predict(session, url, payload, timeout_s)
                expected = expected or _expectation(session, url, payload, (status, body), deployment)
                if cause := wrong(status, body, expected):
                    raise LoadError(f"a first request to {endpoint} failed: {cause}")
            warm_s = max(warm_s, taken_s)
    assert expected is not None
    return expected, warm_s


def _predict(
    session: requests.Session, url: str, payload: Payload, timeout_s: float
) -> tuple[int, bytes, float]:
    import requests

    start = time.perf_counter()
    try:
        answer = session.post(f"{url}:predict", data=payload.body, timeout=timeout_s)
    except requests.Timeout:
        raise LoadError(f"a first request to {url} failed: no answer within {timeout_s:g} s") from None
    except requests.RequestException as error:
        raise LoadError(f"a first request to {url} failed: {_innermost(error)}") from None
    return answer.status_code, answer.content, time.perf_counter() - start


def _expectation(
    session: requests.Session, url: str, payload: Payload, answer: tuple[int, bytes], deployment: Deployment
) -> ExpectedAnswer:
    """The in-process model's answer where it is known, else the first one, checked against the signature."""
    try:
        layout = layout_of(answer_value(*answer, payload.key))
    except LoadError as error:
        raise LoadError(f"a first request to {url} failed: {error}") from None
    values = deployment.right_answer()
    if values is not None:
        return ExpectedAnswer(payload.key, layout_of(values), values)
    signed = _signature_layout(session, url, payload)
    if signed is not None and not _fits(layout, signed):
        problem = f"the answer's shape is {layout}, its signature says {signed}"
        raise LoadError(f"a first request to {url} failed: {problem}")
    if payload.rows is not None and layout[:1] != [payload.rows]:
        problem = f"{layout[0] if layout else 'no'} rows came back for {payload.rows}"
        raise LoadError(f"a first request to {url} failed: {problem}")
    return ExpectedAnswer(payload.key, layout)


def _fits(layout: Any, signed: list[int]) -> bool:
    return len(layout) == len(signed) and all(
        size in (-1, actual) for size, actual in zip(signed, layout, strict=True)
    )


def _signature_layout(session: requests.Session, url: str, payload: Payload) -> list[int] | None:
    """The sizes of a signature's only output, -1 where any is right; None where that is not known."""
    import requests

    try:
        metadata = session.get(f"{url}/metadata", timeout=_STATUS_TIMEOUT_S).json()
        signatures = metadata["metadata"]["signature_def"]["signature_def"]
        (output,) = signatures[payload.signature_name]["outputs"].values()
        if output["tensor_shape"].get("unknown_rank"):
            return None
        return [int(size["size"]) for size in output["tensor_shape"]["dim"]]
    except (requests.RequestException, ValueError, KeyError, TypeError, AttributeError):
        return None


def _session() -> requests.Session:
    import requests

    session = requests.Session()
    session.trust_env = False  # neither proxies nor credentials belong between a gate and its server
    return session


def _innermost(error: BaseException) -> str:
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return _innermost(reason)
    text = str(error)
    return text.rsplit(": ", 1)[-1] if text.startswith("<") else text
