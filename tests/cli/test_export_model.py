"""``pytest-tfserving export-model``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from command_line import command

if TYPE_CHECKING:
    from pathlib import Path


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
