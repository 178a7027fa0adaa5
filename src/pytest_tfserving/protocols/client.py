"""Requests to a deployment before load: model state, signature, first answers."""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pytest_tfserving.errors import ConfigurationError, DeploymentError, LoadError
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.answer import (
    AnswerForm,
    ExpectedAnswer,
    answer_value,
    expectation,
    is_close,
    layout_of,
    room_for,
    wrong,
)
from pytest_tfserving.protocols.prepared_requests import PreparedRequests, RequestWriter
from pytest_tfserving.protocols.request_fit import fits
from pytest_tfserving.text.foreign_text import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from google.protobuf.message import Message

    from pytest_tfserving.deployment.deployment import Deployment, Endpoint
    from pytest_tfserving.protocols.payload_set import PayloadSet
    from pytest_tfserving.protocols.serving_protocol import ModelClient

# The clients of models, and the models' signatures by name, by the models' paths.
_Clients: TypeAlias = "Mapping[str, ModelClient]"
_Signatures: TypeAlias = "Mapping[str, Mapping[str, Message]]"

_POLL_S = 0.05
WARM_UP_REQUESTS = 3
# A model may take seconds for its first request of a kind. After these, further requests of a set are sent to
# a replica for at most this long.
_OTHERS_S = 2.0
_MOST_ODD = 64


@dataclass(frozen=True)
class FirstAnswers:
    """The outcome of first requests.

    Attributes:
        requests: the bytes that were sent, which load will send too.
        expected: the expectation on later answers, by the index of the request, for the requests that were
            sent.
        warm_s: the time of a warm answer, the longest of all replicas and requests.
        values: the values of the first answers to a request, by its index, where these answers agree.
    """

    requests: PreparedRequests
    expected: Mapping[int, ExpectedAnswer]
    warm_s: float
    values: Mapping[int, Any] = field(default_factory=dict)


def client_for(endpoint: Endpoint, path: str) -> AbstractContextManager[ModelClient]:
    """Return a client for the model at ``path``, a REST path for every protocol, as a context."""
    return SERVING_PROTOCOLS[endpoint.protocol].client(endpoint, path)


def wait_until_available(
    endpoint: Endpoint, *paths: str, timeout_s: float, failure: Callable[[], str], advice: str
) -> None:
    """Wait until each model behind ``endpoint`` is AVAILABLE.

    Raises:
        DeploymentError: as soon as ``failure()`` returns a cause or a model ends, and after ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    for path in paths:
        with client_for(endpoint, path) as asked:
            state, error = _awaited_state(asked, deadline, failure)
        if state == "END":
            raise DeploymentError(f"the model at {endpoint}{path} did not load: {error}")
        if state != "AVAILABLE":
            last = f"{state}: {error}" if error else state
            raise DeploymentError(
                f"the model at {endpoint}{path} was not AVAILABLE after {timeout_s:g} s (last: {last}); "
                f"{advice}"
            )


def _awaited_state(asked: ModelClient, deadline: float, failure: Callable[[], str]) -> tuple[str, str]:
    """Return the state of a model once it is AVAILABLE or END, or its last state before ``deadline``.

    Raises:
        DeploymentError: as soon as ``failure()`` returns a cause.
    """
    state, error = "no response", ""
    while time.monotonic() < deadline:
        if cause := failure():
            raise DeploymentError(cause)
        state, error = asked.state()
        if state in ("AVAILABLE", "END"):
            break
        time.sleep(_POLL_S)
    return state, error


def first_answers(
    deployment: Deployment, payloads: PayloadSet, timeout_s: float, folder: Path
) -> FirstAnswers:
    """Send first requests to every replica and check their answers.

    Of a large set only a sample is sent.

    Args:
        deployment: the deployment.
        payloads: the requests that load will send.
        timeout_s: the longest time for an answer in seconds.
        folder: the folder that gets the file with the prepared requests.

    Raises:
        LoadError: when an answer does not come or is wrong, with the cause.
        ConfigurationError: when a request does not fit the model.
    """
    first: _FirstRequests | None = None
    for endpoint in deployment.loaded:
        with _clients(endpoint, deployment) as asked:
            try:
                first = first or _FirstRequests(
                    deployment, payloads, _prepared(asked, deployment, payloads, folder)
                )
                first.ask(asked, timeout_s)
            except LoadError as error:
                path = deployment.path if len(deployment.paths) == 1 else ""
                raise LoadError(f"a first request to {endpoint}{path} failed: {error}") from None
    if first is None:
        protocol = deployment.experiment.protocol
        raise LoadError(f"no {protocol} address is known of the deployment reached by {deployment.via}")
    return first.answers()


@contextmanager
def _clients(endpoint: Endpoint, deployment: Deployment) -> Iterator[_Clients]:
    """Return a client for each model of a deployment at one endpoint, by the model's path."""
    with ExitStack() as stack:
        yield {path: stack.enter_context(client_for(endpoint, path)) for path in deployment.paths.values()}


def _prepared(
    asked: _Clients, deployment: Deployment, payloads: PayloadSet, folder: Path
) -> PreparedRequests:
    """Return the requests of a set as load processes send them, in a file.

    The file is that of an earlier run of load with the same requests for the same models, if there is one.

    Raises:
        LoadError: when a model's signature is needed and not known.
        ConfigurationError: when a request does not fit its model, with its place in the user's file.
    """
    # The server's answer says more on a single request.
    signatures = _signatures(asked) if len(payloads) > 1 else None
    path = folder / f"requests-{_key(deployment, payloads, signatures)}"
    if signatures is None or not path.exists():
        for other in folder.glob("requests-*"):
            other.unlink()
        _write(asked, deployment, payloads, signatures, path)
    return PreparedRequests.read(path)


def _key(deployment: Deployment, payloads: PayloadSet, signatures: _Signatures | None) -> str:
    """Return a digest of all that the prepared requests depend on."""
    known = {
        (path, name): each.SerializeToString(deterministic=True).hex()
        for path, found in (signatures or {}).items()
        for name, each in found.items()
    }
    parts = [
        [*deployment.paths.items()],
        deployment.experiment.protocol,
        payloads.digest,
        sorted(known.items()),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _write(
    asked: _Clients,
    deployment: Deployment,
    payloads: PayloadSet,
    signatures: _Signatures | None,
    path: Path,
) -> None:
    """Write the requests of a set to a file, which appears when it is complete."""
    framed = SERVING_PROTOCOLS[deployment.experiment.protocol].framed
    numbers = {each: number for number, each in enumerate(deployment.paths.values())}
    begun = path.with_name("requests-begun")
    with begun.open("wb") as file:
        writer = RequestWriter(file)
        for entry in payloads:
            payload = entry.payload
            with _placed(entry.about):
                place = deployment.path_of(entry.model)
                odd = signatures is not None and not fits(payload, signatures[place])
                request = asked[place].request(payload)
            form = AnswerForm(payload.key, payload.rows)
            writer.add(framed(request), form, entry.weight, odd=odd, path_number=numbers[place])
        writer.close()
    begun.rename(path)


def _signatures(asked: _Clients) -> _Signatures | None:
    """Return the models' signatures; None if they are not known, so that requests are not checked by them."""
    try:
        return {path: each.signature_defs() for path, each in asked.items()}
    except (LoadError, ConfigurationError):
        return None


@contextmanager
def _placed(place: str) -> Iterator[None]:
    """Add the place of a request to the error that it is a mistake."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}" if place else str(error)) from None


class _FirstRequests:
    """First requests to all replicas, and the expectations that follow from the answers."""

    def __init__(self, deployment: Deployment, payloads: PayloadSet, requests: PreparedRequests) -> None:
        self._protocol = deployment.experiment.protocol
        self._known = deployment.right_answers()
        self._payloads = payloads
        self._requests = requests
        self._paths = list(deployment.paths.values())
        # Each model has a request at once, then each kind, then the requests that a model may not take.
        sample = list(payloads.sample)
        first = {requests.path_numbers[index]: index for index in reversed(sample)}
        self._at_once = len(first)
        of_kinds = dict.fromkeys([*sorted(first.values()), *sample[: payloads.sampled_kinds]])
        self._kinds = len(of_kinds)
        self._order = list(dict.fromkeys([*of_kinds, *requests.odd[:_MOST_ODD], *sample]))
        self._expected: dict[int, ExpectedAnswer] = {}
        self._values: dict[int, list[Any]] = {}
        self._warm_s = 0.0

    def ask(self, asked: _Clients, timeout_s: float) -> None:
        """Send first requests to one replica: one to each model, then others as time allows.

        The first request of each kind has as much time as the first request of a model may take.

        Raises:
            LoadError: when an answer does not come or is wrong.
        """
        until = time.monotonic() + WARM_UP_REQUESTS * timeout_s
        for number, index in enumerate(self._order):
            is_first = number < self._at_once
            if number == self._kinds:
                until = time.monotonic() + _OTHERS_S
            if not is_first and time.monotonic() > until:
                return
            with _named(self._payloads[index].about):
                model = asked[self._paths[self._requests.path_numbers[index]]]
                self._ask(model, index, timeout_s, WARM_UP_REQUESTS - (not is_first))

    def _ask(self, asked: ModelClient, index: int, timeout_s: float, times: int) -> None:
        request = asked.request(self._payloads[index].payload)
        taken_s = 0.0
        for _ in range(times):
            start = time.perf_counter()
            answer = asked.predict(request, timeout_s)
            taken_s = time.perf_counter() - start
            self._refuse_failure(*answer)
            expected = self._expected.get(index) or self._expectation(index, answer)
            if cause := wrong(*answer, expected):
                raise LoadError(cause)
            self._expected[index] = expected
            value, _ = answer_value(*answer, expected.key, expected.protocol)
            self._values.setdefault(index, []).append(value)
        self._warm_s = max(taken_s, self._warm_s)

    def _refuse_failure(self, status: int, body: bytes) -> None:
        """Raise a LoadError for a failed request, with all that the server says."""
        serving = SERVING_PROTOCOLS[self._protocol]
        if status != serving.success:
            raise LoadError(serving.failure(status, body, LONGEST))

    def _expectation(self, index: int, answer: tuple[int, bytes]) -> ExpectedAnswer:
        """Return the in-process model's answer as the expectation if it is known, else the first answer's."""
        form = self._requests.forms[index]
        if index not in self._known:
            return expectation(form, *answer, self._protocol)
        # A failed request says more than its layout.
        answer_value(*answer, form.key, self._protocol)
        values, room = self._known[index], room_for(len(answer[1]))
        return ExpectedAnswer(form.key, layout_of(values), values, self._protocol, most_bytes=room)

    def answers(self) -> FirstAnswers:
        """Return the outcome of all first requests."""
        values = {
            index: found[0]
            for index, found in self._values.items()
            if all(is_close(each, found[0]) for each in found)
        }
        return FirstAnswers(self._requests, self._expected, self._warm_s, values)


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Add the place of a request to the error that its answer is wrong."""
    try:
        yield
    except LoadError as error:
        raise LoadError(f"{place}: {error}" if place else str(error)) from None
