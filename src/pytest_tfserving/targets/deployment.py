"""What every target yields: one experiment running somewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pytest_tfserving.experiment import Experiment
    from pytest_tfserving.load.place import Place
    from pytest_tfserving.targets.pulses import Pulses
    from pytest_tfserving.targets.usage import Usage

_LOOK_S = 0.05

# Titles and texts that help to see why something failed, as the last lines of a server's log.
Evidence: TypeAlias = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The REST or the gRPC address of one replica."""

    host: str
    port: int
    tls: bool = False
    protocol: str = "rest"

    @property
    def address(self) -> str:
        """Host and port, as gRPC's clients take them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        scheme = "grpc" if self.protocol == "grpc" else "http"
        return f"{scheme}{'s' if self.tls else ''}://{self.address}"


def _nothing_failed() -> str:
    return ""


def _unknown() -> None:
    return None


def _no_pulses(_: Path) -> None:
    return None


def _no_evidence() -> Evidence:
    return []


def _nothing_happened() -> list[str]:
    return []


@dataclass(frozen=True)
class Deployment:
    """One experiment running on one target.

    ``label`` is what results call it: the experiment's name where its shape was deployed. ``failure()`` is
    a sentence once something in it has died, known at most ``known_after_s`` later. ``incidents()`` has one
    for each thing that happened to its replicas, oldest first. ``pulses(path)`` are the baseline's in a run
    of load whose clock has that file, and ``right_answer()`` is what the baseline answers, both None where
    there is none. ``load_place`` is where load processes run, this machine where there is none.
    ``usage()`` is what all replicas have used so far, None where nothing of that is seen. ``unfit`` says what
    the target lacks for the shape; such a deployment is never judged. ``endpoints`` are REST,
    ``grpc_endpoints`` gRPC, one a replica in the same order, none where the target does not know them.
    """

    experiment: Experiment
    label: str
    model: str
    path: str
    endpoints: tuple[Endpoint, ...]
    via: str
    grpc_endpoints: tuple[Endpoint, ...] = ()
    generator_cores: frozenset[int] = frozenset()
    load_place: Place | None = None
    unfit: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    failure: Callable[[], str] = _nothing_failed
    known_after_s: float = 0.5
    incidents: Callable[[], Sequence[str]] = _nothing_happened
    evidence: Callable[[], Evidence] = _no_evidence
    pulses: Callable[[Path], Pulses | None] = _no_pulses
    right_answer: Callable[[], Any] = _unknown
    usage: Callable[[], Usage | None] = _unknown

    @property
    def loaded(self) -> tuple[Endpoint, ...]:
        """The addresses that load goes to: those of the experiment's protocol."""
        return self.grpc_endpoints if self.experiment.protocol == "grpc" else self.endpoints

    @property
    def configuration(self) -> dict[str, Any]:
        """The experiment's, where it was deployed as it says."""
        return self.experiment.configuration if self.label == self.experiment.name else {}

    def failure_soon(self) -> str:
        """`failure`, given a moment: a connection breaks before the process that held it is seen to end."""
        deadline = time.monotonic() + self.known_after_s
        while not (cause := self.failure()) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return cause
