"""Requests that a SavedModel takes, found by calls of the model in a process of their own."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.protocols.guess_search import found_by_trial
from pytest_tfserving.protocols.payload import Payload
from pytest_tfserving.text.foreign_text import last_line, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.model_server.servable import Servable, Signature, TensorSpec
    from pytest_tfserving.protocols.generated_request import Guess
    from pytest_tfserving.text.json_value import JsonObject, JsonValue

DEFAULT_SIGNATURE = "serving_default"
# TensorFlow's own signature, which prepares a model.
_HIDDEN = "__saved_model_init_op"
_CALL_TIMEOUT_MS = 10_000
_LONGEST_ERROR = 160
_STDERR = 2
_LOG = "tensorflow.log"


@dataclass(frozen=True, slots=True)
class TensorText:
    """An input or output as a person reads it: its name, its type, its shape."""

    name: str
    type: str
    shape: str


@dataclass(frozen=True)
class FoundRequest:
    """A signature, and a request that the model takes through it.

    Attributes:
        signature_name: the signature.
        method: the method in the signature, as ``predict``.
        inputs: the signature's inputs.
        outputs: the signature's outputs.
        problem: why there is no request; empty if there is one.
        rows: the REST request in the row format, None if the model does not take it.
        columns: the REST request in the columnar format, None if the model does not take it.
        no_rows: why there is no ``rows``.
        no_columns: why there is no ``columns``.
        grpc: the serialized ``PredictRequest``.
        tensors: the tensors of the request.
        answer: the tensors of the model's answer.
        call_ms: the time of one call in process, after a first one.
        notes: what was made up, and where each value comes from.
        same_as: the name of an earlier signature with the same tensors; empty if there is none.
    """

    signature_name: str
    method: str = ""
    inputs: tuple[TensorText, ...] = ()
    outputs: tuple[TensorText, ...] = ()
    problem: str = ""
    rows: bytes | None = None
    columns: bytes | None = None
    no_rows: str = ""
    no_columns: str = ""
    grpc: bytes = b""
    tensors: tuple[TensorText, ...] = ()
    answer: tuple[TensorText, ...] = ()
    call_ms: float = 0.0
    notes: tuple[str, ...] = ()
    same_as: str = ""
    document: JsonObject = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """The protocol that carries the request: REST if JSON has the types, else gRPC."""
        return "rest" if self.rows or self.columns else "grpc"

    @property
    def body(self) -> bytes:
        """The request's JSON: in the row format if the model takes that."""
        return self.rows or self.columns or json.dumps(self.document).encode()


@dataclass(frozen=True)
class InspectedModel:
    """The signatures of a version, each with a request, and the time to load the version."""

    load_s: float
    requests: tuple[FoundRequest, ...]

    def named(self, signature_name: str) -> FoundRequest:
        """Return the request of a signature.

        Raises:
            ConfigurationError: if there is no such signature.
        """
        by_name = {each.signature_name: each for each in self.requests}
        if signature_name not in by_name:
            hint = nearest(signature_name, list(by_name)) if by_name else "it has none"
            raise ConfigurationError(f"the model has no signature {signature_name!r}; {hint}.")
        return by_name[signature_name]

    def usable(self, signature_name: str = "") -> FoundRequest:
        """Return the request of a signature; without a name, that of the first one with a request.

        Raises:
            ConfigurationError: if there is no such signature, or no request for it.
        """
        chosen = (self.named(signature_name),) if signature_name else self.requests
        if found := next((each for each in chosen if not each.problem), None):
            return found
        problems = "; ".join(f"signature {each.signature_name!r}: {each.problem}" for each in chosen)
        raise ConfigurationError(f"no request was found for the model: {problems or 'it has no signatures'}.")


def inspected(version_path: Path) -> InspectedModel:
    """Load a SavedModel in a process of its own, and find a request for each of its signatures.

    Raises:
        ConfigurationError: if TensorFlow is not installed, cannot load the model, or ends.
    """
    # A new interpreter, because a fork would copy the locks of this one's threads.
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="pytest-tfserving-inspect-") as folder,
        ProcessPoolExecutor(1, context, _prepare_process, (folder,)) as pool,
    ):
        try:
            return pool.submit(_inspected, version_path.absolute()).result()
        except BrokenProcessPool:
            problem = "TensorFlow ended its process while it loaded or called the model"
            cause = last_line(Path(folder, _LOG))
            raise ConfigurationError(f"{version_path}: {problem}{cause and f': {cause}'}.") from None


def _prepare_process(folder: str) -> None:
    """Let Ctrl-C end this process without a traceback, and put whatever it writes into a folder.

    TensorFlow writes a log. A model may take a made-up text for a path, and write to it.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.chdir(folder)
    file = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(file, _STDERR)
    os.close(file)


def _inspected(version_path: Path) -> InspectedModel:
    from pytest_tfserving.model_server.servable import Servable
    from pytest_tfserving.model_server.status import ServingError

    start = time.perf_counter()
    try:
        servable = Servable.load(version_path)
    except ServingError as error:
        cause = one_line(error.message, _LONGEST_ERROR)
        raise ConfigurationError(f"{version_path} cannot be loaded: {cause}.") from None
    load_s = time.perf_counter() - start
    names = sorted(set(servable.signatures) - {_HIDDEN}, key=lambda name: (name != DEFAULT_SIGNATURE, name))
    requests: list[FoundRequest] = []
    for name in names:
        signature = servable.signatures[name]
        same = (each for each in requests if servable.signatures[each.signature_name] == signature)
        requests.append(_found(servable, name, next((each.signature_name for each in same), "")))
    return InspectedModel(load_s, tuple(requests))


def _found(servable: Servable, name: str, same_as: str) -> FoundRequest:
    signature = servable.signatures[name]
    about: dict[str, Any] = {
        "signature_name": name,
        "method": servable.signature_defs[name].method_name.rpartition("/")[2],
        "inputs": _spec_texts(signature.inputs),
        "outputs": _spec_texts(signature.outputs),
        "same_as": same_as,
    }
    if problem := _uncallable(signature):
        return FoundRequest(**about, problem=problem)
    try:
        about |= found_by_trial(signature.inputs, partial(_called, servable, name, signature))
    except ConfigurationError as error:
        return FoundRequest(**about, problem=str(error))
    return FoundRequest(**about)


def _uncallable(signature: Signature) -> str:
    """Return why no predict request can call a signature; empty if one can."""
    from pytest_tfserving.model_server.tensorflow_c import numpy_dtype

    if not signature.inputs:
        return "it has no inputs, and predict requests need one"
    strange = (alias for alias, spec in signature.inputs.items() if numpy_dtype(spec.dtype) is None)
    alias = next(strange, "")
    return alias and f"its input {alias!r} has a type that requests cannot carry"


def _called(servable: Servable, name: str, signature: Signature, guess: Guess) -> dict[str, Any]:
    """Call the model with the request of a guess; return the fields of the request.

    Raises:
        ServingError: if the model does not take the request.
    """
    from pytest_tfserving.protocols.generated_request import generated_inputs
    from pytest_tfserving.protocols.grpc_messages import predict_request, request_tensors

    made = generated_inputs(signature.inputs, guess)
    inputs = {alias: each.value for alias, each in made.items()}
    columns: JsonObject = {"signature_name": name, "inputs": inputs}
    tensors = request_tensors(columns, signature.inputs)
    servable.run(name, tensors, _CALL_TIMEOUT_MS)
    start = time.perf_counter()
    answer = servable.run(name, tensors, _CALL_TIMEOUT_MS)
    call_ms = (time.perf_counter() - start) * 1e3
    rows = in_rows(name, inputs, tensors)
    forms: dict[str, JsonObject | None] = {"rows": rows, "columns": columns}
    problems = {form: _problem(servable, document) for form, document in forms.items()}
    payload = Payload.from_body(_body(columns))
    return {
        **{form: None if problems[form] else _body(forms[form]) for form in forms},
        **{f"no_{form}": problem for form, problem in problems.items()},
        "document": columns,
        "grpc": predict_request(payload, "/v1/models/model", servable.signature_defs),
        "tensors": _array_texts(tensors),
        "answer": _array_texts(answer),
        "call_ms": call_ms,
        "notes": tuple(one_line(f"{alias}: {note}") for alias, each in made.items() for note in each.notes),
    }


def in_rows(
    name: str, inputs: Mapping[str, JsonValue], tensors: Mapping[str, NDArray[np.generic]]
) -> JsonObject | None:
    """Return a request in the row format; None if the inputs do not have equal numbers of rows."""
    if len({array.shape[:1] for array in tensors.values()}) != 1 or not next(iter(tensors.values())).shape:
        return None
    if len(inputs) == 1:
        return {"signature_name": name, "instances": next(iter(inputs.values()))}
    columns = [value for value in inputs.values() if isinstance(value, list)]
    rows = zip(*columns, strict=True)
    return {"signature_name": name, "instances": [dict(zip(inputs, row, strict=True)) for row in rows]}


def _problem(servable: Servable, document: JsonObject | None) -> str:
    """Return why TF Serving's REST API does not take a request, or cannot answer it; empty if it does."""
    from pytest_tfserving.model_server import json_tensor
    from pytest_tfserving.model_server.status import ServingError

    if document is None:
        return "the inputs do not have one value for each row"
    try:
        request = json_tensor.decode(_body(document), servable)
        answer = servable.run(request.signature_name, request.inputs, _CALL_TIMEOUT_MS)
        encoded = json.loads(json_tensor.encode(answer, request.row_format))
    except ServingError as error:
        return one_line(error.message, _LONGEST_ERROR)
    rows = document.get("instances")
    if isinstance(rows, list) and len(encoded["predictions"]) != len(rows):
        return f"{len(rows)} rows have {len(encoded['predictions'])} answers"
    return ""


def _body(document: JsonObject | None) -> bytes:
    return json.dumps(document).encode()


def _spec_texts(specs: Mapping[str, TensorSpec]) -> tuple[TensorText, ...]:
    return tuple(
        TensorText(one_line(alias), type_name(spec.dtype), shape_text(spec.shape))
        for alias, spec in specs.items()
    )


def _array_texts(arrays: Mapping[str, NDArray[np.generic]]) -> tuple[TensorText, ...]:
    from pytest_tfserving.model_server.tensorflow_c import dtype_number

    return tuple(
        TensorText(one_line(alias), type_name(dtype_number(array.dtype)), shape_text(array.shape))
        for alias, array in arrays.items()
    )


def type_name(dtype: int) -> str:
    """Return the name of a DataType, as ``float32``."""
    from pytest_tfserving.model_server.tensorflow_c import STRING, numpy_dtype

    if dtype == STRING:
        return "string"
    found = numpy_dtype(dtype)
    return found.name if found is not None else f"DataType {dtype}"


def shape_text(shape: Sequence[int] | None) -> str:
    """Return a shape as text: ``any x 224 x 224 x 3``; ``one value`` without axes."""
    if shape is None:
        return "any shape"
    return " x ".join("any" if size < 0 else str(size) for size in shape) or "one value"
