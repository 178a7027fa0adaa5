"""The Locust child, as its parent has it: started, told its plan, heard, ended."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pytest_tfserving.processes import end_by_closing

if TYPE_CHECKING:
    from pytest_tfserving.load.answer import ExpectedAnswer
    from pytest_tfserving.load.profile import LoadProfile
    from pytest_tfserving.targets.deployment import Deployment

WORKER = Path(__file__).with_name("worker.py")
START_S = 60.0
READ_THE_PLAN = timedelta(seconds=0.1)
STOP_S = 3.0


@dataclass(frozen=True)
class Plan:
    """What the child is to do; times in seconds, ``body`` is sent with every request."""

    profile: LoadProfile
    body: bytes
    path: str
    expected: ExpectedAnswer
    stall_s: float
    whole_run_counts: bool = False


class LoadChild:
    """The child process, started on entering the context; leaving it ends the child, however it was left.

    It imports Locust first, which takes most of a second, and then waits for its plan.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.records = folder / "records.f64"
        self.log = folder / "generator.log"
        self._body = folder / "body"
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def wait_until_ready(self) -> None:
        """Wait until the child does nothing but wait for its plan, or is gone, which `run` finds out."""
        self._ready.wait(START_S)

    def send(self, plan: Plan, deployment: Deployment) -> datetime:
        """Give the child its plan, and tell when it begins: as soon as it is sure to have read it."""
        begins = datetime.now(UTC) + READ_THE_PLAN
        self._body.write_bytes(plan.body)
        spec = {
            "profile": asdict(plan.profile),
            "stages": [asdict(stage) for stage in plan.profile.stages],
            "judged_from_s": plan.profile.judged_from_s,
            "origin": begins.timestamp(),
            "index": 0,
            "processes": 1,
            "endpoints": [{**asdict(endpoint), "path": plan.path} for endpoint in deployment.endpoints],
            "expected": asdict(plan.expected),
            "body": str(self._body),
            "records": str(self.records),
            "stall_s": plan.stall_s,
            "cores": sorted(deployment.generator_cores),
        }
        self._write(json.dumps(spec) + "\n")
        return begins

    def end(self) -> None:
        """End the process; what it said until then can still be read from ``lines``."""
        end_by_closing(self.process, STOP_S)
        self._reader.join()

    def stop(self) -> None:
        """Ask the child to end its run and say its last line."""
        self._write("stop\n")

    def stop_decided(self) -> None:
        """Tell the child that its time is spent: every SLO is decided."""
        self._write("decided\n")

    def _write(self, text: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is seen where its lines are read

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                said = json.loads(line)
                if said["event"] == "ready":
                    self._ready.set()
                else:
                    self.lines.put(said)
        self._ready.set()
        self.lines.put(None)
