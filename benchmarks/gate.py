"""How soon a gate on ResNet50 is decided: an easy SLO, a hopeless one, a close one.

Two users load the experiment 1cpu-2gb-1n-interop1 of the embedded server over REST and keep its core busy,
each time by a pytest of its own. The easy limit of p95 is 60 times the in-process baseline's median call, the
hopeless one half of it, the close one the p95 that the easy run measured. The first two are to end in
seconds, the last one takes its run time. The easy one needs 120 independent requests, and the two in flight
together count as one: as long as 240 requests take.

Needs the extra embedded, two cores and 2 GB of RAM.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import _common as common

if TYPE_CHECKING:
    from pathlib import Path

RUN_TIME_S = 120
QUICK_RUN_TIME_S = 40
# A tenth of the reference study's five minutes.
SOON_S = 30.0
_EXPERIMENTS = """
defaults: {{model: resnet50, payload: json, profile: gate}}
profiles:
  gate: {{users: 2, spawn_rate: 2, run_time_s: {run_time_s}}}
experiments:
  - {{shape: 1cpu-2gb-1n, inter_op: 1, slo: ["{slo}"]}}
"""
_TEST = "def test_gate(load):\n    load().check()\n"


def main() -> None:
    args = common.arguments(__doc__)
    run_time_s = QUICK_RUN_TIME_S if args.quick else RUN_TIME_S
    with common.scratch() as folder:
        easy = judged(folder, "p95<60x", run_time_s)
        hopeless = judged(folder, "p95<0.5x", run_time_s)
        close = judged(folder, f"p95<{easy['metrics']['p95_ms']:.6g}ms", run_time_s)
    common.note("")
    found = {"easy": easy, "hopeless": hopeless, "close": close}
    common.table(
        ["SLO", "", "verdict", "load ran for, s"],
        [[name, slo_of(each), each["verdict"], f"{each['run_s']:.1f}"] for name, each in found.items()],
    )
    right = (easy["verdict"], hopeless["verdict"]) == ("PASS", "FAIL")
    common.finish(
        args,
        {
            name: {"slo": slo_of(each), "verdict": each["verdict"], "run_s": each["run_s"]}
            for name, each in found.items()
        },
        [
            common.Target("easy and hopeless with the right verdict", float(right), 1, at_least=True),
            common.Target("easy, seconds of load", easy["run_s"], SOON_S),
            common.Target("hopeless, seconds of load", hopeless["run_s"], SOON_S),
            common.Target("close, share of its run time", close["run_s"] / run_time_s, 0.5, at_least=True),
        ],
    )


def judged(folder: Path, slo: str, run_time_s: int) -> dict[str, Any]:
    """Return the result of a pytest run with one SLO."""
    common.note(f"{slo}, at most {run_time_s} s of load")
    text = _EXPERIMENTS.format(run_time_s=run_time_s, slo=slo)
    (folder / "experiments.yaml").write_text(text, encoding="utf-8")
    (folder / "test_gate.py").write_text(_TEST, encoding="utf-8")
    path = folder / "results.json"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:locust", f"--tfserving-json={path}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if not path.exists():
        sys.exit(done.stdout + done.stderr)
    (result,) = json.loads(path.read_text(encoding="utf-8"))["results"]
    path.unlink()
    if result["aborted"] or result["not_judged"]:
        sys.exit(f"the run with {slo} failed: {result['aborted'] or result['not_judged']}")
    return dict(result)


def slo_of(result: dict[str, Any]) -> str:
    """Return the requested SLO."""
    return str(next(each["slo"] for each in result["slos"] if not each["guard"]))


if __name__ == "__main__":
    main()
