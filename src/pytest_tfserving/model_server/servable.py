"""A version of a SavedModel: its signatures, and a session that runs them as TF Serving does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from pytest_tfserving.model_server.meta_graph import may_wait, signature_defs
from pytest_tfserving.model_server.operations import with_operations
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.status import ServingError
from pytest_tfserving.model_server.tensorflow_c import Call, RunOptions, Session

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from google.protobuf.message import Message
    from numpy.typing import NDArray


# The inputs and outputs of a run, by their names in the graph.
RunTensors: TypeAlias = tuple[tuple[str, ...], tuple[str, ...]]

_MOST_KNOWN = 1024
# How many combinations another version is prepared for: each takes the time of an optimisation.
_MOST_PREPARED = 32
_IN_CALLER = -1
_FLOAT = 1


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

    @property
    def ran(self) -> Collection[RunTensors]:
        """The combinations of inputs and outputs that were run, if another version can `prepare` them."""
        return ()

    def prepare(self, runs: Collection[RunTensors]) -> None:  # noqa: B027 - most models have nothing to prepare
        """Do the work of a first run for each of these combinations that the model has, without a run."""

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


@dataclass(frozen=True, slots=True)
class _Plan:
    """The call of a signature, and the place of each output, by alias, among those that the call returns."""

    call: Call
    places: Mapping[str, int]


class Servable(Runnable):
    """A loaded version of a SavedModel; `load` makes it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        with session.meta_graph() as content:
            self.signature_defs = signature_defs(content)
            self.may_wait = may_wait(content)
        self.signatures = {name: signature_of(proto) for name, proto in self.signature_defs.items()}
        # Requests choose their outputs, so the number of combinations has no natural limit.
        self._calls: dict[RunTensors, Call] = {}
        self._plans: dict[tuple[str, tuple[str, ...], tuple[str, ...]], _Plan] = {}

    @classmethod
    def load(  # noqa: PLR0913 - what a session takes
        cls,
        path: Path,
        *,
        intra_op: int = 0,
        inter_op: int = 0,
        tags: Sequence[str] = ("serve",),
        config: bytes = b"",
        inline: bool = False,
    ) -> Servable:
        """Load the SavedModel in the version folder ``path``; thread counts of 0 let TensorFlow choose.

        ``config`` is a serialized ConfigProto, whose thread counts are overridden. With ``inline`` variables
        are restored in the calling thread.

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
        options = _run_options(None, inline)
        return cls(with_operations(lambda: Session(path, serialized, tags, options)))

    def run(
        self,
        signature_name: str,
        inputs: Mapping[str, NDArray[np.generic]],
        timeout_ms: int | None = None,
        outputs: Sequence[str] = (),
        *,
        inline: bool = False,
    ) -> dict[str, NDArray[np.generic]]:
        """Run as `Runnable.run` does, without a look at the names that earlier runs had too."""
        key = signature_name, tuple(inputs), tuple(outputs)
        plan = self._plans.get(key) or self._plan(*key)
        if plan is None:
            return super().run(signature_name, inputs, timeout_ms, outputs, inline=inline)
        arrays = plan.call.run([*inputs.values()], _run_options(timeout_ms, inline))
        return {alias: arrays[place] for alias, place in plan.places.items()}

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
        arrays = self._call(tuple(feeds), names).run([*feeds.values()], _run_options(timeout_ms, inline))
        return dict(zip(names, arrays, strict=True))

    @property
    def ran(self) -> Collection[RunTensors]:
        """The latest combinations of inputs and outputs, as in `Runnable.ran`."""
        return list(self._calls)[-_MOST_PREPARED:]

    def prepare(self, runs: Collection[RunTensors]) -> None:
        """Optimise the graph for these runs.

        TensorFlow does so at the first run of a combination, before it looks at the types of the inputs. So a
        run with an input of a wrong type is enough. No operation runs.
        """
        types = {
            spec.tensor_name: spec.dtype
            for signature in self.signatures.values()
            for spec in signature.inputs.values()
        }
        for feeds, fetches in runs:
            if feeds and types.keys() >= set(feeds):
                wrong = [np.zeros(0, np.int32 if types[name] == _FLOAT else np.float32) for name in feeds]
                with suppress(ServingError):
                    self._call(feeds, fetches).run(wrong, _run_options(None, inline=True))

    def close(self) -> None:
        """Free the model's memory."""
        self._session.close()

    def _plan(self, signature_name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> _Plan | None:
        """Plan the runs of a signature; return None if two of the inputs are one tensor."""
        signature = self.signatures[signature_name]
        feeds = tuple(signature.inputs[alias].tensor_name for alias in inputs)
        if len(set(feeds)) < len(feeds):
            return None
        fetches = {alias: signature.outputs[alias].tensor_name for alias in outputs or signature.outputs}
        names = tuple(dict.fromkeys(fetches.values()))
        if len(self._plans) >= _MOST_KNOWN:
            self._plans.clear()
        plan = _Plan(self._call(feeds, names), {alias: names.index(name) for alias, name in fetches.items()})
        self._plans[signature_name, inputs, outputs] = plan
        return plan

    def _call(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> Call:
        call = self._calls.get((feeds, fetches))
        if call is None:
            if len(self._calls) >= _MOST_KNOWN:
                self._calls.clear()
            call = self._calls[feeds, fetches] = self._session.call(feeds, fetches)
        return call


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
