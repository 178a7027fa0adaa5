"""Calibration of this machine, from the pieces of work to the content of the calibration file."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.calibration import words
from pytest_tfserving.calibration.file import this_machine
from pytest_tfserving.calibration.load_path import LoadPath, embedded, has_embedded_server, stand_in
from pytest_tfserving.calibration.pieces import measure_pieces
from pytest_tfserving.calibration.wander import (
    BLOCK_S,
    LONGEST_S,
    P95_NOISE,
    fit_wander,
    noise_memory_s,
    seen_autocorrelation,
    slowness,
)
from pytest_tfserving.errors import DeploymentError, LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_tfserving.calibration.content import (
        Calibration,
        Core,
        Floor,
        Gate,
        Measurements,
        SmallestChanges,
        WanderFigures,
    )
    from pytest_tfserving.calibration.load_path import Server
    from pytest_tfserving.calibration.pieces import Pieces
    from pytest_tfserving.calibration.wander import Wander

WINDOWS_S = (30, 60, 120)
# Time for the start of load processes, and for the start of servers.
_LOAD_START_S = 1.5
_SERVER_START_S = 6.0
# A shorter calibration has only one run for the limits.
_SHORT_S = 60
# Shorter load has no steady window of a second.
_SHORTEST_LOAD_S = 2.0
_MS = 1000


@dataclass(frozen=True, slots=True)
class PartLengths:
    """Lengths of the parts of a calibration.

    Attributes:
        whole_s: the length of the calibration in seconds.
        pieces_s: the seconds of pieces of work.
        floor_s: the seconds of each of the two runs that measure the load generator.
        known_runs: the number of runs that the limits come from.
        gate_runs: the number of runs that are judged by these limits.
        gate_run_s: the length of each of these runs in seconds.
    """

    whole_s: float
    pieces_s: float
    floor_s: float
    known_runs: int
    gate_runs: int
    gate_run_s: float

    @classmethod
    def of(cls, whole_s: float) -> PartLengths:
        """Return the schedule for a calibration of ``whole_s`` seconds; pieces of work get most of it."""
        floor_s = min(max(0.02 * whole_s, _SHORTEST_LOAD_S), 5.0)
        known_runs = 1 if whole_s < _SHORT_S else 2
        gate_run_s = min(max(0.03 * whole_s, _SHORTEST_LOAD_S), 8.0)
        gate_runs = max(min(int(whole_s / 50), 5), 1)
        load_s = 2 * (floor_s + _LOAD_START_S) + (known_runs + gate_runs) * (gate_run_s + _LOAD_START_S)
        pieces_s = max(whole_s - load_s - _SERVER_START_S, 0.3 * whole_s)
        return cls(whole_s, pieces_s, floor_s, known_runs, gate_runs, gate_run_s)


class Calibrator:
    """Calibration of this machine.

    Args:
        schedule: the lengths of the parts.
        folder: the folder for logs and records.
        say: called often, with a text about the current part.
    """

    def __init__(self, schedule: PartLengths, folder: Path, say: Callable[[str], None]) -> None:
        self._schedule = schedule
        self._folder = folder
        self._say = say
        self._left_out: list[str] = []

    def measure(self) -> Calibration:
        """Measure this machine; return the content of the calibration file.

        Raises:
            ConfigurationError: if the pieces of work do not end.
        """
        began_s = time.monotonic()
        measured_at = datetime.now(UTC).isoformat(timespec="seconds")
        pieces, neighbours = measure_pieces(
            self._schedule.pieces_s,
            self._folder,
            lambda: self._say("measuring how this machine's speed wanders"),
        )
        cores = [_core(each) for each in pieces]
        wanders = [fit_wander(each.rows[:, 0], each.rows[:, 1]) for each in pieces]
        memory_s = round(noise_memory_s(wanders, self._schedule.pieces_s), 1)
        floor, gate = self._floor(), self._gate(memory_s)
        # Servers run on the last core.
        wall, cpu = (fit_wander(pieces[-1].rows[:, 0], pieces[-1].rows[:, column]) for column in (1, 2))
        content: Measurements = {
            "machine": this_machine(),
            "measured_at": measured_at,
            "took_s": round(time.monotonic() - began_s, 1),
            "noise_memory_s": memory_s,
            "cores": cores,
            "neighbours": neighbours,
            "generator": floor,
            "gate": gate,
            "left_out": self._left_out,
            "smallest_change": {
                str(length_s): _smallest_changes(wall, cpu, length_s) for length_s in WINDOWS_S
            },
        }
        return {**content, "answer": words.answer(content, wall, cpu)}

    def _floor(self) -> Floor | None:
        with self._optional("the load generator was not measured"), stand_in(self._folder) as server:
            path = self._load_path(server, "measuring the load generator")
            return path.floor(self._schedule.floor_s)
        return None

    def _gate(self, memory_s: float) -> Gate | None:
        if has_embedded_server():
            opened = embedded(self._folder, self._say)
        else:
            opened = stand_in(self._folder)
            self._left_out.append(
                "the gate was tried on a stand-in server: the embedded one needs pytest-tfserving[embedded]"
            )
        plan = self._schedule
        with self._optional("no server was judged against itself"), opened as server:
            path = self._load_path(server, "judging one server against itself")
            return path.gate(plan.known_runs, plan.gate_runs, plan.gate_run_s, memory_s)
        return None

    @contextmanager
    def _optional(self, lost: str) -> Iterator[None]:
        """Note an error inside the context and go on: the other parts of the calibration are still useful."""
        try:
            yield
        except (DeploymentError, LoadError) as error:
            self._left_out.append(f"{lost}: {error}")

    def _load_path(self, server: Server, text: str) -> LoadPath:
        return LoadPath(server, self._folder / "load", lambda: self._say(text))


def _core(pieces: Pieces) -> Core:
    """Return the content for a core: figures, and curves to draw."""
    at_s, wall_s, cpu_s = pieces.rows.T
    wall = fit_wander(at_s, wall_s)
    slow = slowness(at_s, wall_s)
    lags = int(min(LONGEST_S / 2, BLOCK_S * len(slow) / 4) / BLOCK_S)
    lags_s = BLOCK_S * np.arange(1, lags + 1, dtype=np.float64)
    return {
        "core": pieces.core,
        "piece_ms": {"wall": _MS * float(np.median(wall_s)), "cpu": _MS * float(np.median(cpu_s))},
        "waited": pieces.waited,
        "steal": pieces.steal,
        "wall": _wander_figures(wall),
        "cpu": _wander_figures(fit_wander(at_s, cpu_s)),
        "slowness": [
            [round(BLOCK_S * block, 1), round(float(value), 4)]
            for block, value in enumerate(slow)
            if np.isfinite(value)
        ],
        "autocorrelation": [
            [round(float(lag_s), 1), round(float(seen), 4), round(float(fitted), 4)]
            for lag_s, seen, fitted in zip(
                lags_s,
                seen_autocorrelation(at_s, wall_s, lags),
                wall.autocorrelation(lags_s),
                strict=True,
            )
        ],
    }


def _wander_figures(wander: Wander) -> WanderFigures:
    return {
        "scatter": wander.scatter,
        "level_sd": wander.level_sd,
        "noise_sd": wander.noise_sd,
        "memory_s": wander.memory_s,
        "memory_high_s": wander.memory_high_s,
        "slow_share": wander.slow_share,
    }


def _smallest_changes(wall: Wander, cpu: Wander, length_s: float) -> SmallestChanges:
    """Return the smallest relative change of each figure that a window of ``length_s`` can show."""
    return {
        "p95": wall.smallest_change(length_s, P95_NOISE),
        "rps": wall.smallest_change(length_s),
        "cpu_per_request": cpu.smallest_change(length_s),
    }
