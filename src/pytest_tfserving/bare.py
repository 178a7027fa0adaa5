"""The bare in-process TensorFlow session: what the same cores do with the same model and no server around it.

It runs in processes of its own, one a replica, on the replica's cores. They stay idle while load runs, so a
slice can be measured right before and right after it: a machine whose speed drifts shows itself.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.load.result import BareRates
from pytest_tfserving.processes import end_by_closing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_tfserving.experiment import ServingOptions

SLICE_S = 3.0
_GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class BareReady:
    """What a warm session says: its answer to the payload, and whether that is always the same."""

    answer: Any
    deterministic: bool


@dataclass(frozen=True, slots=True)
class BarePlan:
    """What a session runs: a version's folder and the file of a request's body.

    It starts on ``start_cores``, so as not to slow the replica's own start, and measures on ``cores``.
    """

    version_path: Path
    body: Path
    options: ServingOptions
    cores: tuple[int, ...]
    start_cores: tuple[int, ...]


class BareSession:
    """One process with the model loaded; its errors go to ``log``."""

    def __init__(self, plan: BarePlan, log: Path) -> None:
        self._log = log
        spec = {
            "model": str(plan.version_path),
            "body": str(plan.body),
            "intra_op": plan.options.intra_op,
            "inter_op": plan.options.inter_op,
            "callers": max(len(plan.cores), 1),
            "cores": plan.cores,
            "start_cores": plan.start_cores,
        }
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest_tfserving.bare_child", json.dumps(spec)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")},
            )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self, timeout_s: float) -> BareReady:
        """Wait for the warm session.

        Raises:
            DeploymentError: when it ends or says nothing, with its last words.
        """
        return BareReady(**self._next(timeout_s))

    def start_slice(self, length_s: float = SLICE_S) -> None:
        """Begin calling the session as fast as it answers."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{length_s}\n")
        self._process.stdin.flush()

    def end_slice(self, length_s: float = SLICE_S) -> tuple[float, float]:
        """Calls a second and the median call in ms of the slice that was begun."""
        line = self._next(length_s + _GRACE_S)
        return line["rps"], line["latency_ms"]

    def close(self) -> None:
        """End the process."""
        end_by_closing(self._process, timeout_s=2)
        self._reader.join()

    def _next(self, timeout_s: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            line = ""
        if not line:
            last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
            said = f": {last[0]}" if last else ""
            raise DeploymentError(f"the bare in-process session did not answer within {timeout_s:g} s{said}")
        return dict(json.loads(line))

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._lines.put(line)
        self._lines.put("")


def measure_slice(sessions: Sequence[BareSession]) -> BareRates:
    """One slice of all sessions at once: rates add up, the latency is the slowest session's."""
    for session in sessions:
        session.start_slice()
    slices = [session.end_slice() for session in sessions]
    return BareRates((sum(rps for rps, _ in slices),), (max(latency for _, latency in slices),))
