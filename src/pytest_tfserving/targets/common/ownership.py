"""Labels of the objects that this package creates: whose they are, and until when they are kept.

The same texts are labels on a Docker Engine, and labels and annotations on Kubernetes. Objects are deleted
only by the run id in their labels, never by their name.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

MANAGED_BY = "app.kubernetes.io/managed-by"
US = "pytest-tfserving"
RUN = "pytest-tfserving/run"
EXPERIMENT = "pytest-tfserving/experiment"
EXPIRES_AT = "pytest-tfserving/expires-at"
OWNER = "pytest-tfserving/owner"
KEEP = "pytest-tfserving/keep"

_LONGEST_VALUE = 63
_LIFETIME = timedelta(hours=6)
# The start of a process is computed from the system's clock, which may be changed while the process runs.
_CLOCK_TOLERANCE_S = 60.0


def label_value(text: str) -> str:
    """Return ``text`` as a valid value of a Kubernetes label.

    Such a value has at most 63 letters, digits, ``-``, ``_`` and ``.``; the first and the last character is a
    letter or a digit.
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:_LONGEST_VALUE].strip("-_.")


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that created an object.

    Attributes:
        host: the machine and the PID namespace of the process. Processes with the same ``host`` can see each
            other.
        pid: the process id.
        started_s: the start of the process, in seconds since the epoch.
    """

    host: str
    pid: int
    started_s: float

    @classmethod
    def this_process(cls) -> Owner:
        """Return the owner of the objects that this process creates."""
        return cls(_this_host(), os.getpid(), psutil.Process().create_time())

    @property
    def is_here(self) -> bool:
        """True if this process could see the owner's process."""
        return self.host == _this_host()

    @property
    def is_running(self) -> bool:
        """True if the owner's process runs; False also if this process cannot see the owner's."""
        if not self.is_here:
            return False
        try:
            process = psutil.Process(self.pid)
            only_waits_to_be_reaped = process.status() == psutil.STATUS_ZOMBIE
            apart_s = abs(process.create_time() - self.started_s)
        except (psutil.NoSuchProcess, ValueError, OverflowError):
            return False
        return not only_waits_to_be_reaped and apart_s < _CLOCK_TOLERANCE_S


@dataclass(frozen=True, slots=True)
class OwnershipLabels:
    """Labels and annotations of the objects of one deployment.

    Attributes:
        experiment: the name of the experiment.
        keep: when objects stay after the deployment: ``never``, ``on-failure`` or ``always``.
        lifetime: the time after which a sweep may delete the objects.
        run: the id of the deployment, which no other deployment has.
        owner: the process that creates the objects.
        created_at: the time of creation.
    """

    experiment: str
    keep: str = "never"
    lifetime: timedelta = _LIFETIME
    run: str = field(default_factory=lambda: secrets.token_hex(6))
    owner: Owner = field(default_factory=Owner.this_process)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def labels(self) -> dict[str, str]:
        """Labels to select objects by; the values are valid in Kubernetes."""
        return {MANAGED_BY: US, RUN: self.run, EXPERIMENT: label_value(self.experiment)}

    @property
    def annotations(self) -> dict[str, str]:
        """Values that say when an object is left over: annotations on Kubernetes, labels on an engine."""
        return {
            EXPIRES_AT: (self.created_at + self.lifetime).isoformat(timespec="seconds"),
            OWNER: json.dumps(asdict(self.owner), sort_keys=True),
            KEEP: self.keep,
        }


def selector(run: str) -> dict[str, str]:
    """Return the labels that every object of the deployment ``run`` has."""
    return {MANAGED_BY: US, RUN: run}


@dataclass(frozen=True, slots=True)
class OrphanRule:
    """Rule for objects that are left over, by their labels and annotations.

    An object is left over if its process has ended or, if the process cannot be seen from here, if its
    lifetime is over. An object that a user wanted to keep is left over only after its lifetime.

    Attributes:
        run: the id of a deployment, all of whose objects are left over; empty for the rule above.
        kept: include objects that a user wanted to keep, even before the end of their lifetime.
        now: the time to compare with.
    """

    run: str = ""
    kept: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def include(self, carried: Mapping[str, str]) -> bool:
        """Return whether an object with these labels and annotations is left over."""
        if carried.get(MANAGED_BY) != US or not carried.get(RUN):
            return False
        if self.run:
            return carried[RUN] == self.run
        owner = owner_of(carried)
        if owner and owner.is_running:
            return False
        if self._is_expired(carried):
            return True
        asked_to_stay = carried.get(KEEP, "never") != "never" and not self.kept
        return bool(owner and owner.is_here) and not asked_to_stay

    def _is_expired(self, carried: Mapping[str, str]) -> bool:
        try:
            return datetime.fromisoformat(carried[EXPIRES_AT]) < self.now
        except (KeyError, ValueError, TypeError):
            return False


def owner_of(carried: Mapping[str, str]) -> Owner | None:
    """Return the process that created an object with these annotations; None if they do not say it."""
    try:
        written = json.loads(carried[OWNER])
        return Owner(str(written["host"]), int(written["pid"]), float(written["started_s"]))
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return None


def _this_host() -> str:
    """Return the host's name, with the PID namespace of this process if the system has such namespaces."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()} {namespace}"
