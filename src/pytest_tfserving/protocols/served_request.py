"""A request that a served model takes, found by asking the server for signatures and trying requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, LoadError, nearest
from pytest_tfserving.model_server.servable import signature_of
from pytest_tfserving.model_server.status import Code, ServingError
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.client import client_for
from pytest_tfserving.protocols.fitting_request import DEFAULT_SIGNATURE, in_rows
from pytest_tfserving.protocols.generated_request import generated_inputs
from pytest_tfserving.protocols.grpc_messages import request_tensors
from pytest_tfserving.protocols.guess_search import found_by_trial
from pytest_tfserving.protocols.payload import Payload
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.model_server.servable import Signature
    from pytest_tfserving.protocols.generated_request import Guess
    from pytest_tfserving.protocols.serving_protocol import ModelClient
    from pytest_tfserving.text.json_value import JsonObject

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request's JSON, its signature, and where each made-up value comes from."""

    body: bytes
    signature_name: str
    notes: tuple[str, ...]


def served_request(endpoint: Endpoint, path: str, signature_name: str = "") -> ServedRequest:
    """Return a request that the model at ``path`` takes, in rows if the model takes rows.

    Raises:
        ConfigurationError: if the server does not tell its signatures, or takes none of the requests tried.
    """
    with client_for(endpoint, path) as asked:
        try:
            definitions = asked.signature_defs()
            name = _chosen(definitions, signature_name)
            signature = signature_of(definitions[name])
            return found_by_trial(signature.inputs, partial(_asked, asked, endpoint, name, signature))
        except (LoadError, ConfigurationError) as error:
            problem = f"no request was found for the model at {endpoint}{path}: {one_line(str(error))}"
            raise ConfigurationError(f"{problem.rstrip('.')}; give one with --body.") from None


def _chosen(definitions: Mapping[str, Message], name: str) -> str:
    if name and name not in definitions:
        raise ConfigurationError(f"it has no signature {name!r}; {nearest(name, sorted(definitions))}")
    callable_ones = sorted(each for each in definitions if definitions[each].inputs)
    if not callable_ones:
        raise ConfigurationError("it has no signature with inputs")
    default = DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in callable_ones else callable_ones[0]
    return name or default


def _asked(
    asked: ModelClient, endpoint: Endpoint, name: str, signature: Signature, guess: Guess
) -> ServedRequest:
    """Send the request of a guess, in rows and else in columns.

    Raises:
        ServingError: if the model takes neither.
    """
    made = generated_inputs(signature.inputs, guess)
    inputs = {alias: each.value for alias, each in made.items()}
    columns: JsonObject = {"signature_name": name, "inputs": inputs}
    rows = in_rows(name, inputs, request_tensors(columns, signature.inputs))
    error = ""
    for document in filter(None, (rows, columns)):
        body = json.dumps(document).encode()
        if not (error := _error(asked, endpoint, body)):
            notes = tuple(f"{alias}: {note}" for alias, each in made.items() for note in each.notes)
            return ServedRequest(body, name, tuple(map(one_line, notes)))
    raise ServingError(Code.INVALID_ARGUMENT, error)


def _error(asked: ModelClient, endpoint: Endpoint, body: bytes) -> str:
    """Return the server's error on a request; empty if it has none."""
    protocol = SERVING_PROTOCOLS[endpoint.protocol]
    status, answer = asked.predict(asked.request(Payload.from_body(body)), _TIMEOUT_S)
    if status == protocol.success:
        return ""
    # The number of a status is no size of the model.
    failure = protocol.failure(status, answer)
    return failure.partition(": ")[2] or failure
