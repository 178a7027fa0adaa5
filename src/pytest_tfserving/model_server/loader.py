"""Loader of a version's folder: it opens the session, adds batching queues and runs the warm-up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.batching_parameters import read_model_parameters
from pytest_tfserving.model_server.manager import Loaded
from pytest_tfserving.model_server.servable import Runnable, Servable
from pytest_tfserving.model_server.status import ServingError
from pytest_tfserving.model_server.tflite import load_tflite
from pytest_tfserving.model_server.warmup import warm_up

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from pytest_tfserving.model_server.batching import BatchScheduler
    from pytest_tfserving.model_server.metrics import Metrics
    from pytest_tfserving.model_server.proto_api import ProtoApi
    from pytest_tfserving.model_server.servable import RunTensors
    from pytest_tfserving.model_server.tflite import TfLiteOptions

_LOADING = ":tensorflow:cc:saved_model"


@dataclass(frozen=True, slots=True)
class Loader:
    """A loader of versions.

    Attributes:
        api: runs the requests of the warm-up.
        metrics: where the warm-up is measured.
        scheduler: batches requests; None without batching.
        intra_op: threads of one operation; 0 lets TensorFlow choose.
        inter_op: operations at once; 0 lets TensorFlow choose.
        tags: tags of the graph to load.
        session_config: a serialized ConfigProto; may be empty.
        batching_per_model: whether only versions with a batching file of their own are batched.
        warmup_iterations: how often each request of the warm-up is run; 0 runs no warm-up.
        quiet: threads of low priority, which load versions while others are served; None for no such threads.
        tflite: options of TFLite models; None if they are not preferred.
    """

    api: ProtoApi
    metrics: Metrics
    scheduler: BatchScheduler | None
    intra_op: int
    inter_op: int
    tags: tuple[str, ...]
    session_config: bytes
    batching_per_model: bool
    warmup_iterations: int
    quiet: Executor | None = None
    tflite: TfLiteOptions | None = None

    def load(
        self, name: str, version: int, path: Path, ran: Collection[RunTensors] | None = None
    ) -> Runnable:
        """Load a version, and warm it up unless ``warmup_iterations`` is 0.

        If ``ran`` is not None, models are served already: the version is loaded in threads of low priority,
        and prepared for the runs in ``ran``.

        Raises:
            ServingError: with the reason why the version cannot be served.
        """
        began = perf_counter()
        quiet = self.quiet if ran is not None else None
        opened = servable = self._opened(path, quiet)
        self._count(path, perf_counter() - began)
        warming = _QuietServable(opened, quiet) if quiet and isinstance(opened, Servable) else opened
        try:
            if ran:
                warming.prepare(ran)
            servable = self._batched(opened, path)
            self._warm_up(Loaded(name, version, warming if servable is opened else servable), path)
        except ServingError:
            servable.close()
            raise
        return servable

    def _count(self, path: Path, taken_s: float) -> None:
        """Count a version that was opened, as TensorFlow does."""
        self.metrics.count(f"{_LOADING}:load_attempt_count", model_path=str(path), status="success")
        self.metrics.count(f"{_LOADING}:load_latency", round(taken_s * 1e6), model_path=str(path))

    def _opened(self, path: Path, quiet: Executor | None) -> Runnable:
        load = partial(
            Servable.load,
            path,
            intra_op=self.intra_op,
            inter_op=self.inter_op,
            tags=self.tags,
            config=self.session_config,
            inline=quiet is not None,
        )
        tflite = load_tflite(path, self.tflite, self.metrics) if self.tflite else None
        return tflite or (quiet.submit(load).result() if quiet else load())

    def _batched(self, servable: Runnable, path: Path) -> Runnable:
        if not self.scheduler:
            return servable
        if not self.batching_per_model:
            return self.scheduler.batched(servable)
        limits = read_model_parameters(path)
        return self.scheduler.batched(servable, limits) if limits else servable

    def _warm_up(self, model: Loaded, path: Path) -> None:
        if not self.warmup_iterations:
            return
        with self.metrics.microseconds("model_warmup_latency", model_path=str(path), status="OK"):
            records = warm_up(
                path, lambda kind, request: self.api.replay(model, kind, request), self.warmup_iterations
            )
        if records:
            self.metrics.count("model_warmup_records_read", records, model_path=str(path), status="OK")


class _QuietServable(Runnable):
    """A servable that is not served yet: its runs are in threads of low priority."""

    def __init__(self, servable: Servable, quiet: Executor) -> None:
        self._servable = servable
        self._quiet = quiet
        self.signatures = servable.signatures
        self.signature_defs = servable.signature_defs
        self.may_wait = servable.may_wait

    def run_tensors(
        self,
        feeds: Mapping[str, NDArray[np.generic]],
        fetches: Sequence[str],
        timeout_ms: int | None = None,
        *,
        inline: bool = False,
    ) -> dict[str, NDArray[np.generic]]:
        """Run as `Runnable.run_tensors` does."""
        inline = inline or not self.may_wait
        run = partial(self._servable.run_tensors, feeds, fetches, timeout_ms, inline=inline)
        return self._quiet.submit(run).result()

    def prepare(self, runs: Collection[RunTensors]) -> None:
        """Prepare the servable for these runs."""
        self._quiet.submit(self._servable.prepare, runs).result()

    def close(self) -> None:
        """Free the model's memory."""
        self._servable.close()
