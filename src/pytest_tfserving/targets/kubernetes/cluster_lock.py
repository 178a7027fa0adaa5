"""Exclusive lock on a cluster: a Lease object, renewed while the lock is held."""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pytest_tfserving.errors import TFServingError
from pytest_tfserving.targets.common.ownership import MANAGED_BY, OWNER, US, Owner, owner_of
from pytest_tfserving.targets.kubernetes.cluster import LEASES, ConflictError, NotFoundError, persistently
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.targets.kubernetes.cluster import Cluster
    from pytest_tfserving.targets.kubernetes.objects import Lease

NAME = "pytest-tfserving"
_PURPOSE = "pytest-tfserving/purpose"
# A namespace that every cluster has. The lock is for the whole cluster, not for a namespace.
NAMESPACE = "default"
LASTS_S = 60
_RENEW_S = 10.0
_LOOK_S = 1.0
_SAY_AGAIN_S = 30.0
_AWAY_S = 30.0


class ClusterLock:
    """Exclusive lock on a cluster for this process. ``on_begin`` is called once the lock is acquired."""

    def __init__(self, cluster: Cluster, on_begin: Callable[[], None] = lambda: None) -> None:
        self._cluster = cluster
        self._on_begin = on_begin
        self._identity = f"{getpass.getuser()}@{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._depth = 0

    @contextmanager
    def held(self, purpose: str, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the lock inside the context; while waiting, report the current holder. Nesting is allowed.

        Args:
            purpose: what will be measured, in words, for processes that wait.
            say: called with a line of text while the lock is held elsewhere.
        """
        if self._depth:
            yield
            return
        self._acquire(purpose, say)
        done = threading.Event()
        renewal = threading.Thread(target=self._renew, args=(done,), daemon=True)
        renewal.start()
        self._depth += 1
        try:
            self._on_begin()
            yield
        finally:
            self._depth -= 1
            done.set()
            renewal.join()
            with suppress(TFServingError):
                persistently(self._release, _AWAY_S)

    def _acquire(self, purpose: str, say: Callable[[str], None]) -> None:
        seen: tuple[str, float] = ("", 0.0)
        said_at = 0.0
        while (lease := self._try(purpose)) is not None:
            # Clocks of machines differ, so this process measures for how long the lease has not changed.
            version = lease["metadata"]["resourceVersion"]
            if version != seen[0]:
                seen = version, time.monotonic()
            left_s = LASTS_S - (time.monotonic() - seen[1])
            if left_s <= 0 or _holder_is_gone(lease):
                self._remove(lease)
                continue
            if not said_at or time.monotonic() - said_at > _SAY_AGAIN_S:
                where = f"cluster {self._cluster.context.name}"
                say(f"{purpose} waits for its turn on {where}: {held_by(lease, left_s)}")
                said_at = time.monotonic()
            time.sleep(_LOOK_S)

    def _try(self, purpose: str) -> Lease | None:
        """Create the Lease and return None, or return the Lease that another process holds."""
        try:
            self._cluster.create(LEASES, NAMESPACE, self._lease(purpose))
        except ConflictError:
            return self._cluster.find(LEASES, NAMESPACE, NAME) or self._try(purpose)
        return None

    def _lease(self, purpose: str) -> Lease:
        owner = json.dumps(asdict(Owner.this_process()), sort_keys=True)
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": NAME,
                "labels": {MANAGED_BY: US},
                "annotations": {OWNER: owner, _PURPOSE: purpose},
            },
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": LASTS_S,
                "acquireTime": _now(),
                "renewTime": _now(),
            },
        }

    def _renew(self, done: threading.Event) -> None:
        while not done.wait(_RENEW_S):
            with suppress(TFServingError):
                lease = self._cluster.find(LEASES, NAMESPACE, NAME)
                if lease and _holder(lease) == self._identity:
                    lease["spec"]["renewTime"] = _now()
                    self._cluster.replace(LEASES, NAMESPACE, lease)

    def _release(self) -> None:
        lease = self._cluster.find(LEASES, NAMESPACE, NAME)
        if lease and _holder(lease) == self._identity:
            self._remove(lease)

    def _remove(self, lease: Lease) -> None:
        """Delete the Lease, if it has not changed since it was read."""
        with suppress(ConflictError, NotFoundError):
            self._cluster.delete(LEASES, NAMESPACE, NAME, version=lease["metadata"]["resourceVersion"])


def held_by(lease: Lease, left_s: float) -> str:
    """Return the holder of the lock, its purpose, and when the lease ends without a renewal, in words."""
    holder = _holder(lease).rsplit("-", 1)[0] or "somebody"
    purpose = (lease["metadata"].get("annotations") or {}).get(_PURPOSE, "something")
    measuring = one_line(f"{holder} is measuring {purpose}")
    return f"{measuring} (its lease ends in {left_s:.0f} s unless renewed)"


def _holder(lease: Lease) -> str:
    """Return who has the turn; empty where the Lease, which somebody else can have made, does not say."""
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def _holder_is_gone(lease: Lease) -> bool:
    owner = owner_of(lease["metadata"].get("annotations") or {})
    return bool(owner and owner.is_here and not owner.is_running)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
