"""The models of a configuration, and access to them by name, version or label."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.status import Code, ServingError, invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pytest_tfserving.model_server.manager import Manager, VersionInUse, VersionState
    from pytest_tfserving.model_server.model_config import ModelConfig
    from pytest_tfserving.model_server.request_log import RequestLogs
    from pytest_tfserving.model_server.source import FileSystemSource

_LOOK_S = 0.1


class Labels:
    """Labels of versions, by model; before the first configuration there are no labels."""

    def __init__(self, manager: Manager, *, unavailable_allowed: bool) -> None:
        self._manager = manager
        self._unavailable_allowed = unavailable_allowed
        self._versions: Mapping[str, Mapping[str, int]] | None = None

    def configure(self, models: Sequence[ModelConfig]) -> None:
        """Use all labels of a configuration, or, if one is invalid, none of them.

        Raises:
            ServingError: when a label stands for a version that is not available.
        """
        for model in models:
            for label, version in model.labels.items():
                self._check(model.name, label, version)
        self._versions = {model.name: dict(model.labels) for model in models}

    def version(self, name: str, label: str) -> int:
        """Return the version that a label stands for.

        Raises:
            ServingError: when the label is unknown, or no configuration has been used yet.
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
    """All models; ``polls`` says whether their folders are searched for versions."""

    def __init__(
        self,
        manager: Manager,
        source: FileSystemSource,
        labels: Labels,
        request_logs: RequestLogs,
        *,
        polls: bool = True,
    ) -> None:
        self.manager = manager
        self.request_logs = request_logs
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
        """Serve these models and no others; return the names of the new ones.

        Raises:
            ServingError: when a label cannot be assigned, or requests cannot be logged as configured; the
                previous configuration then stays in effect.
        """
        with self._configuring:
            self.request_logs.check(models)
            self._labels.configure(models)
            self.request_logs.configure(models)
            before, self._names = self._names, frozenset(model.name for model in models)
            self._configured += 1
            self._source.configure(models)
            if self._polls:
                self._source.poll()
            return self._names - before

    def reconfigure(self, models: Sequence[ModelConfig]) -> None:
        """Configure a server that serves already, and wait until the new models are available.

        Raises:
            ServingError: when a label cannot be assigned, or a model did not become available.
        """
        self.wait_for(self.configure(models))

    def wait_for(self, names: Collection[str]) -> None:
        """Wait until models of the configuration in effect are AVAILABLE.

        Raises:
            ServingError: when a model did not become AVAILABLE, or another configuration replaced this one.
        """
        configured = self._configured
        while not self.manager.settled(names, _LOOK_S):
            if self._stopped or configured != self._configured:
                raise ServingError(Code.ABORTED, "The server stops, or another configuration is in effect")
        failures = self.manager.failures(names)
        if failures:
            shown = "".join(f"{_id(name, state)}, " for name, state in failures)
            raise ServingError(Code.UNKNOWN, f"Some models did not become available: {{{shown}}}")

    def wait_for_the_first(self, timeout_s: float) -> bool:
        """Wait for every model to be AVAILABLE; return False if some are still being loaded.

        Raises:
            ServingError: when a model did not load.
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

    def acquire(self, name: str, version: int | None, label: str) -> VersionInUse:
        """Return a version that stays loaded inside the context.

        Raises:
            ServingError: when the version is not served.
        """
        return self.manager.acquire(name, self._labels.version(name, label) if label else version)

    def stop(self) -> None:
        """Stop waiting for models, and load no more of them."""
        self._stopped = True
        self.manager.stop()

    def poll(self) -> None:
        """Look for new versions in the folders, and for versions that are gone."""
        try:
            self._source.poll()
        except Exception:  # noqa: BLE001 - the next poll may succeed
            log("error", "looking for versions failed", exc_info=True)


def _id(name: str, state: VersionState) -> str:
    return f"{{name: {name} version: {state.version}}}"
