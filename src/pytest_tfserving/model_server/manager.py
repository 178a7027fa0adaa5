"""Which versions of a model are loaded: found in its base folder, loaded, swapped, unloaded."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.status import Code, ServingError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_tfserving.model_server.servable import Signature

START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"


class Signed(Protocol):
    """What a request can be read for."""

    @property
    def signatures(self) -> Mapping[str, Signature]: ...  # noqa: D102


class Runnable(Signed, Protocol):
    """What can be served: a `Servable`, or one behind a batching queue."""

    @property
    def signature_defs(self) -> Mapping[str, Any]: ...  # noqa: D102

    def run(  # noqa: D102
        self, signature_name: str, inputs: Mapping[str, NDArray[Any]], timeout_ms: int | None = None
    ) -> dict[str, NDArray[Any]]: ...
    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class VersionState:
    """Where a version is in its life, as the status API tells it."""

    version: int
    state: str
    error_code: str = "OK"
    error_message: str = ""


class Loaded:
    """A version in memory, counted by the requests that use it."""

    def __init__(self, version: int, servable: Runnable) -> None:
        self.version = version
        self._servable = servable
        self.signatures = servable.signatures
        self.signature_defs = servable.signature_defs
        self.run = servable.run
        self.uses = 0
        self.retired = False

    def close(self) -> None:
        """Free its memory."""
        self._servable.close()


class ModelManager:
    """One model; ``load`` makes a servable of a version's folder."""

    def __init__(self, name: str, base_path: Path, load: Callable[[Path], Runnable]) -> None:
        self.name = name
        self._base_path = base_path
        self._load = load
        self._lock = threading.Lock()
        self._current: Loaded | None = None
        self._states: dict[int, VersionState] = {}
        self._complained = ""

    def poll(self) -> None:
        """Look at the base folder once: load its highest version, then unload the one before.

        A version that fails to load is not tried again; what is served goes on being served.
        """
        version = self._highest()
        current = self._current
        if version is None:
            if current is not None and self._base_path.is_dir():
                self._retire(current)
            return
        if current is not None and current.version == version:
            return
        if version in self._states and self._states[version].state == END:
            return
        if self._bring_up(version) and current is not None:
            self._retire(current)

    def states(self, name: str, version: int | None) -> list[VersionState]:
        """Every version ever seen, or one of them.

        Raises:
            ServingError: NOT_FOUND, when there is none.
        """
        with self._lock:
            states = dict(self._states) if name == self.name else {}
        if not states:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        if version is not None and version not in states:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        return [states[version]] if version is not None else list(states.values())

    @property
    def failures(self) -> list[VersionState]:
        """The versions that did not load."""
        return [state for state in self._states.values() if state.state == END and state.error_message]

    @property
    def is_serving(self) -> bool:
        """Whether a version is AVAILABLE."""
        return self._current is not None

    @contextmanager
    def acquire(self, name: str, version: int | None, label: str) -> Iterator[Loaded]:
        """A version that stays loaded inside the context.

        Raises:
            ServingError: when it is not served.
        """
        if label:
            raise invalid(f"Unrecognized servable version label: {label}")
        with self._lock:
            current = self._current
            if current is None or name != self.name or version not in (None, current.version):
                asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")
            current.uses += 1
        try:
            yield current
        finally:
            with self._lock:
                current.uses -= 1
                last = current.retired and not current.uses
            if last:
                self._unload(current)

    def _bring_up(self, version: int) -> bool:
        log("info", f"loading {self.name} version {version} from {self._base_path / str(version)}")
        self._set(VersionState(version, LOADING))
        try:
            servable = self._load(self._version_folder(version))
        except ServingError as error:
            log("error", f"{self.name} version {version} did not load: {error.message}")
            self._set(VersionState(version, END, error.code.name, error.message))
            return False
        with self._lock:
            self._current = Loaded(version, servable)
        self._set(VersionState(version, AVAILABLE))
        log("info", f"{self.name} version {version} is AVAILABLE")
        return True

    def _retire(self, loaded: Loaded) -> None:
        self._set(VersionState(loaded.version, UNLOADING))
        with self._lock:
            if self._current is loaded:
                self._current = None
            loaded.retired = True
            idle = not loaded.uses
        if idle:
            self._unload(loaded)

    def _unload(self, loaded: Loaded) -> None:
        loaded.close()
        self._set(VersionState(loaded.version, END))
        log("info", f"{self.name} version {loaded.version} is unloaded")

    def _set(self, state: VersionState) -> None:
        with self._lock:
            self._states[state.version] = state

    def _highest(self) -> int | None:
        try:
            versions = [int(path.name) for path in self._base_path.iterdir() if path.name.isdecimal()]
        except OSError as error:
            self._complain(f"{self._base_path}: {error.strerror}")
            return None
        if not versions:
            self._complain(f"no versions of {self.name} found under {self._base_path}")
            return None
        self._complained = ""
        return max(versions)

    def _version_folder(self, version: int) -> Path:
        names = (path for path in self._base_path.iterdir() if path.name.isdecimal())
        return next(path for path in names if int(path.name) == version)

    def _complain(self, text: str) -> None:
        if text != self._complained:
            log("warning", f"{text}; waiting for one")
            self._complained = text
