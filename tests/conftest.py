"""A project of a user: experiments, a model folder, a stand-in server, tests that load it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FAKE_SERVER = Path(__file__).parent / "servers" / "fake_server.py"

EXPERIMENTS = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 2, run_time_s: 2, think_time_s: 0.01, request_timeout_s: 5}
experiments:
  - shape: 1cpu-1gb-1n
    inter_op: 1
    slo: ["rps>=1"]
"""
TESTS = """
def test_gate(load):
    load().check()
"""


@dataclass
class Project:
    """The folder that pytest runs in, and how it is run."""

    pytester: pytest.Pytester
    monkeypatch: pytest.MonkeyPatch
    server: Path

    def write(self, experiments: str = EXPERIMENTS, tests: str = TESTS) -> None:
        """Write the experiments and the tests."""
        (self.pytester.path / "experiments.yaml").write_text(experiments, encoding="utf-8")
        (self.pytester.path / "test_perf.py").write_text(tests, encoding="utf-8")

    def behave(self, **how: Any) -> None:
        """Tell the stand-in server how to behave."""
        self.monkeypatch.setenv("FAKE_SERVER", json.dumps(how))

    def run(self, *arguments: str, server: bool = True) -> pytest.RunResult:
        """Run pytest in a process of its own, on the stand-in server unless told otherwise."""
        own = ["--tfserving-server", str(self.server)] if server else []
        return self.pytester.runpytest_subprocess("-p", "no:locust", "-rs", *own, *arguments)

    def results(self, *arguments: str, server: bool = True) -> tuple[pytest.RunResult, list[dict[str, Any]]]:
        """Run pytest and read the results it wrote."""
        run = self.run("--tfserving-json=out.json", *arguments, server=server)
        document = json.loads((self.pytester.path / "out.json").read_text(encoding="utf-8"))
        return run, document["results"]


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
    for name in [name for name in os.environ if name.startswith("PYTEST_")]:
        monkeypatch.delenv(name)
    made = Project(pytester, monkeypatch, server)
    made.write()
    return made
