"""Batching of waiting requests, with TF Serving's parameters and limits."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.model_server.batch_tensors import joined, rows_of, split
from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.servable import Runnable
from pytest_tfserving.model_server.status import Code, ServingError, invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pytest_tfserving.model_server.batching_parameters import Parameters
    from pytest_tfserving.model_server.metrics import Metrics
    from pytest_tfserving.model_server.servable import RunTensors


class _Task:
    """A request, or a part of a request, that waits for its batch."""

    def __init__(self, feeds: Mapping[str, NDArray[np.generic]], rows: int, timeout_ms: int | None) -> None:
        self.feeds = feeds
        self.rows = rows
        self.arrived_at = time.monotonic()
        self.deadline = self.arrived_at + timeout_ms / 1000 if timeout_ms else None
        self.future: Future[dict[str, NDArray[np.generic]]] = Future()

    def parts(self, sizes: Sequence[int]) -> Iterator[_Task]:
        """Split the task into several, of ``sizes`` rows."""
        start = 0
        for rows in sizes:
            part = _Task(
                {name: array[start : start + rows] for name, array in self.feeds.items()}, rows, None
            )
            part.deadline = self.deadline
            yield part
            start += rows


class _Queue:
    """The batches that wait for the same inputs and outputs of one version, the last of them still open."""

    def __init__(self, servable: Runnable, fetches: Sequence[str], limits: Parameters) -> None:
        self.servable = servable
        self.fetches = fetches
        self.limits = limits
        self.batches: deque[list[_Task]] = deque()

    def room(self) -> int:
        """Return how many rows the open batch has left."""
        if not self.batches:
            return 0
        return self.limits.largest_batch - sum(task.rows for task in self.batches[-1])

    def sizes(self, rows: int) -> list[int]:
        """Return the sizes of the parts in which ``rows`` rows are put into the queue."""
        if not self.limits.enable_large_batch_splitting:
            return [rows]
        first = min(self.room() or self.limits.largest_batch, rows)
        whole, rest = divmod(rows - first, self.limits.largest_batch)
        return [first, *([self.limits.largest_batch] * whole), *([rest] if rest else [])]

    def put(self, tasks: Sequence[_Task]) -> None:
        """Add tasks, all or none.

        Raises:
            ServingError: when there is no room.
        """
        new = len(tasks) - (bool(self.batches) and tasks[0].rows <= self.room())
        if len(self.batches) + new > self.limits.max_enqueued_batches:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{len(self.batches)} batches enqueued and max_enqueued_batches is "
                f"{self.limits.max_enqueued_batches}",
            )
        for task in tasks:
            if not self.batches or task.rows > self.room():
                self.batches.append([])
            self.batches[-1].append(task)

    def due_in(self) -> float:
        """Return the seconds until the first batch may run: 0 if it is full or another batch waits too."""
        if len(self.batches) > 1 or self.room() <= 0:
            return 0.0
        timeout_s = self.limits.batch_timeout_micros / 1e6
        return self.batches[0][0].arrived_at + timeout_s - time.monotonic()


class BatchScheduler:
    """A pool of batch threads, shared by all versions; the pool serves the queues in turn."""

    def __init__(self, parameters: Parameters, metrics: Metrics) -> None:
        self.metrics = metrics
        self.parameters = parameters
        self._queues: deque[_Queue] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        for index in range(parameters.threads):
            name = f"{parameters.thread_pool_name}-{index}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        log("info", f"batching: {parameters}")

    def batched(self, servable: Runnable, limits: Parameters | None = None) -> BatchedServable:
        """Put ``servable`` behind queues of its own, with limits of its own if it has some.

        Raises:
            ServingError: when the limits contradict each other.
        """
        limits = limits or self.parameters
        limits.check()
        return BatchedServable(servable, self, limits)

    def add(self, queue: _Queue) -> None:
        """Add a queue to serve."""
        with self._changed:
            self._queues.append(queue)

    def remove(self, queues: Sequence[_Queue]) -> None:
        """Remove the queues of a version that is unloaded."""
        with self._changed:
            for queue in queues:
                self._queues.remove(queue)

    def stop(self) -> None:
        """End the threads as soon as nothing waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def submit(self, queue: _Queue, task: _Task) -> Sequence[_Task]:
        """Put a task into the open batch, or into new ones; return its parts.

        Raises:
            ServingError: when the task is larger than a batch, or the queue is full.
        """
        most = queue.limits.max_batch_size
        if task.rows > most:
            raise invalid(f"Task size {task.rows} is larger than maximum input batch size {most}")
        with self._changed:
            sizes = queue.sizes(task.rows)
            tasks = [task] if len(sizes) == 1 else list(task.parts(sizes))
            queue.put(tasks)
            self._changed.notify(len(tasks))
        return tasks

    def _work(self) -> None:
        while batch := self._next_batch():
            queue, tasks = batch
            self._measure(queue, tasks)
            _run_batch(queue, tasks)

    def _measure(self, queue: _Queue, tasks: Sequence[_Task]) -> None:
        now, pool = time.monotonic(), self.parameters.thread_pool_name
        for task in tasks:
            waited = (now - task.arrived_at) * 1e6
            self.metrics.observe("batching_session:queuing_latency", waited, thread_pool_name=pool)
        rows = sum(task.rows for task in tasks)
        size = queue.limits.padded(rows)
        self.metrics.observe("batching_session:processed_batch_size", size)
        self.metrics.observe("batching_session:padding_size", size - rows, execution_batch_size=str(size))
        self.metrics.count("batching_session:wrapped_run_count")

    def _next_batch(self) -> tuple[_Queue, list[_Task]] | None:
        with self._changed:
            while not self._stopped:
                wait_s: float | None = None
                for _ in range(len(self._queues)):
                    queue = self._queues[0]
                    self._queues.rotate(-1)
                    if not queue.batches:
                        continue
                    due_s = queue.due_in()
                    if due_s <= 0:
                        return queue, queue.batches.popleft()
                    wait_s = due_s if wait_s is None else min(wait_s, due_s)
                self._changed.wait(wait_s)
            return None


class BatchedServable(Runnable):
    """A servable whose requests wait for a batch, in a queue for each set of inputs and outputs."""

    may_wait = True

    def __init__(self, servable: Runnable, scheduler: BatchScheduler, limits: Parameters) -> None:
        self._servable = servable
        self._scheduler = scheduler
        self._limits = limits
        self.signatures = servable.signatures
        self.signature_defs = servable.signature_defs
        self._lock = threading.Lock()
        self._queues: dict[tuple[frozenset[str], tuple[str, ...]], _Queue] = {}

    def run_tensors(
        self,
        feeds: Mapping[str, NDArray[np.generic]],
        fetches: Sequence[str],
        timeout_ms: int | None = None,
        *,
        inline: bool = False,  # noqa: ARG002 - a batch always runs in a thread of its own
    ) -> dict[str, NDArray[np.generic]]:
        """Run as `Runnable.run_tensors` does, in a batch with the other waiting requests."""
        task = _Task(feeds, rows_of(feeds), timeout_ms)
        tasks = self._scheduler.submit(self._queue(feeds, fetches), task)
        self._scheduler.metrics.observe("batching_session:input_batch_size", task.rows)
        results = [part.future.result() for part in tasks]
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    @property
    def ran(self) -> Collection[RunTensors]:
        """The combinations of inputs and outputs that batches had."""
        return self._servable.ran

    def prepare(self, runs: Collection[RunTensors]) -> None:
        """Prepare the servable for these runs."""
        self._servable.prepare(runs)

    def close(self) -> None:
        """Remove the queues and free the model's memory."""
        self._scheduler.remove(list(self._queues.values()))
        self._servable.close()

    def _queue(self, feeds: Mapping[str, NDArray[np.generic]], fetches: Sequence[str]) -> _Queue:
        names = tuple(sorted(set(fetches)))
        key = frozenset(feeds), names
        with self._lock:
            if key not in self._queues:
                self._queues[key] = _Queue(self._servable, names, self._limits)
                self._scheduler.add(self._queues[key])
            return self._queues[key]


def _run_batch(queue: _Queue, tasks: Sequence[_Task]) -> None:
    try:
        parts = _outputs(queue, tasks)
    except ServingError as error:
        for task in tasks:
            task.future.set_exception(ServingError(error.code, error.message))
    except Exception as error:  # noqa: BLE001 - every waiting request must get the error
        for task in tasks:
            task.future.set_exception(error)
    else:
        for task, part in zip(tasks, parts, strict=True):
            task.future.set_result(part)


def _outputs(queue: _Queue, tasks: Sequence[_Task]) -> list[dict[str, NDArray[np.generic]]]:
    timeout_ms = _remaining_ms(tasks)
    sizes = [task.rows for task in tasks]
    filling = queue.limits.padded(sum(sizes)) - sum(sizes)
    feeds = {
        name: joined(
            name,
            [task.feeds[name] for task in tasks],
            pad=queue.limits.pad_variable_length_inputs,
            filling=filling,
        )
        for name in tasks[0].feeds
    }
    return list(split(queue.servable.run_tensors(feeds, queue.fetches, timeout_ms), sizes, filling))


def _remaining_ms(tasks: Sequence[_Task]) -> int | None:
    """Return the longest time that any task of the batch has left; None if a task has no deadline."""
    deadlines = [task.deadline for task in tasks]
    if any(deadline is None for deadline in deadlines):
        return None
    latest = max(deadline for deadline in deadlines if deadline is not None)
    remaining_ms = int((latest - time.monotonic()) * 1000)
    if remaining_ms <= 0:
        raise ServingError(Code.RESOURCE_EXHAUSTED, "Run() timeout exceeded while waiting in batching queue")
    return remaining_ms
