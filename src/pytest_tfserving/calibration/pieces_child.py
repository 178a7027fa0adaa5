"""Process that does a fixed piece of work every 100 ms and records the time of each piece.

The process is started by its path, with the file to write and the seconds to run. The file has a row for each
piece: the second it began, its wall seconds, its CPU seconds. The work is a matrix product, like inference.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

EVERY_S = 0.1
PIECE_S = 0.002
_ROWS, _INNER, _COLUMNS = 16, 512, 1024
_TRIALS = 30


class Work:
    """A piece of work: products with a matrix of 2 MB, which take about `PIECE_S` seconds."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self._left = random.standard_normal((_ROWS, _INNER), np.float32)
        self._right = random.standard_normal((_INNER, _COLUMNS), np.float32)
        self._into = np.empty((_ROWS, _COLUMNS), np.float32)
        self._products = 1
        quickest_s = min(self._timed_s() for _ in range(_TRIALS))
        self._products = max(round(PIECE_S / quickest_s), 1)

    def __call__(self) -> None:
        """Do a piece of work."""
        for _ in range(self._products):
            np.matmul(self._left, self._right, out=self._into)

    def _timed_s(self) -> float:
        start_s = time.perf_counter()
        self()
        return time.perf_counter() - start_s


def main(path: Path, length_s: float) -> None:
    """Do pieces of work for ``length_s`` seconds, then write their times to ``path``."""
    work, rows = Work(), []
    start_s = time.perf_counter()
    while (now_s := time.perf_counter() - start_s) < length_s:
        time.sleep(EVERY_S - now_s % EVERY_S)
        work()  # a core that has just woken up is slower
        at_s, cpu_s = time.perf_counter(), time.process_time()
        work()
        cpu_s = time.process_time() - cpu_s
        rows.append((at_s - start_s, time.perf_counter() - at_s, cpu_s))
    unfinished = path.with_suffix(".unfinished.npy")
    np.save(unfinished, np.array(rows))
    unfinished.rename(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
