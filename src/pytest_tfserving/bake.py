"""Puts a model into an image: what `pytest-tfserving bake` does."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from pytest_tfserving.engine import MODEL, connect, reason
from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.targets.served_model import latest_version, model_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDER = "model"


def bake(image: str, base_path: Path, tag: str) -> str:
    """Build ``tag`` from ``image`` with the SavedModel base folder ``base_path`` in it, and return its id.

    The model lies in ``/models/NAME``, its name is that of the folder, and the image serves it.

    Raises:
        ConfigurationError: when the folder has no model, or no engine answers.
        DeploymentError: when ``image`` is missing, or the engine cannot build.
    """
    import docker
    import requests

    latest_version(base_path)
    name = model_name(str(base_path.absolute()))
    with connect() as engine:
        engine.image(image, print)
        try:
            with _context(dockerfile(image, name), base_path) as context:
                built, _ = engine.client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise DeploymentError(f"{tag} could not be built from {image}: {reason(error)}.") from None
    return str(built.id)


def dockerfile(image: str, name: str) -> str:
    """The Dockerfile that puts a model called ``name`` into ``image``."""
    return (
        f"FROM {image}\n"
        f"LABEL {MODEL}={json.dumps(name)}\n"
        f"ENV MODEL_NAME={json.dumps(name)}\n"
        f"COPY {json.dumps([_FOLDER, f'/models/{name}'])}\n"
    )


@contextmanager
def _context(text: str, base_path: Path) -> Iterator[IO[bytes]]:
    """What the engine builds from: the Dockerfile and the model, which any user may read."""
    with tempfile.TemporaryFile(prefix="pytest-tfserving-bake-") as packed:
        with tarfile.open(fileobj=packed, mode="w", dereference=True) as archive:
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
            archive.add(base_path, _FOLDER, filter=_readable)
        packed.seek(0)
        yield packed


def _readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode = 0o755 if entry.isdir() else 0o644
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
