"""Build of an image with models in it, for `pytest-tfserving bake`."""

from __future__ import annotations

import io
import tarfile
import tempfile
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.targets.common.served_model import contents, latest_version
from pytest_tfserving.targets.common.server_files import MODELS_FOLDER
from pytest_tfserving.targets.docker.engine import MODEL, connect, models_in, reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

_FOLDER = PurePosixPath("models")


def bake(image: str, base_paths: Mapping[str, Path], tag: str) -> str:
    """Build ``tag`` from ``image`` and SavedModel base folders; return the new image's id.

    Each model is in ``/models/NAME``, beside those of ``image``. The image serves the first model.

    Args:
        image: the image to add the models to.
        base_paths: the folders by the models' names, which are as `model_name` has them.
        tag: the name of the new image.

    Raises:
        ConfigurationError: when a folder has no model, or links to files outside, or no engine answers.
        DeploymentError: when ``image`` is missing, or the engine cannot build.
    """
    files = {name: model_files(base_path) for name, base_path in base_paths.items()}
    with connect() as engine:
        import docker
        import requests

        known = models_in(engine.image(image, print))
        text = dockerfile(image, list(base_paths), known)
        try:
            with packed(text, files) as context:
                built, _ = engine.client.images.build(fileobj=context, custom_context=True, tag=tag, rm=True)
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise DeploymentError(f"{tag} could not be built from {image}: {reason(error)}.") from None
    return str(built.id)


def model_files(base_path: Path) -> dict[PurePosixPath, Path]:
    """Return the contents of a model's base folder, by their paths in the folder.

    Raises:
        ConfigurationError: when the folder has no model, or links to files outside.
    """
    latest_version(base_path)
    return {PurePosixPath(path.relative_to(base_path)): path for path in contents(base_path)}


def dockerfile(image: str, names: Sequence[str], known: Collection[str] = ()) -> str:
    """Return the Dockerfile that puts models into ``image``, which has those that are ``known``."""
    all_names = [*sorted({*known} - {*names}), *names]
    return (
        f"FROM {image}\n"
        f'LABEL {MODEL}="{",".join(all_names)}"\n'
        f'ENV MODEL_NAME="{names[0]}"\n'
        f'COPY ["{_FOLDER}", "{MODELS_FOLDER}"]\n'
    )


@contextmanager
def packed(text: str, files: Mapping[str, Mapping[PurePosixPath, Path]]) -> Iterator[IO[bytes]]:
    """Pack the build context: the Dockerfile and each model's files, which any user may read."""
    with tempfile.TemporaryFile(prefix="pytest-tfserving-bake-") as context:
        with tarfile.open(fileobj=context, mode="w", dereference=True) as archive:
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
            for model, found in files.items():
                for inside, path in found.items():
                    archive.add(path, str(_FOLDER / model / inside), recursive=False, filter=_readable)
        context.seek(0)
        yield context


def _readable(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mode = 0o755 if entry.isdir() else 0o644
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry
