"""Models of this package, exported when they are needed first."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def test_two_processes_that_want_a_model_export_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_TFSERVING_CACHE", str(tmp_path))
    program = "from pytest_tfserving.models.store import exported; print(exported('half_plus_two', print))"

    def export() -> str:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return done.stdout

    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(lambda _: export(), range(2)))

    assert sum("exporting half_plus_two" in output for output in outputs) == 1
    (folder,) = {output.splitlines()[-1] for output in outputs}
    assert (Path(folder) / "1" / "saved_model.pb").is_file()
    assert [Path(folder)] == [path for path in tmp_path.iterdir() if path.is_dir()]
