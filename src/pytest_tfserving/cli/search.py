"""``search``: a search for the largest load that meets SLOs, by a test that is generated for it."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.slo.language import parse_slos

if TYPE_CHECKING:
    import argparse

_SEARCH = """
from math import inf
from pathlib import Path
import pytest

@pytest.mark.experiments({experiment!r})
def test_search(load):
    found = load.max_rps(*{slos!r}, state={state!r}, **{settings!r})
    Path({found!r}).write_text(found.table())
    assert found.knee, str(found)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "experiment", metavar="EXPERIMENT", help="name of the experiment, as 1cpu-2gb-1n-interop1"
    )
    parser.add_argument(
        "--slo", action="append", metavar="SLO", required=True, help='as "p95<200ms"; can be repeated'
    )
    parser.add_argument(
        "--over",
        default="users",
        metavar="FIELD",
        help="the field of the load profile to raise (default: %(default)s)",
    )
    parser.add_argument("--start", type=float, default=1, help="the first load to try (default: %(default)s)")
    parser.add_argument("--most", type=float, default=math.inf, help="the largest load to try")
    parser.add_argument(
        "--precision", type=float, default=0.05, help="of the result, as a fraction (default: %(default)s)"
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="file that keeps results, for a search to go on"
    )


def run(options: argparse.Namespace) -> int:
    """Run a generated test that searches, in a temporary folder, with this folder's experiments file."""
    from pytest_tfserving.experiments.yaml_file import find_from_top

    parse_slos(options.slo)
    own = any(argument.startswith("--tfserving-experiments") for argument in options.pytest)
    experiments = [] if own else [f"--tfserving-experiments={find_from_top(Path.cwd())}"]
    state = str(options.state.absolute()) if options.state else None
    settings = {name: getattr(options, name) for name in ("over", "start", "most", "precision")}
    with tempfile.TemporaryDirectory(prefix="pytest-tfserving-search-") as folder:
        test, found = Path(folder) / "test_search.py", Path(folder) / "found.txt"
        test.write_text(
            _SEARCH.format(
                experiment=options.experiment,
                slos=options.slo,
                settings=settings,
                state=state,
                found=str(found),
            ),
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:locust", "-p", "no:cacheprovider"]
        code = subprocess.run([*command, *experiments, *options.pytest, test], check=False).returncode
        if found.exists():
            print(found.read_text(encoding="utf-8"), end="")
    return 1 if code else 0
