"""What it costs to have the plugin installed where no test uses it.

`pytest --co -q` in an empty folder, with the plugin against `-p no:tfserving`, in interleaved pairs. All
bytecode is compiled beforehand, as pip does. The other plugins of the environment are switched off in both:
they would only make the difference look smaller. Afterwards it looks which heavy libraries the plugin's
presence has imported.

Target: the ratio of the medians is at most 1.1, and none of locust, gevent, tensorflow, kubernetes, docker
and yaml is imported. Needs nothing.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import _common as common

if TYPE_CHECKING:
    from pathlib import Path

WITH, WITHOUT = "with the plugin", "-p no:tfserving"
FORBIDDEN = ("locust", "gevent", "tensorflow", "kubernetes", "docker", "yaml")
SHOWN = (*FORBIDDEN, "numpy", "requests")
_NOTHING_COLLECTED = 5
_LOOK = """
import json, sys, pytest
pytest.main(sys.argv[1:])
print("JSON", json.dumps(sorted(sys.modules)))
"""


class Pytest:
    """Runs pytest in an empty folder and notes the CPU time beside the wall time."""

    def __init__(self, folder: Path, bytecode: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode)}
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)
        self.cpu_ms: dict[str, list[float]] = {}

    def wall_ms(self, name: str, options: list[str]) -> float:
        """How long one run takes."""
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *options],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        length_ms = (time.perf_counter() - start) * 1e3
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != _NOTHING_COLLECTED:
            sys.exit(f"pytest ended with exit code {process.returncode}, not {_NOTHING_COLLECTED}")
        self.cpu_ms.setdefault(name, []).append((usage.ru_utime + usage.ru_stime) * 1e3)
        return length_ms

    def modules(self, options: list[str]) -> set[str]:
        """What is imported at the end of one run."""
        command = [sys.executable, "-c", _LOOK, *options]
        done = subprocess.run(
            command, cwd=self._folder, env=self._environment, check=True, capture_output=True, text=True
        )
        return set(json.loads(done.stdout[done.stdout.index("JSON") + 4 :]))


def main() -> None:
    args = common.arguments(__doc__)
    pairs = 6 if args.quick else 30
    others = common.other_plugins()
    options = {WITH: ["--co", "-q", *(f"-pno:{name}" for name in others)]}
    options[WITHOUT] = [*options[WITH], "-pno:tfserving"]
    with common.scratch() as folder, common.scratch() as bytecode, common.pinned(common.cores()[-1]):
        pytest = Pytest(folder, bytecode)
        for each in options.values():
            pytest.wall_ms("warm-up", each)
        taken = common.interleaved(
            {
                WITH: lambda: pytest.wall_ms(WITH, options[WITH]),
                WITHOUT: lambda: pytest.wall_ms(WITHOUT, options[WITHOUT]),
            },
            pairs,
        )
        modules = {name: pytest.modules(each) for name, each in options.items()}
    added = modules[WITH] - modules[WITHOUT]
    wall = {name: statistics.median(values) for name, values in taken.items()}
    cpu = {name: statistics.median(pytest.cpu_ms[name]) for name in taken}
    common.table(
        ["pytest --co -q", "runs", "wall ms", "x", "CPU ms", "x", "modules"],
        [
            [
                name,
                pairs,
                f"{wall[name]:.1f}",
                f"{wall[name] / wall[WITHOUT]:.3f}",
                f"{cpu[name]:.1f}",
                f"{cpu[name] / cpu[WITHOUT]:.3f}",
                len(modules[name]),
            ]
            for name in taken
        ],
    )
    imported = [name for name in SHOWN if name in modules[WITH]]
    print(f"\nother plugins, switched off in both: {', '.join(others) or 'none'}")
    print(f"imported of {', '.join(SHOWN)}: {', '.join(imported) or 'none'}")
    print(f"modules the plugin added: {', '.join(sorted(added))}")
    forbidden = [name for name in imported if name in FORBIDDEN]
    common.finish(
        args,
        {"wall_ms": taken, "cpu_ms": pytest.cpu_ms, "imported": imported, "added": sorted(added)},
        [
            common.Target("wall time with the plugin / without", wall[WITH] / wall[WITHOUT], 1.1),
            common.Target("heavy libraries imported", len(forbidden), 0),
        ],
    )


if __name__ == "__main__":
    main()
