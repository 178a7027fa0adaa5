"""Other processes on the generator's cores."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.load.generator.neighbours import Neighbours

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hog() -> Iterator[tuple[int, int]]:
    """A process that keeps one core busy: its pid, and the core."""
    core = min(os.sched_getaffinity(0))
    code = f"import os\nos.sched_setaffinity(0, [{core}])\nprint(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    yield process.pid, core
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.needs("linux")
def test_who_took_the_core_is_named(hog: tuple[int, int]) -> None:
    pid, core = hog
    neighbours, own = Neighbours([core], []), Neighbours([core], [pid])
    used_until = time.clock_gettime(~pid << 3 | 2) + 0.5
    while time.clock_gettime(~pid << 3 | 2) < used_until:
        time.sleep(0.05)

    def shown(found: Neighbours) -> list[str]:
        return [text for text in found.named() if f"(pid {pid}) used " in text]

    (text,) = shown(neighbours)
    assert text.endswith(f" % of core {core}")
    assert shown(own) == []


def test_on_no_cores_nobody_is_seen() -> None:
    neighbours = Neighbours([], [])

    neighbours.look()

    assert neighbours.named() == ()
