"""Build of an image with a model in it, for `pytest-tfserving bake`."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.targets.common.served_model import contents, latest_version, model_name
from pytest_tfserving.targets.docker.engine import MODEL, connect, reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_FOLDER = PurePosixPath("model")


def bake(image: str, base_path: Path, tag: str) -> str:
    """Build ``tag`` from ``image`` and the SavedModel base folder ``base_path``; return the new image's id.

    The model is in ``/models/NAME`` and has the name of the folder. The image serves this model.

    Raises:
        ConfigurationError: when the folder has no model, or links to files outside, or no engine answers.
        DeploymentError: when ``image`` is missing, or the engine cannot build.
    """
    latest_version(base_path)
    paths = list(contents(base_path))
    name = model_name(str(base_path))
    with connect() as engine:
        import docker
        import requests

        engine.image(image, print)
        try:
            with packed(dockerfile(image, name), base_path, paths) as context:
                built, _ = engine.client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise DeploymentError(f"{tag} could not be built from {image}: {reason(error)}.") from None
    return str(built.id)


def dockerfile(image: str, name: str) -> str:
    """Return the Dockerfile that puts a model called ``name`` into ``image``."""
    return (
        f"FROM {image}\n"
        f"LABEL {MODEL}={json.dumps(name)}\n"
        f"ENV MODEL_NAME={json.dumps(name)}\n"
        f"COPY {json.dumps([str(_FOLDER), f'/models/{name}'])}\n"
    )


@contextmanager
def packed(text: str, base_path: Path, paths: Iterable[Path]) -> Iterator[IO[bytes]]:
    """Pack the build context: the Dockerfile and the model's files, which any user may read."""
    with tempfile.TemporaryFile(prefix="pytest-tfserving-bake-") as context:
        with tarfile.open(fileobj=context, mode="w", dereference=True) as archive:
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
            for path in paths:
                name = _FOLDER / path.relative_to(base_path)
                archive.add(path, str(name), recursive=False, filter=_readable)
        context.seek(0)
        yield context


def _readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode = 0o755 if entry.isdir() else 0o644
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
