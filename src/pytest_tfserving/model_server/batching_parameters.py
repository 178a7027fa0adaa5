"""What a batching file says."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pytest_tfserving.model_server.status import invalid
from pytest_tfserving.model_server.text_proto import read_text_proto

if TYPE_CHECKING:
    from pathlib import Path

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
    """The parameters of batching; zero threads means one a CPU, a zero execution size the batch size."""

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
        """How many batches run at once."""
        return self.num_batch_threads or os.cpu_count() or 1

    @property
    def largest_batch(self) -> int:
        """The most rows that are run at once."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size:
            return self.max_execution_batch_size
        return self.max_batch_size

    def padded(self, rows: int) -> int:
        """How many rows a batch of ``rows`` is filled up to."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)

    def check(self) -> None:
        """See that the allowed sizes lead up to the largest batch.

        Raises:
            ServingError: when they do not.
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
    """Read a ``batching_parameters_file``; without one the defaults.

    Raises:
        ServingError: when it cannot be read, or is not such a file.
    """
    if not path:
        return Parameters(thread_pool_name="model_server_batch_threads")
    return _from_proto(path, read_text_proto(path, "tensorflow.serving.BatchingParameters"))


def read_model_parameters(folder: Path) -> Parameters | None:
    """The parameters that lie in a version's folder, None when there are none.

    Raises:
        ServingError: when they cannot be read.
    """
    path = folder / _MODEL_FILE
    return read_parameters(str(path)) if path.exists() else None


def _from_proto(path: str, proto: Any) -> Parameters:
    values: dict[str, Any] = {
        "allowed_batch_sizes": tuple(proto.allowed_batch_sizes),
        "pad_variable_length_inputs": proto.pad_variable_length_inputs,
    }
    for name in (*_LEAST, "thread_pool_name", "enable_large_batch_splitting"):
        if proto.HasField(name):
            values[name] = getattr(proto, name).value
    for name, least in _LEAST.items():
        if values.get(name, least) < least:
            raise invalid(f"{path}: {name} must be {least} or more; was {values[name]}")
    return Parameters(**values)
