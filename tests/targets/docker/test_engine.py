"""The container engine: found or not, and the names of images; nothing here needs one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfserving.targets.docker.bake import dockerfile
from pytest_tfserving.targets.docker.engine import models_in, split_name

if TYPE_CHECKING:
    from harness import Project

DOCKER = "--tfserving-target=docker"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("unix:///no/engine.sock", "no container engine answers at unix:///no/engine.sock (No such file or*"),
        (
            "tcp://127.0.0.1:1",
            "no container engine answers at tcp://127.0.0.1:1 (Connection refused); *",
        ),
        ("tcp://engine.example:2375", "the engine at tcp://engine.example:2375 is another machine's; *"),
        ("nonsense", "no container engine answers at nonsense (*); start Docker or Podman, or set *"),
    ],
)
def test_an_engine_that_cannot_be_used_is_said_in_one_sentence(
    project: Project, address: str, message: str
) -> None:
    project.monkeypatch.setenv("DOCKER_HOST", address)

    # Docker's library leaves the socket open where no engine answers.
    run, (result,) = project.results(DOCKER, server=False, apart=True)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines([message])
    run.stdout.no_fnmatch_line("*Traceback*")
    assert result["verdict"] == "FAIL"


def test_the_extra_is_named_where_the_library_is_missing(project: Project) -> None:
    hidden = project.pytester.path / "hidden" / "docker"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('No module', name='docker')")
    project.monkeypatch.setenv("PYTHONPATH", str(hidden.parent))

    run = project.run(DOCKER, server=False, apart=True)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(
        ["*needs docker, which is not installed: pip install 'pytest-tfserving?docker?'."]
    )
    run.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("tensorflow/serving:2.19.1", ("tensorflow/serving", "2.19.1")),
        ("tensorflow/serving", ("tensorflow/serving", "latest")),
        ("localhost:5000/serving", ("localhost:5000/serving", "latest")),
        ("localhost:5000/serving:1", ("localhost:5000/serving", "1")),
        ("serving@sha256:0123", ("serving", "sha256:0123")),
    ],
)
def test_an_images_name_has_a_repository_and_a_tag(image: str, parts: tuple[str, str]) -> None:
    assert split_name(image) == parts


def test_a_models_name_stands_quoted_in_the_dockerfile() -> None:
    assert dockerfile("serving:1", ["my-model"]).splitlines() == [
        "FROM serving:1",
        'LABEL pytest-tfserving/model="my-model"',
        'ENV MODEL_NAME="my-model"',
        'COPY ["models", "/models"]',
    ]


def test_an_image_keeps_the_models_that_it_has() -> None:
    lines = dockerfile("mine:1", ["c", "a"], {"b", "a"}).splitlines()

    assert lines[1:3] == ['LABEL pytest-tfserving/model="b,c,a"', 'ENV MODEL_NAME="c"']


@pytest.mark.parametrize(
    ("config", "models"),
    [
        ({"Labels": {"pytest-tfserving/model": "a,b"}, "Env": ["MODEL_NAME=a"]}, {"a", "b"}),
        ({"Labels": None, "Env": ["MODEL_NAME=own"]}, {"own"}),
        ({"Env": ["MODEL_NAME=model"]}, set()),
        ({}, set()),
    ],
)
def test_the_models_in_an_image(config: dict[str, Any], models: set[str]) -> None:
    image: Any = SimpleNamespace(attrs={"Config": config})

    assert models_in(image) == models
