"""Real runs of a server against a baseline server, each by a pytest of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import _common as common
from _neighbour import neighbour

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SHAPES = {"half_plus_two": "1cpu-1gb-1n", "resnet50": "1cpu-2gb-1n"}
_EXPERIMENTS = """
defaults: {{model: {model}, payload: json, profile: gate}}
profiles:
  gate: {{users: 2, spawn_rate: 2, run_time_s: {run_time_s:.0f}, early_stop: {early_stop}}}
experiments:
  - {{shape: {shape}, inter_op: 1, slo: {slos}}}
"""
_TEST = "def test_gate(load):\n    load().check()\n"
_SERVER = '#!/bin/sh\nEXTRA_CPU_S={extra_s:.9f} exec {python} {server} "$@"\n'
# One run after the other takes at least so long, or its figures are those of a start.
_SHORTEST_S = 5.0
# A longer one would take the time of further comparisons.
_LONGEST_S = 60.0
# So many characters of what pytest printed are kept if there is no result.
_LONGEST_CAUSE = 2000


class RunError(Exception):
    """A run of pytest without a result to count."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate on a model of the embedded server, beside a neighbour or not."""

    folder: Path
    model: str
    run_time_s: float
    with_neighbour: bool = False

    def __str__(self) -> str:
        return self.model + (" beside a neighbour" if self.with_neighbour else "")

    def alone(self) -> dict[str, float]:
        """Return the figures of a short run of the server without another one."""
        return self._alone(2 * _SHORTEST_S)

    def against_itself(self, slos: Sequence[str], before: Mapping[str, float] | None) -> dict[str, Any]:
        """Return a run of the server against itself, and the changes from a run alone to the next one.

        Each run alone takes as long as the load on each of the two servers, at most a minute.

        Args:
            slos: the SLOs of the run of two servers.
            before: the figures of the run alone that was made before, if there is one.
        """
        found = self.against_slower(slos, 0.0)
        alone_s = min(max(found["run_s"], _SHORTEST_S), _LONGEST_S)
        before = before or self._alone(alone_s)
        after = self._alone(alone_s)
        return found | {"one_after_the_other": changes(before, after), "alone": after}

    def against_slower(self, slos: Sequence[str], extra_s: float) -> dict[str, Any]:
        """Return a run of a server that computes ``extra_s`` more a request against one that does not."""
        candidate, baseline = (self._program(each) for each in (extra_s, 0.0))
        options = (f"--tfserving-server={candidate}", f"--tfserving-against=server:{baseline}")
        result = self._pytest(slos, self.run_time_s, *options)
        comparison = result["comparison"]
        if not comparison:
            raise RunError("the baseline server has no result")
        return {
            "model": self.model,
            "neighbour": self.with_neighbour,
            "extra_s": extra_s,
            "run_s": result["run_s"],
            "verdicts": {each["slo"]: each["verdict"] for each in result["slos"] if each["slo"] in slos},
            # Load goes to each of the two servers for half of the time.
            "decided_s": {slo: 2 * each["at_s"] for slo, each in result["decided"].items() if slo in slos},
            "changes": comparison["changes"],
            "baseline": {
                name: comparison["metrics"][name] for name in ("rps", "cpu_per_request_ms", "p50_ms")
            },
            "at": result["started_at"],
        }

    def _alone(self, run_time_s: float) -> dict[str, float]:
        return dict(self._pytest([], run_time_s, early_stop=False)["metrics"])

    def _program(self, extra_s: float) -> Path:
        program = self.folder / f"server_{1e9 * extra_s:.0f}_{self.model}"
        server = common.HERE / "_slower_server.py"
        text = _SERVER.format(extra_s=extra_s, python=sys.executable, server=server)
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
        return program

    def _pytest(
        self, slos: Sequence[str], run_time_s: float, *options: str, early_stop: bool = True
    ) -> dict[str, Any]:
        """Return the result of a pytest run."""
        text = _EXPERIMENTS.format(
            model=self.model,
            run_time_s=run_time_s,
            early_stop=str(early_stop).lower(),
            shape=SHAPES[self.model],
            slos=json.dumps(list(slos)),
        )
        (self.folder / "experiments.yaml").write_text(text, encoding="utf-8")
        (self.folder / "test_gate.py").write_text(_TEST, encoding="utf-8")
        path = self.folder / "results.json"
        path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:locust", f"--tfserving-json={path}"]
        # Each run has bursts of its own.
        bursts = neighbour(common.cores()[-1], seed=time.time_ns())
        beside = bursts if self.with_neighbour else contextlib.nullcontext()
        with beside:
            done = subprocess.run(
                [*command, *options], cwd=self.folder, capture_output=True, text=True, check=False
            )
        found = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else []
        if not found:
            raise RunError((done.stdout + done.stderr).strip()[-_LONGEST_CAUSE:])
        (result,) = found
        if cause := result["aborted"] or result["incomplete"]:
            raise RunError(cause)
        return dict(result)


def changes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return the changes of point estimates, positive for the worse."""
    names = "p95_ms", "mean_ms", "cpu_per_request_ms"
    found = {name: after[name] / before[name] - 1 for name in names if before[name] and after[name]}
    return found | {"rps": 1 - after["rps"] / before["rps"]}
