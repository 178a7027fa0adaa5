"""Simulated runs in cells of a server and its noise, tried on all cores, the same ones for a seed."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

import _common as common
import _noise
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from _noise import Floats, Noise, Run, Server, Truth

Found = TypeVar("Found")
# So many runs are simulated together.
_BATCH = 25


@dataclass(frozen=True, slots=True)
class Cell:
    """A server, its noise, and how long each run of it is."""

    server: Server
    noise: Noise
    length_s: float

    def __str__(self) -> str:
        return f"{self.server.loop}, {self.noise}"

    @property
    def numbers(self) -> list[int]:
        """What tells its random numbers from those of other cells."""
        server, noise, process = self.server, self.noise, self.server.arrivals
        of_arrivals = (process.cv, process.burst_factor, process.burst_s, process.calm_s) if process else ()
        plain = (server.users, server.rps, server.stalled, noise.tau_s, noise.share, noise.sigma)
        return [round(100 * each) for each in (*plain, *of_arrivals)]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some runs of a cell."""

    cell: Cell
    seeds: tuple[int, ...]
    count: int

    def runs(self) -> list[Run]:
        """Simulate them."""
        random = np.random.default_rng(self.seeds)
        return _noise.runs(random, self.count, self.cell.length_s, self.cell.server, self.cell.noise)

    def duets(self, slower: float) -> list[tuple[Run, Run]]:
        """Simulate them beside a baseline server, which takes a ``slower``-th of the time a request."""
        cell, random = self.cell, np.random.default_rng((*self.seeds, round(1000 * slower)))
        return _noise.duets(random, self.count, cell.length_s, cell.server, cell.noise, slower)


class Trials:
    """Tries functions of modules on ``runs`` runs a cell; a context, whose processes end with it."""

    def __init__(self, runs: int, seed: int) -> None:
        self.runs = runs
        self._seed = seed
        self._truths: dict[tuple[Server, Noise], Truth] = {}
        self._pool = multiprocessing.Pool(len(common.cores()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.terminate()
        self._pool.join()

    def each(self, tried: Callable[[Batch], Floats], cells: Sequence[Cell], what: str) -> dict[Cell, Floats]:
        """Return what is ``tried`` on batches: of each a row a run."""
        batches = self._batches(cells)
        rows = self._done(tried, [(batch,) for batch in batches], what)
        return _by_cell(batches, rows)

    def each_with_truth(
        self, tried: Callable[[Batch, Truth], Floats], cells: Sequence[Cell], what: str
    ) -> dict[Cell, Floats]:
        """Return the same of a function that is told what is true of the server."""
        self._find_truths(cells, what)
        batches = self._batches(cells)
        truths = (self._truths[batch.cell.server, batch.cell.noise] for batch in batches)
        rows = self._done(tried, list(zip(batches, truths, strict=True)), what)
        return _by_cell(batches, rows)

    def _batches(self, cells: Sequence[Cell]) -> list[Batch]:
        return [
            Batch(cell, (self._seed, *cell.numbers, first), min(_BATCH, self.runs - first))
            for cell in cells
            for first in range(0, self.runs, _BATCH)
        ]

    def _find_truths(self, cells: Sequence[Cell], what: str) -> None:
        keys = dict.fromkeys((cell.server, cell.noise) for cell in cells)
        new = [key for key in keys if key not in self._truths]
        found = self._done(_noise.truth, [(*key, self._seed) for key in new], f"{what}, what is true")
        self._truths |= zip(new, found, strict=True)

    def _done(self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], what: str) -> list[Any]:
        began_s = time.monotonic()
        found: list[Any] = []
        for each in self._pool.imap(_call, [(function, task) for task in tasks]):
            found.append(each)
            left_s = (time.monotonic() - began_s) * (len(tasks) / len(found) - 1)
            common.note(f"{what}: {len(found)} of {len(tasks)}, about {left_s:.0f} s left")
        common.note("")
        return found


def _call(task: tuple[Callable[..., Found], tuple[object, ...]]) -> Found:
    function, arguments = task
    return function(*arguments)


def _by_cell(batches: Sequence[Batch], rows: Sequence[Floats]) -> dict[Cell, Floats]:
    found: dict[Cell, list[Floats]] = {}
    for batch, part in zip(batches, rows, strict=True):
        found.setdefault(batch.cell, []).append(part)
    return {cell: np.concatenate(parts) for cell, parts in found.items()}
