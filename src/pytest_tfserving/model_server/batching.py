"""Joins requests that wait into batches, with TF Serving's parameters and limits."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.status import Code, ServingError, invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from pytest_tfserving.model_server.manager import Runnable

_FIELD = re.compile(r"(\w+)\s*(?:(?::\s*)?\{\s*value\s*:\s*([^\s}]+)\s*\}|:\s*(\S+?))\s*(?=\w+\s*[:{]|$)")
_COMMENT = re.compile(r"#.*")


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a batching file; zero threads means one a CPU."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 0

    @property
    def threads(self) -> int:
        """How many batches run at once."""
        return self.num_batch_threads or os.cpu_count() or 1


def read_parameters(path: str) -> Parameters:
    """Read a ``batching_parameters_file``; without one the defaults.

    Raises:
        ServingError: when it cannot be read, is not such a file, or has a field this server has not.
    """
    if not path:
        return Parameters()
    try:
        text = _COMMENT.sub("", Path(path).read_text(encoding="utf-8")).strip()
    except OSError as error:
        raise invalid(f"cannot read {path}: {error.strerror}") from None
    known = {part.name for part in fields(Parameters)}
    values: dict[str, int] = {}
    position = 0
    while position < len(text):
        match = _FIELD.match(text, position)
        if not match:
            raise invalid(f"Invalid protobuf file: '{path}'")
        name, wrapped, plain = match.groups()
        position = match.end()
        while position < len(text) and text[position].isspace():
            position += 1
        if name == "thread_pool_name":
            continue
        if name not in known:
            raise invalid(
                f"{path}: this server has no batching parameter {name!r}; it has: {', '.join(known)}"
            )
        values[name] = _whole(path, name, plain or wrapped)
    return Parameters(**values)


def _whole(path: str, name: str, text: str) -> int:
    least = 1 if name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads") else 0
    if not text.isdecimal() or int(text) < least:
        raise invalid(f"{path}: {name} must be a whole number of {least} or more; was {text}")
    return int(text)


class _Task:
    """One request that waits for its batch."""

    def __init__(self, inputs: Mapping[str, NDArray[Any]], rows: int, timeout_ms: int | None) -> None:
        self.inputs = inputs
        self.rows = rows
        self.arrived_at = time.monotonic()
        self.deadline = self.arrived_at + timeout_ms / 1000 if timeout_ms else None
        self.future: Future[dict[str, NDArray[Any]]] = Future()


class _Queue:
    """The batches that wait for one signature of one version, the last of them still open."""

    def __init__(self, servable: Runnable, signature_name: str) -> None:
        self.servable = servable
        self.signature_name = signature_name
        self.batches: deque[list[_Task]] = deque()

    def rows_of_last(self) -> int:
        return sum(task.rows for task in self.batches[-1]) if self.batches else 0


class BatchScheduler:
    """One pool of batch threads, shared by all versions; queues are served in turn."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._queues: deque[_Queue] = deque()
        self._changed = threading.Condition()
        for index in range(parameters.threads):
            threading.Thread(target=self._work, name=f"batch-{index}", daemon=True).start()
        log("info", f"batching: {parameters}")

    def batched(self, servable: Runnable) -> BatchedServable:
        """``servable`` behind queues of its own."""
        return BatchedServable(servable, self)

    def add(self, servable: Runnable, signature_name: str) -> _Queue:
        """A new queue."""
        queue = _Queue(servable, signature_name)
        with self._changed:
            self._queues.append(queue)
        return queue

    def remove(self, queues: list[_Queue]) -> None:
        """Forget queues of a version that is unloaded."""
        with self._changed:
            for queue in queues:
                self._queues.remove(queue)

    def submit(self, queue: _Queue, task: _Task) -> None:
        """Put a task into the open batch, or into a new one.

        Raises:
            ServingError: when the task is larger than a batch, or the queue is full.
        """
        limit = self.parameters
        if task.rows > limit.max_batch_size:
            raise invalid(
                f"Task size {task.rows} is larger than maximum input batch size {limit.max_batch_size}"
            )
        with self._changed:
            if not queue.batches or queue.rows_of_last() + task.rows > limit.max_batch_size:
                if len(queue.batches) >= limit.max_enqueued_batches:
                    raise ServingError(
                        Code.UNAVAILABLE,
                        "The batch scheduling queue to which this task was submitted is full; currently "
                        f"{len(queue.batches)} batches enqueued and max_enqueued_batches is "
                        f"{limit.max_enqueued_batches}",
                    )
                queue.batches.append([])
            queue.batches[-1].append(task)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            queue, tasks = self._next_batch()
            _run_batch(queue, tasks)

    def _next_batch(self) -> tuple[_Queue, list[_Task]]:
        with self._changed:
            while True:
                wait_s: float | None = None
                for _ in range(len(self._queues)):
                    queue = self._queues[0]
                    self._queues.rotate(-1)
                    if not queue.batches:
                        continue
                    due_s = self._due_in(queue)
                    if due_s <= 0:
                        return queue, queue.batches.popleft()
                    wait_s = due_s if wait_s is None else min(wait_s, due_s)
                self._changed.wait(wait_s)

    def _due_in(self, queue: _Queue) -> float:
        """Seconds until the first batch may run: at once when it is full or another waits behind it."""
        full = len(queue.batches) > 1 or queue.rows_of_last() >= self.parameters.max_batch_size
        if full:
            return 0.0
        timeout_s = self.parameters.batch_timeout_micros / 1e6
        return queue.batches[0][0].arrived_at + timeout_s - time.monotonic()


class BatchedServable:
    """A servable whose requests wait for a batch."""

    def __init__(self, servable: Runnable, scheduler: BatchScheduler) -> None:
        self._servable = servable
        self._scheduler = scheduler
        self.signatures = servable.signatures
        self.signature_defs = servable.signature_defs
        self._queues = {name: scheduler.add(servable, name) for name in self.signatures}

    def run(
        self, signature_name: str, inputs: Mapping[str, NDArray[Any]], timeout_ms: int | None = None
    ) -> dict[str, NDArray[Any]]:
        """As `Servable.run`, in a batch with whoever else waits."""
        task = _Task(inputs, _rows(inputs), timeout_ms)
        self._scheduler.submit(self._queues[signature_name], task)
        return task.future.result()

    def close(self) -> None:
        """Forget the queues and free the model's memory."""
        self._scheduler.remove(list(self._queues.values()))
        self._servable.close()


def _rows(inputs: Mapping[str, NDArray[Any]]) -> int:
    sizes = set()
    for array in inputs.values():
        if not array.ndim:
            raise invalid("Batching Run() input tensors must have at least one dimension")
        sizes.add(len(array))
    if len(sizes) > 1:
        raise invalid("Batching Run() input tensors must have equal 0th-dimension size")
    return int(sizes.pop())


def _run_batch(queue: _Queue, tasks: list[_Task]) -> None:
    try:
        timeout_ms = _remaining_ms(tasks)
        names = tasks[0].inputs
        inputs = {name: _joined(queue, name, tasks) for name in names}
        outputs = queue.servable.run(queue.signature_name, inputs, timeout_ms)
        parts = list(_split(outputs, tasks))
    except ServingError as error:
        for task in tasks:
            task.future.set_exception(ServingError(error.code, error.message))
        return
    except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
        for task in tasks:
            task.future.set_exception(error)
        return
    for task, part in zip(tasks, parts, strict=True):
        task.future.set_result(part)


def _remaining_ms(tasks: list[_Task]) -> int | None:
    """The longest time any task of the batch has left."""
    deadlines = [task.deadline for task in tasks]
    if any(deadline is None for deadline in deadlines):
        return None
    latest = max(deadline for deadline in deadlines if deadline is not None)
    remaining_ms = int((latest - time.monotonic()) * 1000)
    if remaining_ms <= 0:
        raise ServingError(Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue")
    return remaining_ms


def _joined(queue: _Queue, name: str, tasks: list[_Task]) -> NDArray[Any]:
    arrays = [task.inputs[name] for task in tasks]
    if any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
        tensor_name = queue.servable.signatures[queue.signature_name].inputs[name].tensor_name
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"Tensors with name '{tensor_name}' from different tasks have different shapes and padding is "
            "turned off.",
        )
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _split(outputs: Mapping[str, NDArray[Any]], tasks: list[_Task]) -> Iterator[dict[str, NDArray[Any]]]:
    total = sum(task.rows for task in tasks)
    for array in outputs.values():
        if not array.ndim:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(array) != total:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of "
                "the input tensors",
            )
    start = 0
    for task in tasks:
        yield {name: array[start : start + task.rows] for name, array in outputs.items()}
        start += task.rows
