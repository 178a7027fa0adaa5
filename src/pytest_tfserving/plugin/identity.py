"""The identity of a run of load: the served model and options, and the request, but no names or paths."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.several_models import folders_of
from pytest_tfserving.targets.common.served_model import latest_version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    import pytest

    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.plugin.session import PerfSession
    from pytest_tfserving.settings import Against
    from pytest_tfserving.text.json_value import JsonObject, JsonValue

_MOST_FILES_KEPT = 4096
# Two writes within a tick of a file system's clock, up to 2 s, leave the same times.
_RECENT_NS = 3_000_000_000


def identify(perf: PerfSession, experiment: Experiment, request: pytest.FixtureRequest) -> JsonObject:
    """Return what is served to and sent by a test's load, as plain values.

    Args:
        perf: the session.
        experiment: the test's.
        request: gives the values that fixtures have for the test.
    """
    from pytest_tfserving.protocols.payload_set import PayloadSet

    settings = perf.settings
    found: JsonObject = {"target": settings.target, **perf.target.served(experiment, perf.progress)}
    if "model" not in found:
        found["model"] = _models(perf, experiment, request)
    if namespace := request.getfixturevalue("serving_namespace"):
        found["namespace"] = namespace
    if own := experiment.home.standing_for("serving"):
        found["serving"] = [*own]
    if settings.against:
        found["against"] = _baseline_server(settings.against, perf, experiment)
    if settings.locustfile:
        found["locustfile"] = _digest(settings.locustfile.read_bytes())
    payloads = PayloadSet.of(request.getfixturevalue("request_payload"))
    return {**found, "payload": payloads.digest}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The run of load that a test requests; runs with the same ``key`` are the same run."""

    key: str
    profile: LoadProfile
    identity: Mapping[str, object]

    @classmethod
    def of(cls, identity: Mapping[str, object], profile: LoadProfile, but: Collection[str] = ()) -> Wanted:
        """Return the run of ``identity`` under ``profile``; the key ignores the fields named in ``but``."""
        fields = {name: value for name, value in asdict(profile).items() if name not in {"name", *but}}
        load = {name: float(value) if type(value) is int else value for name, value in fields.items()}
        key = _digest(json.dumps([identity, load], sort_keys=True, default=str).encode())
        return cls(key, profile, identity)

    @classmethod
    def of_nothing(cls, experiment: Experiment, profile: LoadProfile) -> Wanted:
        """Return the run that ends before the served model is known."""
        home = replace(experiment.home, renewals=0)
        key = _digest(f"nothing of {experiment.name} {home} {astuple(profile)}".encode())
        return cls(key, profile, {})


def model_digest(folder: Path) -> str:
    """Return a digest of the files in the newest version of a SavedModel base folder.

    For a folder without a valid model the digest is the error's text; the deployment reports the error.
    """
    try:
        version = latest_version(folder)
    except (ConfigurationError, OSError) as error:
        return str(error)
    files = sorted((path.relative_to(version).as_posix(), _file_digest(path)) for path in _files(version))
    return _digest(json.dumps(files).encode())


class ServedModels:
    """The model folders of a deployment, and the digests of their content when the server began to read them.

    Attributes:
        paths: the folders by the models' names; empty before the server reads them.
        digests: the digests by the models' names.
    """

    def __init__(self, folders: Callable[[], Mapping[str, Path]]) -> None:
        self._folders = folders
        self.paths: Mapping[str, Path] = {}
        self.digests: Mapping[str, str] = {}

    def read(self) -> Mapping[str, Path]:
        """Return the folders to a server that is about to read the models."""
        if not self.paths:
            self.paths = self._folders()
            self.digests = {name: model_digest(path) for name, path in self.paths.items()}
        return self.paths

    @property
    def have_changed(self) -> bool:
        """True if a folder now has another model."""
        return any(model_digest(path) != self.digests[name] for name, path in self.paths.items())


def _models(perf: PerfSession, experiment: Experiment, request: pytest.FixtureRequest) -> JsonValue:
    """Return the identity of the served model, or of each of several ones by its name.

    A model of this package need not be exported for that.
    """
    folders: Mapping[str, Path] = {}
    overridden = bool(experiment.home.standing_for("serving_model"))
    if overridden or any("/" in each.model for each in experiment.served_models):
        folders = folders_of(experiment, request.getfixturevalue("serving_model"))
    found: JsonObject = {
        each.name: _model(perf, experiment, each.name, folders[each.name])
        if overridden or "/" in each.model
        else each.model
        for each in experiment.served_models
    }
    return found if experiment.models else next(iter(found.values()))


def _model(perf: PerfSession, experiment: Experiment, name: str, folder: Path) -> str:
    """Return the identity of the model in a folder."""
    now = model_digest(folder)
    running = perf.running_of(experiment)
    if running and running.models.paths.get(name) == folder and running.models.digests[name] != now:
        # The server may have loaded the new model or not.
        return f"{running.models.digests[name]}, and then {now}"
    return now


def _baseline_server(against: Against, perf: PerfSession, experiment: Experiment) -> JsonObject:
    """Return values that identify the baseline server."""
    from pytest_tfserving.targets import target_of

    served = target_of(against.applied(perf.settings)).served(experiment, perf.progress)
    own = {"model": model_digest(Path(against.value))} if against.kind == "model" else {}
    return {"named": str(against), **served, **own}


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, also behind links; no folder is entered twice."""
    seen = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
        seen.add(real)
        yield from (path for name in names if (path := Path(place, name)).is_file())


def _file_digest(path: Path) -> str:
    try:
        known = path.stat()
        if time.time_ns() - known.st_ctime_ns < _RECENT_NS:
            return _read_digest(path)
        return _kept_digest(path, (known.st_ino, known.st_size, known.st_mtime_ns, known.st_ctime_ns))
    except OSError as error:
        return str(error.strerror)


@lru_cache(_MOST_FILES_KEPT)
def _kept_digest(path: Path, stamp: tuple[int, ...]) -> str:  # noqa: ARG001 - part of the cache's key
    return _read_digest(path)


def _read_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
