"""Manager of versions: it loads wanted versions, replaces versions without a gap, and unloads unwanted ones.

Callers of `Manager.aspire` decide which versions are wanted.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.inline_policy import InlinePolicy
from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.memory import give_back
from pytest_tfserving.model_server.status import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from pytest_tfserving.model_server.servable import Runnable, RunTensors

START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options of loading: with 0 threads, versions are loaded and unloaded one after the other."""

    load_threads: int = 0
    unload_threads: int = 0
    retries: int = 5
    retry_interval_s: float = 60.0


@dataclass(frozen=True, slots=True)
class VersionState:
    """The state of a version, as the status API reports it."""

    version: int
    state: str
    error_code: Code = Code.OK
    error_message: str = ""


class Loaded:
    """A version in memory, with the number of requests that use it."""

    def __init__(self, name: str, version: int, servable: Runnable) -> None:
        self.name = name
        self.version = version
        self.signatures = servable.signatures
        self.signature_defs = servable.signature_defs
        self.run = servable.run
        self.run_tensors = servable.run_tensors
        self.close = servable.close
        self.may_wait = servable.may_wait
        self._servable = servable
        self.paces = {name: InlinePolicy() for name in servable.signatures}
        self.uses = 0
        # Set once a thread waits for the last use to end.
        self.is_leaving = False

    @property
    def ran(self) -> Collection[RunTensors]:
        """The combinations of inputs and outputs that were run."""
        return self._servable.ran


class VersionInUse:
    """A version in use, until the context ends."""

    __slots__ = ("_changed", "_loaded", "_lock")

    def __init__(self, loaded: Loaded, lock: threading.RLock, changed: threading.Condition) -> None:
        self._loaded = loaded
        self._lock = lock
        self._changed = changed

    def __enter__(self) -> Loaded:
        return self._loaded

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._loaded.uses -= 1
            if self._loaded.is_leaving and not self._loaded.uses:
                self._changed.notify_all()


class _Phase(Enum):
    NEW = auto()
    BUSY = auto()
    READY = auto()
    FAILED = auto()


@dataclass(eq=False, slots=True)
class _Version:
    """A version that is wanted, or was wanted until now."""

    name: str
    number: int
    path: Path
    phase: _Phase = _Phase.NEW
    unwanted: threading.Event = field(default_factory=threading.Event)

    @property
    def wanted(self) -> bool:
        return not self.unwanted.is_set()


class Manager:
    """The versions of all models; ``load`` makes a servable from a model's name, version and folder.

    The last argument of ``load`` is None until models are served. Then it has the combinations of inputs and
    outputs that served versions of the model ran.
    """

    def __init__(
        self,
        load: Callable[[str, int, Path, Collection[RunTensors] | None], Runnable],
        options: LoadOptions,
    ) -> None:
        self._load = load
        self._options = options
        self._serves = False
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._versions: dict[str, dict[int, _Version]] = {}
        self._serving: dict[str, dict[int, Loaded]] = {}
        self._states: dict[str, dict[int, VersionState]] = {}
        self._stopped = False
        # Many threads load the first versions: nothing is served yet that they could disturb.
        self._loader: ThreadPoolExecutor | None = ThreadPoolExecutor(4 * (os.cpu_count() or 1))
        self._unloader = _pool(options.unload_threads)
        threading.Thread(target=self._work, name="manager", daemon=True).start()

    # --- which versions to serve ---

    def aspire(self, name: str, paths: Mapping[int, Path]) -> None:
        """Serve these versions of a model and no others of it; a known version keeps its folder."""
        with self._changed:
            versions = self._versions.setdefault(name, {})
            for number, version in versions.items():
                if number in paths:
                    version.unwanted.clear()
                else:
                    version.unwanted.set()
            for number, path in paths.items():
                if number not in versions:
                    versions[number] = _Version(name, number, path)
                    self._set(name, VersionState(number, START))
            self._changed.notify_all()

    def started(self) -> None:
        """Use the number of loading threads of the options from now on."""
        with self._changed:
            self._loader = _pool(self._options.load_threads)
            self._serves = True

    def stop(self) -> None:
        """Begin no more loads and retry none; versions that are served stay so."""
        with self._changed:
            self._stopped = True
            for versions in self._versions.values():
                for version in versions.values():
                    version.unwanted.set()
            self._changed.notify_all()

    # --- which versions are served ---

    def acquire(self, name: str, version: int | None) -> VersionInUse:
        """Return a version that stays loaded inside the context; None means the highest one.

        Raises:
            ServingError: when the version is not served.
        """
        with self._lock:  # the condition's own; to enter the condition takes longer
            loaded = self._find(name, version)
            loaded.uses += 1
        return VersionInUse(loaded, self._lock, self._changed)

    def states(self, name: str, version: int | None) -> list[VersionState]:
        """Return the state of every version so far, the highest first, or of one version.

        Raises:
            ServingError: NOT_FOUND, when there is none.
        """
        with self._changed:
            states = dict(self._states.get(name, {}))
        if not states:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        if version is not None and version not in states:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        numbers = sorted(states, reverse=True) if version is None else [version]
        return [states[number] for number in numbers]

    def is_available(self, name: str, version: int) -> bool:
        """Return whether a version is AVAILABLE."""
        with self._changed:
            state = self._states.get(name, {}).get(version)
        return state is not None and state.state == AVAILABLE

    def settled(self, names: Collection[str], timeout_s: float) -> bool:
        """Wait until each model has an AVAILABLE version or only ended ones; False after ``timeout_s``."""
        with self._changed:
            return self._changed.wait_for(lambda: all(map(self._is_settled, names)), timeout_s)

    def failures(self, names: Collection[str]) -> list[tuple[str, VersionState]]:
        """Return the ended versions of models that have no AVAILABLE version."""
        with self._changed:
            return [
                (name, state)
                for name in names
                if not any(state.state == AVAILABLE for state in self._states.get(name, {}).values())
                for state in self._states.get(name, {}).values()
                if state.state == END
            ]

    def _is_settled(self, name: str) -> bool:
        states = [state.state for state in self._states.get(name, {}).values()]
        return AVAILABLE in states or (bool(states) and all(state == END for state in states))

    def _find(self, name: str, version: int | None) -> Loaded:
        served = self._serving.get(name)
        if served and (version is None or version in served):
            return served[max(served) if version is None else version]
        asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")

    # --- loading and unloading ---

    def _work(self) -> None:
        while not self._stopped:
            with self._changed:
                steps = [step for versions in self._versions.values() if (step := _next(versions))]
                if self._stopped:
                    return
                if not steps:
                    self._forget()
                    self._changed.wait(_LOOK_S)
                    continue
            for version, is_ready in steps:
                self._take(version, is_ready=is_ready)

    def _take(self, version: _Version, *, is_ready: bool) -> None:
        """Unload a version that is ready; load any other."""
        version.phase = _Phase.BUSY
        pool, step = (self._unloader, self._unload) if is_ready else (self._loader, self._bring_up)
        if pool:
            pool.submit(step, version)
        else:
            step(version)

    def _forget(self) -> None:
        """Drop unwanted versions that were never loaded."""
        for versions in self._versions.values():
            for number, version in list(versions.items()):
                if not version.wanted and version.phase in (_Phase.NEW, _Phase.FAILED):
                    self._drop(versions, number)

    def _drop(self, versions: dict[int, _Version], number: int) -> None:
        version = versions.pop(number)
        if version.phase is _Phase.NEW:
            self._set(version.name, VersionState(number, END))

    def _bring_up(self, version: _Version) -> None:
        log("info", f"loading {version.name} version {version.number} from {version.path}")
        self._set(version.name, VersionState(version.number, LOADING))
        try:
            servable = self._try_to_load(version)
        except ServingError as error:
            version.phase = _Phase.FAILED
            self._set(version.name, VersionState(version.number, END, error.code, error.message))
            return
        with self._changed:
            loaded = Loaded(version.name, version.number, servable)
            self._serving.setdefault(version.name, {})[version.number] = loaded
            version.phase = _Phase.READY
            self._set(version.name, VersionState(version.number, AVAILABLE))
        log("info", f"{version.name} version {version.number} is AVAILABLE")

    def _try_to_load(self, version: _Version) -> Runnable:
        for left in range(self._options.retries, -1, -1):
            try:
                return self._load(version.name, version.number, version.path, self._ran(version.name))
            except ServingError as error:
                again = f"; tried again in {self._options.retry_interval_s:g} s" if left else ""
                text = f"{version.name} version {version.number} did not load: {error.message}{again}"
                log("error", text)
                if not left or version.unwanted.wait(self._options.retry_interval_s):
                    raise
            except Exception as error:
                log("error", f"{version.name} version {version.number} did not load", exc_info=True)
                raise ServingError(Code.INTERNAL, str(error)) from error
        raise AssertionError

    def _ran(self, name: str) -> Collection[RunTensors] | None:
        if not self._serves:
            return None
        with self._changed:
            return {run for loaded in self._serving.get(name, {}).values() for run in loaded.ran}

    def _unload(self, version: _Version) -> None:
        started = time.monotonic()
        self._set(version.name, VersionState(version.number, UNLOADING))
        with self._changed:
            loaded = self._serving[version.name].pop(version.number)
            loaded.is_leaving = True
            self._changed.wait_for(lambda: not loaded.uses)
        loaded.close()
        give_back()
        with self._changed:
            del self._versions[version.name][version.number]
            self._set(version.name, VersionState(version.number, END))
        took = time.monotonic() - started
        log("info", f"{version.name} version {version.number} is unloaded, after {took:.1f} s")

    def _set(self, name: str, state: VersionState) -> None:
        with self._changed:
            self._states.setdefault(name, {})[state.version] = state
            self._changed.notify_all()


def _pool(threads: int) -> ThreadPoolExecutor | None:
    return ThreadPoolExecutor(threads) if threads else None


def _next(versions: Mapping[int, _Version]) -> tuple[_Version, bool] | None:
    """Return the next step for a model: a version, and whether the version is ready and to be unloaded.

    A ready version is unloaded only if another wanted one is ready or no version is wanted. New versions are
    loaded from the highest on.
    """
    wanted = [version for version in versions.values() if version.wanted]
    old = [each for each in versions.values() if not each.wanted and each.phase is _Phase.READY]
    if old and (not wanted or any(each.phase is _Phase.READY for each in wanted)):
        return min(old, key=lambda each: each.number), True
    new = [each for each in wanted if each.phase is _Phase.NEW]
    return (max(new, key=lambda each: each.number), False) if new else None
