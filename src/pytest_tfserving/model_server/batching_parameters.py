"""Batching parameters, and how they are read from a file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.status import invalid
from pytest_tfserving.model_server.text_proto import read_text_proto

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message

_LEAST = {
    "max_batch_size": 1,
    "batch_timeout_micros": 0,
    "max_enqueued_batches": 1,
    "num_batch_threads": 1,
    "max_execution_batch_size": 1,
}
_MODEL_FILE = "batching_params.pbtxt"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of batching, with TF Serving's names and units.

    Attributes:
        max_batch_size: most rows of a request, and of a batch.
        batch_timeout_micros: longest time in microseconds that an open batch waits for more requests.
        max_enqueued_batches: most batches that wait in one queue; further requests are refused.
        num_batch_threads: batches that run at once; 0 means one a CPU.
        thread_pool_name: name of the threads, also a label of the metrics.
        allowed_batch_sizes: row counts to which batches are padded, in ascending order; empty for any.
        pad_variable_length_inputs: whether inputs whose rows differ in shape are padded; if not, they fail.
        enable_large_batch_splitting: whether a large request is split over several batches.
        max_execution_batch_size: most rows at once when requests are split; 0 means ``max_batch_size``.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 0
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    @property
    def threads(self) -> int:
        """The number of batches that run at once."""
        return self.num_batch_threads or os.cpu_count() or 1

    @property
    def largest_batch(self) -> int:
        """The most rows that are run at once."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size:
            return self.max_execution_batch_size
        return self.max_batch_size

    def padded(self, rows: int) -> int:
        """Return the number of rows that a batch of ``rows`` is padded to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    def check(self) -> None:
        """Check that the allowed sizes are ascending and end with the largest batch.

        Raises:
            ServingError: when the sizes are not.
        """
        sizes = self.allowed_batch_sizes
        if not sizes:
            return
        if sizes[-1] != self.largest_batch:
            limit = "max_batch_size"
            if self.largest_batch != self.max_batch_size:
                limit = "max_execution_batch_size"
            raise invalid(
                f"Last entry in allowed_batch_sizes must match {limit}; last entry was {sizes[-1]}; "
                f"expected {self.largest_batch}"
            )
        if any(size >= larger for size, larger in pairwise(sizes)) or sizes[0] < 1:
            raise invalid("allowed_batch_sizes entries must be positive and monotonically increasing")


def read_parameters(path: str) -> Parameters:
    """Read a ``batching_parameters_file``; return the defaults if ``path`` is empty.

    Raises:
        ServingError: when the file cannot be read, or is not a batching file.
    """
    if not path:
        return Parameters(thread_pool_name="model_server_batch_threads")
    return _from_proto(path, read_text_proto(path, "tensorflow.serving.BatchingParameters"))


def read_model_parameters(folder: Path) -> Parameters | None:
    """Read the parameters in a version's folder; return None if there are none.

    Raises:
        ServingError: when the file cannot be read.
    """
    path = folder / _MODEL_FILE
    return read_parameters(str(path)) if path.exists() else None


def _from_proto(path: str, proto: Message) -> Parameters:
    defaults = Parameters()
    return Parameters(
        max_batch_size=_number(path, proto, "max_batch_size", defaults.max_batch_size),
        batch_timeout_micros=_number(path, proto, "batch_timeout_micros", defaults.batch_timeout_micros),
        max_enqueued_batches=_number(path, proto, "max_enqueued_batches", defaults.max_enqueued_batches),
        num_batch_threads=_number(path, proto, "num_batch_threads", defaults.num_batch_threads),
        thread_pool_name=proto.thread_pool_name.value
        if proto.HasField("thread_pool_name")
        else defaults.thread_pool_name,
        allowed_batch_sizes=tuple(proto.allowed_batch_sizes),
        pad_variable_length_inputs=proto.pad_variable_length_inputs,
        enable_large_batch_splitting=proto.enable_large_batch_splitting.value,
        max_execution_batch_size=_number(
            path, proto, "max_execution_batch_size", defaults.max_execution_batch_size
        ),
    )


def _number(path: str, proto: Message, name: str, default: int) -> int:
    if not proto.HasField(name):
        return default
    number: int = getattr(proto, name).value
    if number < _LEAST[name]:
        raise invalid(f"{path}: {name} must be {_LEAST[name]} or more; was {number}")
    return number
