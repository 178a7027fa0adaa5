"""The records of a run of load, which are gone when its result is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil

from pytest_tfserving.load.generator import run as runner
from pytest_tfserving.load.generator.build_result import outcome
from pytest_tfserving.load.recorder import read_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from numpy.typing import NDArray

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.load.generator.generator import LoadPlan
    from pytest_tfserving.load.generator.run_state import RunState
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.server_side.cpu import CpuCurve


def keep_records(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.float64]]:
    """Return a list that gets the records of each load process when a run has ended."""
    found: list[NDArray[np.float64]] = []

    def kept(
        plan: LoadPlan,
        deployment: Deployment,
        run_state: RunState,
        records: Sequence[Path],
        *rest: *tuple[str, CpuCurve | None],
    ) -> Result:
        found.extend(np.array(read_records(path)) for path in records)
        return outcome(plan, deployment, run_state, records, *rest)

    monkeypatch.setattr(runner, "outcome", kept)
    return found


def descendants(pid: int, name: str) -> list[psutil.Process]:
    """The descendants of a process whose command line has ``name``."""
    try:
        family = psutil.Process(pid).children(recursive=True)
        return [each for each in family if any(name in part for part in each.cmdline())]
    except psutil.Error:
        return []


def has_recorded(pid: int) -> bool:
    """Whether each load process of a run of pytest has written requests."""
    generators = descendants(pid, "worker.py")
    try:
        files = [file.path for child in generators for file in child.open_files() if ".f64" in file.path]
    except psutil.Error:
        return False
    all_opened = bool(generators) and len(files) == len(generators)
    return all_opened and all(Path(file).stat().st_size for file in files)
