"""TFLite models: a pool of LiteRT's interpreters with the interface of a SavedModel's session."""

from __future__ import annotations

import queue
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from pytest_tfserving.errors import missing_extra
from pytest_tfserving.model_server.batching import BatchedServable, BatchScheduler
from pytest_tfserving.model_server.batching_parameters import Parameters
from pytest_tfserving.model_server.inference import DEFAULT_SIGNATURE, PREDICT
from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.servable import Runnable, signature_of
from pytest_tfserving.model_server.status import Code, ServingError, invalid
from pytest_tfserving.model_server.tensorflow_c import STRING, dtype_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping, Sequence
    from pathlib import Path

    from ai_edge_litert.interpreter import Interpreter
    from google.protobuf.message import Message
    from numpy.typing import NDArray

    from pytest_tfserving.model_server.flags import Flags
    from pytest_tfserving.model_server.metrics import Metrics

_FILE = "model.tflite"
_SIGNATURES = b"signature_defs_metadata"
# The most rows of a request, and of a batch that several interpreters share.
_MOST_ROWS = 500
_BATCHES_AN_INTERPRETER = 100


class _Details(TypedDict):
    """The part that is read of what LiteRT knows of a tensor."""

    name: str
    index: int
    shape: NDArray[np.int32]
    dtype: type[np.generic]


@dataclass(frozen=True, slots=True)
class TfLiteOptions:
    """Options of TFLite models; ``threads`` counts those of one interpreter, 0 lets LiteRT choose."""

    pools: int
    interpreters_per_pool: int
    threads: int

    @classmethod
    def of(cls, flags: Flags) -> TfLiteOptions | None:
        """Read the options from the flags; return None if TFLite models are not preferred.

        Raises:
            ConfigurationError: when TFLite models are preferred and LiteRT is not installed.
        """
        if not flags["prefer_tflite_model"]:
            return None
        _litert()
        threads = flags["tensorflow_intra_op_parallelism"] or flags["tensorflow_session_parallelism"]
        return cls(flags["num_tflite_pools"], flags["num_tflite_interpreters_per_pool"], threads)


def load_tflite(path: Path, options: TfLiteOptions, metrics: Metrics) -> Runnable | None:
    """Load the TFLite model in the version folder ``path``; return None if there is none.

    Raises:
        ServingError: with the reason why the model cannot be served.
    """
    file = path / _FILE
    if not file.exists():
        return None
    interpreters = max(options.pools, 1)
    model = TfLiteServable(file.read_bytes(), interpreters, options.threads)
    if options.interpreters_per_pool <= 1:
        return model
    parameters = Parameters(
        max_batch_size=_MOST_ROWS,
        max_enqueued_batches=interpreters * _BATCHES_AN_INTERPRETER,
        num_batch_threads=interpreters,
        thread_pool_name="tflite",
        enable_large_batch_splitting=True,
        max_execution_batch_size=model.fixed_rows or -(-_MOST_ROWS // options.interpreters_per_pool),
    )
    return _SplitServable(model, BatchScheduler(parameters, metrics), parameters)


class _SplitServable(BatchedServable):
    """A TFLite model whose requests are split over the interpreters of its own pool."""

    def close(self) -> None:
        """Free the model's memory and end the threads."""
        super().close()
        self._scheduler.stop()


class TfLiteServable(Runnable):
    """A TFLite model in memory, with one interpreter for each run at once."""

    may_wait = True

    def __init__(self, content: bytes, interpreters: int, threads: int) -> None:
        """Load a model from the content of its file.

        Raises:
            ServingError: when the content is not a model, or the model needs operations that LiteRT lacks.
        """
        self._free: queue.LifoQueue[_Interpreter] = queue.LifoQueue()
        first = _Interpreter(content, threads)
        self.signature_defs = _signature_defs(content, first)
        self.signatures = {name: signature_of(proto) for name, proto in self.signature_defs.items()}
        self.fixed_rows = first.fixed_rows()
        self._free.put(first)
        for _ in range(interpreters - 1):
            self._free.put(_Interpreter(content, threads))

    def run_tensors(
        self,
        feeds: Mapping[str, NDArray[np.generic]],
        fetches: Sequence[str],
        timeout_ms: int | None = None,
        *,
        inline: bool = False,
    ) -> dict[str, NDArray[np.generic]]:
        """Run as `Runnable.run_tensors` does, once an interpreter is free; no timeout ends a run."""
        del timeout_ms, inline
        with self._borrowed() as interpreter:
            return interpreter.run(feeds, fetches)

    def close(self) -> None:
        """Free the model's memory."""
        while not self._free.empty():
            self._free.get()

    @contextmanager
    def _borrowed(self) -> Iterator[_Interpreter]:
        interpreter = self._free.get()
        try:
            yield interpreter
        finally:
            self._free.put(interpreter)


class _Interpreter:
    """A LiteRT interpreter, for one thread at a time."""

    def __init__(self, content: bytes, threads: int) -> None:
        try:
            self._lite = _litert()(model_content=content, num_threads=threads or None)
        except ValueError as error:
            raise invalid(f"Cannot build FlatBufferModel from buffer. {error}") from None
        except RuntimeError as error:
            raise _internal("Cannot build Interpreter from buffer.", error) from None
        try:
            self._lite.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _internal("Failed to allocate tensors", error) from None
        self.inputs = {each["name"]: each for each in self._lite.get_input_details()}
        self.outputs = {each["name"]: each for each in self._lite.get_output_details()}
        self._shapes = {name: tuple(each["shape"]) for name, each in self.inputs.items()}

    def fixed_rows(self) -> int:
        """Return the number of rows that the model is made for; 0 if it is one, or not known."""
        if len(self.inputs) != 1:
            return 0
        (shape,) = self._shapes.values()
        return int(shape[0]) if shape and shape[0] > 1 else 0

    def run(
        self, feeds: Mapping[str, NDArray[np.generic]], fetches: Sequence[str]
    ) -> dict[str, NDArray[np.generic]]:
        for name, array in feeds.items():
            _check_input(name, array, self.inputs[name])
        try:
            self._resize(feeds)
            for name, array in feeds.items():
                self._lite.set_tensor(self.inputs[name]["index"], array)
            self._lite.invoke()
        except (ValueError, RuntimeError) as error:
            raise invalid(f"Failed to invoke TfLite interpreter: {str(error).strip()}") from None
        return {name: self._lite.get_tensor(self.outputs[name]["index"]) for name in fetches}

    def _resize(self, feeds: Mapping[str, NDArray[np.generic]]) -> None:
        changed = [name for name, array in feeds.items() if array.shape != self._shapes[name]]
        for name in changed:
            # The shape is unknown until the whole model has been resized.
            self._shapes[name] = (-1,)
            self._lite.resize_tensor_input(self.inputs[name]["index"], feeds[name].shape)
        if changed:
            self._lite.allocate_tensors()
            self._shapes.update({name: feeds[name].shape for name in changed})


def _internal(text: str, reason: Exception) -> ServingError:
    return ServingError(Code.INTERNAL, f"{text} {str(reason).strip()}")


def _check_input(name: str, array: NDArray[np.generic], details: _Details) -> None:
    expected = _dtype(details)
    found = dtype_number(array.dtype)
    if found != expected:
        kinds = message("tensorflow.TensorInfo").DESCRIPTOR.fields_by_name["dtype"].enum_type
        wanted, given = (kinds.values_by_number[number].name for number in (expected, found))
        raise invalid(f"Expects input tensor {name} to be {wanted} but {given} is provided")
    if not array.size:
        raise invalid(f"Input tensor {name} is empty")


def _dtype(details: _Details) -> int:
    dtype = np.dtype(details["dtype"])
    return STRING if dtype.kind == "S" else dtype_number(dtype)


# --- signatures ---


def _signature_defs(content: bytes, interpreter: _Interpreter) -> dict[str, Message]:
    """Return the signatures stored in a model, or one made from its tensors, as TF Serving does."""
    stored = _stored_signatures(content)
    for name, signature in stored.items():
        _name_tensors(name, "input", signature.inputs, interpreter.inputs)
        _name_tensors(name, "output", signature.outputs, interpreter.outputs)
    if stored:
        return stored
    log("warning", "No signature def found in TFLite model. Generating one.")
    made = message("tensorflow.SignatureDef")(method_name=PREDICT)
    for infos, tensors in ((made.inputs, interpreter.inputs), (made.outputs, interpreter.outputs)):
        for name, details in tensors.items():
            info = infos[name.partition(":")[0]]
            info.name, info.dtype = name, _dtype(details)
            for size in details["shape"]:
                info.tensor_shape.dim.add(size=int(size))
    return {DEFAULT_SIGNATURE: made}


def _name_tensors(
    signature: str, kind: str, infos: MutableMapping[str, Message], tensors: Mapping[str, _Details]
) -> None:
    """Set the names of a signature's tensors to those of the model: whole, or the part before the colon."""
    for alias in infos:
        name = infos[alias].name
        found = next((each for each in (name, name.partition(":")[0]) if each in tensors), None)
        if found is None:
            raise ServingError(
                Code.INTERNAL,
                f"Unknown tensor '{name}'.\n\tSignature {kind} {signature} references an unknown tensor",
            )
        infos[alias].name = found


def _stored_signatures(content: bytes) -> dict[str, Message]:
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import flexbuffers
    from google.protobuf.message import DecodeError

    model = schema.Model.GetRootAs(content)
    entries = [model.Metadata(index) for index in range(model.MetadataLength())]
    buffers = [model.Buffers(entry.Buffer()) for entry in entries if entry.Name() == _SIGNATURES]
    if not buffers:
        return {}
    signature = message("tensorflow.SignatureDef")
    try:
        items = flexbuffers.GetRoot(buffers[0].DataAsNumpy().tobytes()).AsMap
        return {
            key.AsKey: signature.FromString(value.AsStringBytes)
            for key, value in zip(items.Keys, items.Values, strict=True)
        }
    except (DecodeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise invalid(f"Invalid SignatureDefs found in TfLite model: {error}") from None


def _litert() -> type[Interpreter]:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise missing_extra("ai-edge-litert", "tflite", "--prefer_tflite_model") from None
    interpreter: type[Interpreter] = Interpreter
    return interpreter
