"""Runs a step of the action: step.py install|build|measure|report|comment."""

from __future__ import annotations

import sys

from perf_gate import build, comment, install, measure, report
from perf_gate.runner import Mistake, annotate, gate_folder

STEPS = {
    "install": install.run,
    "build": build.run,
    "measure": measure.run,
    "report": report.run,
    "comment": comment.run,
}
_MISTAKE = 2


def main() -> int:
    """Run the step that the command line names, and return its exit code."""
    try:
        STEPS[sys.argv[1]]()
    except Mistake as mistake:
        annotate("error", str(mistake), title="perf-gate")
        (gate_folder() / "mistake.txt").write_text(str(mistake), encoding="utf-8")
        return _MISTAKE
    return 0


if __name__ == "__main__":
    sys.exit(main())
