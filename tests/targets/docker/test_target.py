"""What containers of the target docker are started with; nothing here needs an engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.experiments.model_mix import MixedModel
from pytest_tfserving.targets.docker.engine import EngineFacts
from pytest_tfserving.targets.docker.target import ContainerPlan, _plan

if TYPE_CHECKING:
    from pathlib import Path

FACTS = EngineFacts("Docker", "28", "2", cores=2, ram_bytes=2**32, rootless=False)


def plan(folder: Path, *names: str, baked: str = "") -> ContainerPlan:
    """Return the plan for models, some of which the image has."""
    for name in names:
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "saved_model.pb").touch()
    models = tuple(MixedModel(name, str(folder / name)) for name in names)
    profile = LoadProfile("p", users=1, spawn_rate=1.0, run_time_s=1.0)
    experiment = Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "", "", profile, models=models)
    order: Any = SimpleNamespace(
        experiment=experiment,
        settings=SimpleNamespace(keep="never"),
        model_paths=lambda: {name: folder / name for name in names},
        folder=folder,
    )
    labels = {"pytest-tfserving/model": baked}
    image: Any = SimpleNamespace(id="sha256:1", attrs={"Config": {"Labels": labels}})
    return _plan(order, image, FACTS)


def test_models_that_the_image_lacks_are_mounted_beside_those_that_it_has(tmp_path: Path) -> None:
    found = plan(tmp_path, "a", "b", baked="b,c")

    assert found.mounts[1:] == [(str(tmp_path / "a"), "/models/a")]
    assert found.flags[0] == "--model_config_file=/etc/pytest-tfserving/models.config"
    config = (tmp_path / "server" / "models.config").read_text(encoding="utf-8")
    assert 'name: "a" base_path: "/models/a"' in config
    assert 'name: "b" base_path: "/models/b"' in config


def test_a_single_model_needs_no_file(tmp_path: Path) -> None:
    found = plan(tmp_path, "a")

    assert found.model == "a"
    assert not any("model_config_file" in flag for flag in found.flags)
