"""One version of a SavedModel: its signatures, and a session that runs them as TF Serving does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.status import Code, ServingError
from pytest_tfserving.model_server.tensorflow_c import Output, Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


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

    def __init__(self, session: Session) -> None:
        self._session = session
        meta_graph = message("tensorflow.MetaGraphDef").FromString(session.meta_graph_def)
        self.signature_defs: Mapping[str, Any] = dict(meta_graph.signature_def)
        self.signatures = {name: _signature(proto) for name, proto in self.signature_defs.items()}
        self._outputs: dict[str, Output] = {}

    @classmethod
    def load(
        cls, path: Path, *, intra_op: int = 0, inter_op: int = 0, tags: Sequence[str] = ("serve",)
    ) -> Servable:
        """Load the SavedModel in the version folder ``path``; thread counts of 0 let TensorFlow choose.

        Raises:
            ServingError: with the loader's reason.
            ConfigurationError: when TensorFlow is not installed.
        """
        config = message("tensorflow.ConfigProto")(
            intra_op_parallelism_threads=intra_op, inter_op_parallelism_threads=inter_op
        )
        return cls(Session(path, config.SerializeToString(), tags))

    def run(
        self, signature_name: str, inputs: Mapping[str, NDArray[Any]], timeout_ms: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run a signature on ``inputs``, arrays by alias; return its outputs by alias.

        Raises:
            ServingError: with TensorFlow's own code and text.
        """
        signature = self.signatures[signature_name]
        feeds = [(self._output(signature.inputs[alias]), array) for alias, array in inputs.items()]
        fetches = [self._output(spec) for spec in signature.outputs.values()]
        return dict(
            zip(signature.outputs, self._session.run(feeds, fetches, _run_options(timeout_ms)), strict=True)
        )

    def close(self) -> None:
        """Free the model's memory."""
        self._session.close()

    def _output(self, spec: TensorSpec) -> Output:
        name = spec.tensor_name
        if name not in self._outputs:
            found = self._session.output(name)
            if found is None:
                raise ServingError(Code.NOT_FOUND, f"Tensor {name} is not in the graph")
            self._outputs[name] = found
        return self._outputs[name]


def _signature(proto: Any) -> Signature:
    return Signature(_specs(proto.inputs), _specs(proto.outputs))


def _specs(infos: Mapping[str, Any]) -> dict[str, TensorSpec]:
    return {
        alias: TensorSpec(info.name, info.dtype, _shape(info.tensor_shape))
        for alias, info in sorted(infos.items())
    }


def _shape(proto: Any) -> tuple[int, ...] | None:
    return None if proto.unknown_rank else tuple(size.size for size in proto.dim)


def _run_options(timeout_ms: int | None) -> bytes:
    if not timeout_ms:
        return b""
    serialized: bytes = message("tensorflow.RunOptions")(timeout_in_ms=timeout_ms).SerializeToString()
    return serialized
