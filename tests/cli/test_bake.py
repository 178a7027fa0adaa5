"""``pytest-tfserving bake``: what it takes of a model folder, and what target docker mounts of it."""

from __future__ import annotations

import os
import socket
import tarfile
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.cli import main
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.targets.common.served_model import check_mounted, contents, model_name
from pytest_tfserving.targets.docker.bake import packed

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
    with packed("FROM x\n", model, contents(model)) as context, tarfile.open(fileobj=context) as archive:
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
    expected = {f"model/{number}/{name}": text for number in (1, 2) for name, text in version.items()}
    assert found == {"Dockerfile": "FROM x\n", "model/shared": "vocabulary", **expected}


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
