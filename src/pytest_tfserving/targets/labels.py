"""What every object we create carries, so that it is known as ours, as whose, and until when.

The same texts are labels on a Docker Engine, and labels and annotations on Kubernetes. Objects are deleted by
the run id alone; names decide nothing.
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
# A process's start is computed from the clock, which may be set while it runs.
_CLOCK_TOLERANCE_S = 60.0


def label_value(text: str) -> str:
    """``text`` as Kubernetes takes it for a label's value.

    At most 63 letters, digits, ``-``, ``_`` and ``.``, the first and the last a letter or a digit.
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:_LONGEST_VALUE].strip("-_.")


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that creates objects: where it runs, its id, and its start in seconds since the epoch.

    ``host`` tells apart what can see each other's processes: machines, and containers on one machine.
    """

    host: str
    pid: int
    started_s: float

    @classmethod
    def this_process(cls) -> Owner:
        """The owner of what this process creates."""
        return cls(_this_host(), os.getpid(), psutil.Process().create_time())

    @property
    def is_here(self) -> bool:
        """Whether its processes can be seen from here."""
        return self.host == _this_host()

    @property
    def is_running(self) -> bool:
        """Whether it is seen to run; of one elsewhere nothing is seen."""
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
class Tags:
    """What the objects of one deployment carry. ``run`` is its id, which no other deployment ever has."""

    experiment: str
    keep: str = "never"
    lifetime: timedelta = _LIFETIME
    run: str = field(default_factory=lambda: secrets.token_hex(6))
    owner: Owner = field(default_factory=Owner.this_process)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def labels(self) -> dict[str, str]:
        """What objects are selected by; the values are valid ones of Kubernetes' labels."""
        return {MANAGED_BY: US, RUN: self.run, EXPERIMENT: label_value(self.experiment)}

    @property
    def annotations(self) -> dict[str, str]:
        """What decides whether an object is left over; annotations on Kubernetes, labels on an engine."""
        return {
            EXPIRES_AT: (self.created_at + self.lifetime).isoformat(timespec="seconds"),
            OWNER: json.dumps(asdict(self.owner), sort_keys=True),
            KEEP: self.keep,
        }


def selector(run: str) -> dict[str, str]:
    """The labels of every object of one deployment."""
    return {MANAGED_BY: US, RUN: run}


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Which of our objects nobody needs any more, judged by what they carry.

    Those of ``run`` if it is given. Else those whose process has ended or, where it cannot be seen from
    here, whose time is up. What a user asked to stay counts once its time is up, or with ``kept``.
    """

    run: str = ""
    kept: bool = False
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def include(self, carried: Mapping[str, str]) -> bool:
        """Whether an object with these labels and annotations is one of them."""
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
    """The process that made an object with these annotations, None where they do not say."""
    try:
        written = json.loads(carried[OWNER])
        return Owner(str(written["host"]), int(written["pid"]), float(written["started_s"]))
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return None


def _this_host() -> str:
    """The host's name, and the namespace its process ids are of, where there are such."""
    try:
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()} {namespace}"
