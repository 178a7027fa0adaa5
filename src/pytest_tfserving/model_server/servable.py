"""One version of a SavedModel, run through TensorFlow's C++ session.

The session is called as TF Serving calls it: by tensor name, without the shape check of Python's
`Session.run`, and without the interpreter lock.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.model_server.status import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# DataType numbers of TensorFlow's types.proto that JSON can carry.
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    7: np.dtype(object),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
STRING = 7


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A signature's input or output: ``shape`` has -1 for any size and is None for any rank."""

    tensor_name: str
    dtype: int
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """What can be asked of a model: tensors by their alias."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


class Servable:
    """A loaded version. Made by `load`; `run` may be called from many threads at once."""

    def __init__(self, session: Any, graph: Any, signature_defs: Mapping[str, Any]) -> None:
        self._session = session
        self._call = session._call_tf_sessionrun  # noqa: SLF001 - the C++ path, see above
        self._graph = graph
        self.signature_defs = signature_defs
        self.signatures = {name: _signature(proto) for name, proto in signature_defs.items()}
        self._handles: dict[str, Any] = {}

    @classmethod
    def load(
        cls, path: Path, *, intra_op: int = 0, inter_op: int = 0, tags: Sequence[str] = ("serve",)
    ) -> Servable:
        """Load the SavedModel in the version folder ``path``; thread counts of 0 let TensorFlow choose.

        Raises:
            ServingError: with the loader's reason.
        """
        import tensorflow as tf
        from tensorflow.python.saved_model.loader_impl import SavedModelLoader

        v1 = tf.compat.v1
        config = v1.ConfigProto(intra_op_parallelism_threads=intra_op, inter_op_parallelism_threads=inter_op)
        graph = v1.Graph()
        session = v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                model = SavedModelLoader(str(path)).load(session, list(tags))
        except (tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
            session.close()
            raise ServingError(Code.INVALID_ARGUMENT, _first_line(error)) from None
        session._extend_graph()  # noqa: SLF001 - what Session.run does before its first call
        return cls(session, graph, dict(model.signature_def))

    def run(
        self, signature_name: str, inputs: Mapping[str, NDArray[Any]], timeout_ms: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run a signature on ``inputs``, arrays by alias; return its outputs by alias.

        Raises:
            ServingError: with TensorFlow's own code and text.
        """
        signature = self.signatures[signature_name]
        feeds = {self._handle(signature.inputs[alias]): value for alias, value in inputs.items()}
        fetches = [self._handle(spec) for spec in signature.outputs.values()]
        import tensorflow as tf

        try:
            values = self._call(_run_options(timeout_ms), feeds, fetches, [], None)
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), _first_line(error)) from None
        except UnicodeDecodeError:
            raise ServingError(Code.INVALID_ARGUMENT, "Could not parse example input") from None
        return dict(zip(signature.outputs, values, strict=True))

    def close(self) -> None:
        """Free the model's memory."""
        self._session.close()
        self._handles.clear()

    def _handle(self, spec: TensorSpec) -> Any:
        name = spec.tensor_name
        if name not in self._handles:
            self._handles[name] = self._graph.get_tensor_by_name(name)._as_tf_output()  # noqa: SLF001
        return self._handles[name]


def _signature(proto: Any) -> Signature:
    return Signature(_specs(proto.inputs), _specs(proto.outputs))


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        alias: TensorSpec(info.name, info.dtype, _shape(info.tensor_shape))
        for alias, info in sorted(infos.items())
    }


def _shape(proto: Any) -> tuple[int, ...] | None:
    return None if proto.unknown_rank else tuple(size.size for size in proto.dim)


_RUN_OPTIONS: dict[int, Any] = {}


def _run_options(timeout_ms: int | None) -> Any:
    """Run options with a deadline, made once a length: they are read only."""
    if not timeout_ms:
        return None
    if timeout_ms not in _RUN_OPTIONS:
        import tensorflow as tf
        from tensorflow.python.client import pywrap_tf_session

        if len(_RUN_OPTIONS) > 64:  # noqa: PLR2004 - deadlines of requests would fill it without end
            _RUN_OPTIONS.clear()
        options = tf.compat.v1.RunOptions(timeout_in_ms=timeout_ms)
        _RUN_OPTIONS[timeout_ms] = pywrap_tf_session.TF_NewBufferFromString(options.SerializeToString())
    return _RUN_OPTIONS[timeout_ms]


def _first_line(error: BaseException) -> str:
    text = str(getattr(error, "message", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
