"""``pytest-tfserving bake``: the models it takes, what it says next, and what target docker mounts."""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
from contextlib import nullcontext
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING

import pytest
import yaml

from kubeconfigs import config
from pytest_tfserving.cli import main
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.model_mix import model_name
from pytest_tfserving.targets.common.served_model import check_mounted
from pytest_tfserving.targets.docker import bake as bake_module
from pytest_tfserving.targets.docker.bake import model_files, packed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder with one version, and a file beside the folder."""
    version = tmp_path / "half" / "1"
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").write_text("graph")
    (version / "variables" / "data").write_text("weights")
    (tmp_path / "secret").write_text("key")
    (tmp_path / "store").mkdir()
    return tmp_path / "half"


class Engine:
    """A container engine that keeps what it was given to build.

    Attributes:
        built: the contents of each image's files, by their names.
    """

    def __init__(self) -> None:
        self.client = SimpleNamespace(images=SimpleNamespace(build=self._build))
        self.built: list[dict[str, str]] = []

    def image(self, *_: object) -> SimpleNamespace:
        """Have every image, each with a model."""
        return SimpleNamespace(attrs={"Config": {"Env": ["MODEL_NAME=model"]}})

    def _build(self, fileobj: IO[bytes], **_: object) -> tuple[SimpleNamespace, None]:
        with tarfile.open(fileobj=fileobj) as archive:
            files = {entry.name: archive.extractfile(entry) for entry in archive if entry.isfile()}
            texts = {name: file.read().decode(errors="replace") for name, file in files.items() if file}
        self.built.append(texts)
        return SimpleNamespace(id="sha256:0123"), None


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    """The engine that images are built on, without a kubeconfig."""
    found = Engine()
    monkeypatch.setattr(bake_module, "connect", lambda: nullcontext(found))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    monkeypatch.chdir(tmp_path)
    return found


def test_the_next_commands_are_printed(
    engine: Engine, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bake", "serving:1", str(model), "mine:1"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "mine:1 serves the model half (sha256:0123)",
        "",
        "next:",
        "  pytest perf_tests --tfserving-target=docker --tfserving-image=mine:1",
    ]
    assert engine.built[0]["models/half/1/saved_model.pb"] == "graph"


@pytest.mark.parametrize(
    ("context", "commands"),
    [
        (
            "kind-one",
            [
                "  kind load docker-image mine:1 --name one",
                "  pytest perf_tests --tfserving-target=kubernetes --tfserving-image=mine:1",
            ],
        ),
        (
            "far",
            [
                "  docker push mine:1",
                "  pytest perf_tests --tfserving-target=kubernetes --tfserving-image=mine:1 "
                "-o tfserving_allowed_contexts=far",
            ],
        ),
    ],
)
@pytest.mark.usefixtures("engine")
def test_the_next_commands_are_those_for_the_current_cluster(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], context: str, commands: list[str]
) -> None:
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config(context)))

    assert main(["bake", "serving:1", str(model), "mine:1"]) == 0

    assert capsys.readouterr().out.splitlines()[3:] == commands


@pytest.mark.usefixtures("engine")
def test_a_context_that_the_project_allows_needs_no_option(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config("far")))
    (tmp_path / "pytest.ini").write_text("[pytest]\ntfserving_allowed_contexts = far\n")

    assert main(["bake", "serving:1", str(model), "mine:1"]) == 0

    assert capsys.readouterr().out.endswith("--tfserving-target=kubernetes --tfserving-image=mine:1\n")


def test_a_model_of_this_package_is_taken_by_its_name(
    engine: Engine, model_cache: Path, half_plus_two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_TFSERVING_CACHE", str(model_cache))

    assert main(["bake", "serving:1", "half_plus_two", "mine:1"]) == 0

    assert 'ENV MODEL_NAME="half_plus_two"' in engine.built[0]["Dockerfile"]
    assert {
        f"models/half_plus_two/{path.relative_to(half_plus_two)}" for path in half_plus_two.rglob("*.pb")
    } <= set(engine.built[0])


def test_several_models_are_put_into_one_image(
    engine: Engine, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model, tmp_path / "other")

    assert main(["bake", "serving:1", str(model), str(tmp_path / "other"), "mine:1"]) == 0

    assert capsys.readouterr().out.startswith("mine:1 has the models half, other (sha256:0123)\n")
    files = engine.built[0]
    assert {"models/half/1/saved_model.pb", "models/other/1/saved_model.pb"} <= set(files)
    assert files["Dockerfile"].splitlines()[1:3] == [
        'LABEL pytest-tfserving/model="half,other"',
        'ENV MODEL_NAME="half"',
    ]


@pytest.mark.usefixtures("engine")
def test_two_models_of_one_name_are_refused(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "elsewhere" / "half"
    shutil.copytree(model, other)

    assert main(["bake", "serving:1", str(model), str(other), "mine:1"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"pytest-tfserving: {model} and {other} are models of one name, 'half'; rename one of the folders."
    )


def test_a_folder_of_that_name_comes_first(engine: Engine, model: Path, tmp_path: Path) -> None:
    model.rename(tmp_path / "half_plus_two")

    assert main(["bake", "serving:1", "half_plus_two", "mine:1"]) == 0

    assert engine.built[0]["models/half_plus_two/1/saved_model.pb"] == "graph"


@pytest.mark.parametrize("name", ["half_plus_two", "7", "Größe", "a-b.c__d", "_"])
def test_every_name_of_a_model_is_the_images(engine: Engine, model: Path, tmp_path: Path, name: str) -> None:
    model.rename(tmp_path / name)

    assert main(["bake", "serving:1", str(tmp_path / name), "mine:1"]) == 0

    assert engine.built[0]["Dockerfile"].splitlines()[1:3] == [
        f'LABEL pytest-tfserving/model="{name}"',
        f'ENV MODEL_NAME="{name}"',
    ]


def test_a_version_of_a_model_stands_for_the_model(
    engine: Engine, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bake", "serving:1", str(model / "1"), "mine:1"]) == 0

    assert capsys.readouterr().out.startswith(
        f"{model / '1'} is a version of the model {model}\nmine:1 serves"
    )
    assert engine.built[0]["models/half/1/saved_model.pb"] == "graph"


def link_out(model: Path) -> Path:
    (model / "1" / "assets").symlink_to("../../secret")
    return model / "1" / "assets"


def absolute_link_out(model: Path) -> Path:
    (model / "1" / "assets").symlink_to(model.parent / "secret")
    return model / "1" / "assets"


def folder_out(model: Path) -> Path:
    (model / "1" / "assets").symlink_to(model.parent / "store")
    return model / "1" / "assets"


def version_out(model: Path) -> Path:
    (model / "2").symlink_to(model.parent / "store")
    return model / "2"


def link_by_a_link_out(model: Path) -> Path:
    (model / "1" / "a").symlink_to("b")
    (model / "1" / "b").symlink_to("../../secret")
    return model / "1" / "a"


def link_nowhere(model: Path) -> Path:
    (model / "1" / "assets").symlink_to("nowhere")
    return model / "1" / "assets"


def link_to_itself(model: Path) -> Path:
    (model / "1" / "assets").symlink_to("assets")
    return model / "1" / "assets"


def link_to_a_folder_above(model: Path) -> Path:
    (model / "1" / "assets").symlink_to("..")
    return model / "1" / "assets"


def links_to_each_other(model: Path) -> Path:
    for name, other in (("a", "b"), ("b", "a")):
        (model / "1" / name).mkdir()
        (model / "1" / name / other).symlink_to(f"../{other}")
    return model / "1" / "a" / "b" / "a"


def fifo(model: Path) -> Path:
    os.mkfifo(model / "1" / "pipe")
    return model / "1" / "pipe"


def unix_socket(model: Path) -> Path:
    here = os.open(".", os.O_RDONLY)
    os.chdir(model / "1")  # a socket's path has to be short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("socket")
    finally:
        os.fchdir(here)
        os.close(here)
    return model / "1" / "socket"


def device(model: Path) -> Path:
    (model / "1" / "zero").symlink_to("/dev/zero")
    return model / "1" / "zero"


BAD: dict[Callable[[Path], Path], str] = {
    link_out: "is a link that leads out of the model folder, to ",
    absolute_link_out: "is a link that leads out of the model folder, to ",
    folder_out: "is a link that leads out of the model folder, to ",
    version_out: "is a link that leads out of the model folder, to ",
    link_by_a_link_out: "is a link that leads out of the model folder, to ",
    device: "is a link that leads out of the model folder, to /dev/zero",
    link_nowhere: "is a link that leads nowhere",
    link_to_itself: "is a link that leads to itself",
    link_to_a_folder_above: "is a link to a folder that it lies in",
    links_to_each_other: "is a link to a folder that it lies in",
    fifo: "is neither a file nor a folder",
    unix_socket: "is neither a file nor a folder",
}


def test_a_name_steers_no_terminal(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "1" / "\x1b[31mred\nnext").symlink_to("/etc/passwd")

    assert main(["bake", "serving:1", str(model), "mine:1"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert "/1/red next is a link that leads out" in line


@pytest.mark.parametrize("make", BAD)
def test_what_does_not_belong_into_an_image_is_refused_by_name(
    model: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], Path]
) -> None:
    path = make(model)

    assert main(["bake", "serving:1", str(model), "mine:1"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pytest-tfserving: {path} {BAD[make]}")


def names(model: Path) -> dict[str, str]:
    """What an image is built from: the files' names and contents."""
    with (
        packed("FROM x\n", {"half": model_files(model)}) as context,
        tarfile.open(fileobj=context) as archive,
    ):
        assert all(entry.isfile() or entry.isdir() for entry in archive)
        files = {entry.name: archive.extractfile(entry) for entry in archive if entry.isfile()}
        return {name: file.read().decode() for name, file in files.items() if file}


def test_links_inside_are_files_in_the_image(model: Path) -> None:
    (model / "shared").write_text("vocabulary")
    (model / "1" / "relative").symlink_to("../shared")
    (model / "1" / "absolute").symlink_to(model / "shared")
    (model / "1" / "folder").symlink_to("variables")
    (model / "2").symlink_to("1")
    os.link(model / "shared", model / "1" / "hard")

    found = names(model)

    version = {
        "saved_model.pb": "graph",
        "variables/data": "weights",
        "folder/data": "weights",
        "relative": "vocabulary",
        "absolute": "vocabulary",
        "hard": "vocabulary",
    }
    expected = {f"models/half/{number}/{name}": text for number in (1, 2) for name, text in version.items()}
    assert found == {"Dockerfile": "FROM x\n", "models/half/shared": "vocabulary", **expected}


def test_the_model_folder_itself_may_be_a_link(model: Path) -> None:
    current = model.parent / "current"
    current.symlink_to(model)

    assert names(current) == names(model)


@pytest.mark.parametrize("name", ["..", "half/..", "half/1/../.."])
def test_a_models_name_is_never_a_way_up(model: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(model if name == ".." else model.parent)

    assert model_name(name) == model.parent.name.replace("[", "-").replace("]", "-")


@pytest.mark.parametrize("make", BAD)
def test_a_version_is_not_mounted_with_what_a_container_does_not_have(
    model: Path, make: Callable[[Path], Path]
) -> None:
    path = make(model)

    with pytest.raises(ConfigurationError) as caught:
        check_mounted(model)

    assert str(caught.value).startswith(f"{path} is ")


def test_links_that_a_container_has_are_mounted(model: Path) -> None:
    (model / "shared").write_text("vocabulary")
    (model / "1" / "relative").symlink_to("../shared")
    (model / "2").symlink_to("1")

    check_mounted(model)


@pytest.mark.parametrize("way", ["absolute", "by a link beside the folder"])
def test_a_link_whose_way_a_container_does_not_have_is_named(model: Path, way: str) -> None:
    (model / "shared").write_text("vocabulary")
    (model.parent / "beside").symlink_to(model / "shared")
    target = model / "shared" if way == "absolute" else "../../beside"
    (model / "1" / "assets").symlink_to(target)

    with pytest.raises(ConfigurationError) as caught:
        check_mounted(model)

    assert str(caught.value).startswith(f"{model / '1' / 'assets'} is a link to ")
    assert "which a container does not have" in str(caught.value)


def test_versions_that_are_not_served_do_not_matter(model: Path) -> None:
    link_out(model)
    (model / "2").mkdir()

    check_mounted(model)
