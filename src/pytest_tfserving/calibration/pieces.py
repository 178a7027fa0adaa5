"""Measurement of pieces of work on this machine, and of other processes on its cores."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.system.processes import CAN_PIN, ChildProcess, available_cores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pytest_tfserving.calibration.content import Neighbour

    Floats = NDArray[np.float64]

_CHILD = Path(__file__).with_name("pieces_child.py")
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
_LOOK_S = 0.2
# A child imports numpy first. A child that needs this long beyond its time hangs.
_START_S = 60.0
# A process that uses a smaller fraction of a core disturbs no measurement.
_LEAST_NEIGHBOUR = 0.02


@dataclass(frozen=True)
class Pieces:
    """Times of pieces of work on a core.

    Attributes:
        core: the number of the core.
        rows: for each piece the second of its start, its wall seconds, its CPU seconds; shape ``(n, 3)``.
        steal: the fraction of the core's time that the machine's host took; None if the system does not say.
    """

    core: int
    rows: Floats
    steal: float | None

    @property
    def waited(self) -> float:
        """Fraction of the pieces' wall time in which they did not run."""
        return max(1 - float(self.rows[:, 2].sum() / self.rows[:, 1].sum()), 0.0)


def measured_cores() -> list[int]:
    """Return the cores to measure: a core of the load generator, and a core of servers."""
    cores = available_cores()
    return sorted({cores[0], cores[-1]}) if CAN_PIN else cores[:1]


def measure_pieces(
    length_s: float, folder: Path, progress: Callable[[], None]
) -> tuple[list[Pieces], list[Neighbour]]:
    """Do pieces of work on all `measured_cores` at once.

    Args:
        length_s: the duration in seconds.
        folder: the folder for the children's files.
        progress: called often during the measurement.

    Returns:
        The times of the pieces, and the other processes that used this machine's cores, busiest first.

    Raises:
        ConfigurationError: if a child fails or hangs.
    """
    cores = measured_cores()
    steal_before, used_before, began_s = _steal(cores), _used(), time.monotonic()
    with ExitStack() as stack:
        children = []
        for core in cores:
            out = folder / f"pieces{core}.npy"
            command = [sys.executable, "-P", str(_CHILD), str(out), f"{length_s}"]
            child = ChildProcess(command, folder / f"pieces{core}.log", [core], {**os.environ, **_ONE_THREAD})
            stack.callback(child.stop)
            children.append((core, out, child))
        for _, out, child in children:
            while not out.exists():
                if child.exit() or time.monotonic() - began_s > length_s + _START_S:
                    raise ConfigurationError(
                        f"the pieces of work did not finish: {child.last_lines(1) or 'no output'}"
                    )
                progress()
                time.sleep(_LOOK_S)
        took_s = time.monotonic() - began_s
        neighbours = _neighbours(used_before, took_s)
    steal_after = _steal(cores)
    pieces = []
    for core, out, _ in children:
        before, after = steal_before.get(core), steal_after.get(core)
        steal = None if before is None or after is None else (after - before) / took_s
        pieces.append(Pieces(core, np.load(out), steal))
    return pieces, neighbours


def _steal(cores: list[int]) -> dict[int, float]:
    """Return the seconds that the host took of each core so far, if the system says."""
    times = psutil.cpu_times(percpu=True)
    return {core: times[core].steal for core in cores if core < len(times) and hasattr(times[core], "steal")}


def _used() -> dict[tuple[int, float], float]:
    """Return the CPU seconds of every other process, by its id and its start time."""
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    used = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid not in ours:
                times = process.cpu_times()
                used[process.pid, process.create_time()] = times.user + times.system
    return used


def _neighbours(before: dict[tuple[int, float], float], length_s: float) -> list[Neighbour]:
    """Return the processes that used a core since ``before``, the busiest first."""
    found: list[Neighbour] = []
    for (pid, created), used_s in _used().items():
        cpu = (used_s - before.get((pid, created), 0.0)) / length_s
        if cpu >= _LEAST_NEIGHBOUR:
            with suppress(psutil.Error):
                found.append({"name": psutil.Process(pid).name(), "pid": pid, "cpu": round(cpu, 3)})
    return sorted(found, key=lambda each: -each["cpu"])
