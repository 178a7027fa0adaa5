"""The models as a configuration names them: configured, asked for by version or label."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.status import Code, ServingError, invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_tfserving.model_server.manager import Manager, Use, VersionState
    from pytest_tfserving.model_server.model_config import ModelConfig
    from pytest_tfserving.model_server.source import FileSystemSource

_LOOK_S = 0.1


class Labels:
    """Names for versions, by model; before the first configuration there are none to ask for."""

    def __init__(self, manager: Manager, *, unavailable_allowed: bool) -> None:
        self._manager = manager
        self._unavailable_allowed = unavailable_allowed
        self._versions: Mapping[str, Mapping[str, int]] | None = None

    def configure(self, models: Sequence[ModelConfig]) -> None:
        """Take over all labels of a configuration, or none.

        Raises:
            ServingError: when a label stands for a version that cannot be asked.
        """
        for model in models:
            for label, version in model.labels.items():
                self._check(model.name, label, version)
        self._versions = {model.name: dict(model.labels) for model in models}

    def version(self, name: str, label: str) -> int:
        """The version that a label stands for.

        Raises:
            ServingError: when it stands for none.
        """
        if self._versions is None:
            raise ServingError(Code.UNAVAILABLE, f"Model labels does not init yet.{label}")
        version = self._versions.get(name, {}).get(label)
        if version is None:
            raise invalid(f"Unrecognized servable version label: {label}")
        return version

    def _check(self, name: str, label: str, version: int) -> None:
        known = (self._versions or {}).get(name, {}).get(label)
        unused = self._unavailable_allowed and known in (None, version)
        if not unused and not self._manager.is_available(name, version):
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model {name}, which is not currently "
                "available for inference",
            )


class ServerCore:
    """All models; ``polls`` is whether their folders are looked at."""

    def __init__(
        self, manager: Manager, source: FileSystemSource, labels: Labels, *, polls: bool = True
    ) -> None:
        self.manager = manager
        self._source = source
        self._labels = labels
        self._polls = polls
        self._configuring = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._configured = 0
        self._stopped = False

    @property
    def names(self) -> frozenset[str]:
        """The models of the configuration in effect."""
        return self._names

    def configure(self, models: Sequence[ModelConfig]) -> frozenset[str]:
        """Serve these models and no others; return the names of those that are new.

        Raises:
            ServingError: when a label cannot be assigned; the configuration stays what it was.
        """
        with self._configuring:
            self._labels.configure(models)
            before, self._names = self._names, frozenset(model.name for model in models)
            self._configured += 1
            self._source.configure(models)
            if self._polls:
                self._source.poll()
            return self._names - before

    def reconfigure(self, models: Sequence[ModelConfig]) -> None:
        """The same on a server that serves already; wait until the new models are there.

        Raises:
            ServingError: when a label cannot be assigned, or a model did not become available.
        """
        self.wait_for(self.configure(models))

    def wait_for(self, names: Collection[str]) -> None:
        """Wait until models of the configuration in effect are AVAILABLE.

        Raises:
            ServingError: when one did not become so, or another configuration came.
        """
        configured = self._configured
        while not self.manager.settled(names, _LOOK_S):
            if self._stopped or configured != self._configured:
                raise ServingError(Code.ABORTED, "The server stops, or another configuration came meanwhile")
        failures = self.manager.failures(names)
        if failures:
            shown = "".join(f"{_id(name, state)}, " for name, state in failures)
            raise ServingError(Code.UNKNOWN, f"Some models did not become available: {{{shown}}}")

    def wait_for_the_first(self, timeout_s: float) -> bool:
        """Wait for every model to be AVAILABLE; False when some still are on their way.

        Raises:
            ServingError: when one did not load.
        """
        if not self.manager.settled(self._names, timeout_s):
            return False
        failures = self.manager.failures(self._names)
        if failures:
            reasons = "".join(
                f"{_id(name, state)} due to error: {state.error_message}}}, " for name, state in failures
            )
            raise ServingError(
                Code.UNKNOWN, f"{len(failures)} servable(s) did not become available: {{{reasons}}}"
            )
        self.manager.started()
        return True

    def acquire(self, name: str, version: int | None, label: str) -> Use:
        """A version that stays loaded inside the context.

        Raises:
            ServingError: when it is not served.
        """
        return self.manager.acquire(name, self._labels.version(name, label) if label else version)

    def stop(self) -> None:
        """Wait for no model any more."""
        self._stopped = True
        self.manager.stop()

    def poll(self) -> None:
        """Look for other versions."""
        try:
            self._source.poll()
        except Exception:  # noqa: BLE001 - the next look may do better
            log("error", "looking for versions failed", exc_info=True)


def _id(name: str, state: VersionState) -> str:
    return f"{{name: {name} version: {state.version}}}"
