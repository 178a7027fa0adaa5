"""How long a report of the whole study takes to make, and how large it is.

Fifteen experiments with five minutes of made-up requests each, one of them with every kind of verdict, are
made into the HTML page, from the JSON file on.

Target: under 5 s and under 1.5 MB. Needs nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time

import _common as common

sys.path.insert(0, str(common.HERE.parent / "tests" / "support"))
import planted_results as planted
from pytest_tfserving.report.json import json_text

_MB = 1e6


def main() -> None:
    args = common.arguments(__doc__)
    with common.scratch() as folder:
        source, page = folder / "results.json", folder / "report.html"
        source.write_text(json_text(planted.study()), encoding="utf-8")
        command = [sys.executable, "-m", "pytest_tfserving.cli", "report", str(source), "--html", str(page)]
        taken_s = []
        for _ in range(1 if args.quick else 5):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            taken_s.append(time.perf_counter() - start)
        sizes = {"results.json": source.stat().st_size / _MB, "report.html": page.stat().st_size / _MB}
    slowest = max(taken_s)
    rows = [["slowest", f"{slowest:.2f} s"], *([name, f"{size:.2f} MB"] for name, size in sizes.items())]
    common.table(["", ""], rows)
    common.finish(
        args,
        {"seconds": taken_s, "megabytes": sizes},
        [
            common.Target("seconds for the page, slowest", slowest, 5),
            common.Target("the page's size, MB", sizes["report.html"], 1.5),
        ],
    )


if __name__ == "__main__":
    main()
