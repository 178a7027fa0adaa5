"""A project of a user: experiments, a model folder, a stand-in server, tests that load it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from harness import FAKE_SERVER, Project

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Project:
    """A project with one small experiment and one test; measurements of other tests don't make it wait."""
    server = pytester.path / "fake_server"
    server.write_text(f"#!{sys.executable}\n{FAKE_SERVER.read_text(encoding='utf-8')}", encoding="utf-8")
    server.chmod(0o755)
    (pytester.path / "models" / "half" / "1").mkdir(parents=True)
    (pytester.path / "request.json").write_text('{"instances": [1.0, 2.0, 5.0]}', encoding="utf-8")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTEST_TFSERVING_CALIBRATION", str(tmp_path / "calibration.json"))
    made = Project(pytester, monkeypatch, server)
    made.write()
    return made
