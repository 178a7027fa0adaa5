"""The records of a run of load, which are gone when its result is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.load.generator import run as runner
from pytest_tfserving.load.generator.build_result import outcome
from pytest_tfserving.load.recorder import read_records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
