"""The command ``pytest-tfserving``."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_tfserving.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_the_commands() -> None:
    shown = command("--help")

    assert shown.returncode == 0
    assert "serve" in shown.stdout
    assert "export-model" in shown.stdout


def test_a_model_is_exported(tmp_path: Path) -> None:
    done = command("export-model", "half_plus_two", str(tmp_path), "--version", "7")

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "7")
    assert (tmp_path / "7" / "saved_model.pb").is_file()


def test_weights_that_do_not_load_are_named(tmp_path: Path) -> None:
    weights = tmp_path / "none.weights.h5"
    weights.write_bytes(b"nothing")

    done = command("export-model", "resnet50", str(tmp_path / "m"), "--weights", str(weights))

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        f"pytest-tfserving: weights '{weights}' of resnet50 do not load:"
    )


def test_weights_are_for_resnet50(tmp_path: Path) -> None:
    done = command("export-model", "half_plus_two", str(tmp_path), "--weights", "imagenet")

    assert (
        done.returncode,
        done.stderr,
    ) == (2, "pytest-tfserving: --weights is for resnet50, half_plus_two has none to choose.\n")


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


def test_cleanup_says_where_it_could_not_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/engine.sock")

    everywhere, there = command("cleanup"), command("cleanup", "--target", "docker")

    assert everywhere.returncode == 0
    assert "docker: not looked at: no container engine answers at unix:///no/engine.sock" in everywhere.stdout
    assert (there.returncode, there.stdout) == (2, "")
    assert there.stderr.startswith("pytest-tfserving: no container engine answers at unix:///no/engine.sock")


def test_there_is_nothing_to_clean_up_on_this_machine_alone() -> None:
    done = command("cleanup", "--target", "local")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
