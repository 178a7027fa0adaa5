"""Records the noise of this machine for `verdict.py`: runs of load on ResNet50, calm and beside a neighbour.

Four users load the experiment 1cpu-2gb-1n-interop1 of target local over REST, the baseline's pulses between,
by pytest as `perf_tests` do. The neighbour takes the server's core for 0.3 to 4 s every 6 s on average. Each
run becomes an array of the .npz: a row a success, when it ended in s and its latency in ms.

Needs the extra embedded, two cores and 2 GB of RAM, and a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _common as common
import numpy as np
from _far import RECORDINGS
from _neighbour import neighbour

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from _noise import Floats

_EXPERIMENTS = """
defaults: {{model: resnet50, payload: json, profile: recorded}}
profiles:
  recorded: {{users: 4, spawn_rate: 4, run_time_s: {run_time_s}, early_stop: false, max_cpu_wait: 1}}
experiments:
  - {{shape: 1cpu-2gb-1n, inter_op: 1}}
"""
_TEST = "def test_recorded(load):\n    assert load().successes\n"
_KEPT = "recorded.npy"
# A result has no single requests: their records are kept before it is made of them.
_CONFTEST = f"""
import numpy as np
from pytest_tfserving.load.generator import run as runner
from pytest_tfserving.load.recorder import SUCCESS, record_blocks

outcome = runner.outcome


def kept(plan, deployment, story, records, *rest):
    sent_s, latency_ms, outcomes, _, _ = np.concatenate(list(record_blocks(records))).T
    rows = np.column_stack([sent_s + latency_ms / 1000, latency_ms])[outcomes == SUCCESS]
    np.save({_KEPT!r}, rows[np.argsort(rows[:, 0], kind="stable")])
    return outcome(plan, deployment, story, records, *rest)


runner.outcome = kept
"""


def recorded(folder: Path, run_time_s: int) -> Floats:
    """Return when the requests of one run ended, and what they took."""
    text = _EXPERIMENTS.format(run_time_s=run_time_s)
    (folder / "experiments.yaml").write_text(text, encoding="utf-8")
    (folder / "test_recorded.py").write_text(_TEST, encoding="utf-8")
    (folder / "conftest.py").write_text(_CONFTEST, encoding="utf-8")
    kept = folder / _KEPT
    kept.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", *(f"-pno:{name}" for name in common.other_plugins())]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode or not kept.exists():
        sys.exit(f"nothing was recorded (exit code {done.returncode}):\n{done.stdout[-2000:]}{done.stderr}")
    return np.asarray(np.load(kept))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=120, help="how long each run takes (default: 120)")
    parser.add_argument("--seed", type=int, default=1, help="of the neighbour (default: 1)")
    parser.add_argument(
        "--out",
        type=Path,
        default=RECORDINGS / "resnet50.npz",
        metavar="FILE",
        help="the .npz (default: benchmarks/recordings/resnet50.npz)",
    )
    args = parser.parse_args()
    common.two_cores()
    # Target local gives a server of one vCPU the last core.
    core = common.cores()[-1]
    kinds: dict[str, AbstractContextManager[None]] = {
        "calm": nullcontext(),
        "neighbour": neighbour(core, args.seed),
    }
    found: dict[str, Any] = {}
    with common.scratch() as folder:
        for kind, noise in kinds.items():
            common.note(f"{kind}, {args.seconds} s of load")
            with noise:
                found[kind] = recorded(folder, args.seconds)
    common.note("")
    common.table(
        ["", "requests", "p50 ms", "p95 ms", "max ms"],
        [
            [kind, len(rows), *np.quantile(rows[:, 1], [0.5, 0.95, 1.0]).tolist()]
            for kind, rows in found.items()
        ],
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.out, **{kind: rows.astype(np.float32) for kind, rows in found.items()})
    print(f"\n{args.out}")


if __name__ == "__main__":
    main()
