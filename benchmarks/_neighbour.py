"""A neighbour: a process that takes a core for 0.3 to 4 s, every 6 s on average, as its seed says."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import _common as common

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVERY_S = 6.0
_SHORTEST_S, _LONGEST_S = 0.3, 4.0


@contextmanager
def neighbour(core: int, seed: int = 1) -> Iterator[None]:
    """Have a neighbour on ``core`` meanwhile."""
    with common.pinned(core):
        process = subprocess.Popen([sys.executable, __file__, str(seed)])
    with common.ending(process):
        yield


def _take(seed: int) -> None:
    seeded = random.Random(seed)
    idle_s = _EVERY_S - (_SHORTEST_S + _LONGEST_S) / 2
    while True:
        end = time.perf_counter() + seeded.uniform(_SHORTEST_S, _LONGEST_S)
        while time.perf_counter() < end:
            pass
        time.sleep(seeded.expovariate(1 / idle_s))


if __name__ == "__main__":
    _take(int(sys.argv[1]))
