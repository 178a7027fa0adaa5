"""A version of a SavedModel: its signatures, and a session that runs them as TF Serving does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.operations import with_operations
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensorflow_c import Call, RunOptions, Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from google.protobuf.message import Message
    from numpy.typing import NDArray


# Operations whose time does not depend on the size of their inputs.
_WITHOUT_END = (
    *(b"Enter", b"RefEnter", b"While", b"StatelessWhile", b"For", b"PyFunc", b"EagerPyFunc"),
    *(b"QueueDequeue", b"QueueDequeueV2", b"QueueDequeueManyV2", b"QueueDequeueUpToV2", b"QueueEnqueueV2"),
)


_MOST_KNOWN = 1024
_IN_CALLER = -1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A signature's input or output: ``shape`` has -1 for any size and is None for any rank."""

    tensor_name: str
    dtype: int
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of a model's signature, by alias."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


class Runnable(ABC):
    """A model that can be served, with or without batching queues; many threads may call its methods."""

    signature_defs: Mapping[str, Message]
    signatures: Mapping[str, Signature]
    # Whether a run may take long even if earlier runs were short: it waits for others, or its graph loops.
    may_wait: bool

    @abstractmethod
    def run_tensors(
        self,
        feeds: Mapping[str, NDArray[np.generic]],
        fetches: Sequence[str],
        timeout_ms: int | None = None,
        *,
        inline: bool = False,
    ) -> dict[str, NDArray[np.generic]]:
        """Feed tensors by their name in the graph, and return the fetched ones by name.

        ``inline`` is for short runs: operations run in the calling thread, one after the other, without
        changes of thread. No timeout ends such a run.

        Raises:
            ServingError: with TensorFlow's own code and text.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model's memory; call this method after the last run."""

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, NDArray[np.generic]],
        timeout_ms: int | None = None,
        outputs: Sequence[str] = (),
        *,
        inline: bool = False,
    ) -> dict[str, NDArray[np.generic]]:
        """Run a signature on ``inputs``, arrays by alias; return its outputs, or the named ones, by alias.

        ``inline`` is as in `run_tensors`.

        Raises:
            ServingError: with TensorFlow's own code and text.
        """
        signature = self.signatures[signature_name]
        fetches = {alias: signature.outputs[alias].tensor_name for alias in outputs or signature.outputs}
        feeds = {signature.inputs[alias].tensor_name: array for alias, array in inputs.items()}
        results = self.run_tensors(feeds, list(fetches.values()), timeout_ms, inline=inline)
        return {alias: results[name] for alias, name in fetches.items()}


class Servable(Runnable):
    """A loaded version of a SavedModel; `load` makes it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        meta_graph = message("tensorflow.MetaGraphDef").FromString(session.meta_graph_def)
        self.signature_defs = dict(meta_graph.signature_def)
        self.signatures = {name: signature_of(proto) for name, proto in self.signature_defs.items()}
        self.may_wait = _may_wait(session.meta_graph_def)
        # Requests choose their outputs, so the number of combinations has no natural limit.
        self._calls: dict[tuple[tuple[str, ...], tuple[str, ...]], Call] = {}

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        intra_op: int = 0,
        inter_op: int = 0,
        tags: Sequence[str] = ("serve",),
        config: bytes = b"",
    ) -> Servable:
        """Load the SavedModel in the version folder ``path``; thread counts of 0 let TensorFlow choose.

        ``config`` is a serialized ConfigProto, whose thread counts are overridden.

        Raises:
            ServingError: with the loader's reason.
            ConfigurationError: when TensorFlow is not installed.
        """
        proto = message("tensorflow.ConfigProto").FromString(config)
        if intra_op:
            proto.intra_op_parallelism_threads = intra_op
        if inter_op:
            proto.inter_op_parallelism_threads = inter_op
        serialized = proto.SerializeToString()
        return cls(with_operations(lambda: Session(path, serialized, tags)))

    def run_tensors(
        self,
        feeds: Mapping[str, NDArray[np.generic]],
        fetches: Sequence[str],
        timeout_ms: int | None = None,
        *,
        inline: bool = False,
    ) -> dict[str, NDArray[np.generic]]:
        """Run as `Runnable.run_tensors` does."""
        names = tuple(dict.fromkeys(fetches))
        call = self._calls.get((tuple(feeds), names)) or self._call(tuple(feeds), names)
        arrays = call.run([*feeds.values()], _run_options(timeout_ms, inline))
        return dict(zip(names, arrays, strict=True))

    def close(self) -> None:
        """Free the model's memory."""
        self._session.close()

    def _call(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Call:
        if len(self._calls) >= _MOST_KNOWN:
            self._calls.clear()
        call = self._calls[feeds, fetches] = self._session.call(feeds, fetches)
        return call


def _may_wait(meta_graph: bytes) -> bool:
    """Return whether a serialized graph has an operation of `_WITHOUT_END`, as field 2 of a NodeDef."""
    return any(b"\x12%c%b" % (len(name), name) in meta_graph for name in _WITHOUT_END)


def signature_of(proto: Message) -> Signature:
    """Read a ``SignatureDef``."""
    return Signature(_specs(proto.inputs), _specs(proto.outputs))


def _specs(infos: Mapping[str, Message]) -> dict[str, TensorSpec]:
    return {
        alias: TensorSpec(info.name, info.dtype, _shape(info.tensor_shape))
        for alias, info in sorted(infos.items())
    }


def _shape(proto: Message) -> tuple[int, ...] | None:
    return None if proto.unknown_rank else tuple(size.size for size in proto.dim)


@lru_cache(maxsize=1024)
def _run_options(timeout_ms: int | None, inline: bool) -> RunOptions | None:  # noqa: FBT001 - lru_cache counts keywords apart
    if not timeout_ms and not inline:
        return None
    options = message("tensorflow.RunOptions")()
    if timeout_ms:
        options.timeout_in_ms = timeout_ms
    if inline:
        options.inter_op_thread_pool = _IN_CALLER
    return RunOptions(options.SerializeToString())
