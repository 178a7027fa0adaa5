"""Deployment: an experiment running on a target, as every target yields it."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.experiments.client_settings import NO_SETTINGS, ClientSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from pytest_tfserving.deployment.generator_host import GeneratorHost
    from pytest_tfserving.deployment.pulses import Pulses
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.system.resource_usage import ResourceUsage
    from pytest_tfserving.text.json_value import JsonObject, JsonValue

_LOOK_S = 0.05

# Titles and texts that help to find the cause of a failure, as the last lines of a server's log.
Diagnostics: TypeAlias = list[tuple[str, str]]


class Freezer(Protocol):
    """Processes that can be frozen and thawed; a process that has ended is not an error."""

    def freeze(self) -> None:
        """Stop the processes."""

    def thaw(self) -> None:
        """Let the processes go on, whether they are stopped or not."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a replica.

    Attributes:
        host: a host name or an IP address.
        port: the TCP port.
        tls: whether to use TLS.
        protocol: ``rest`` or ``grpc``.
        client: the headers and the files for TLS of its clients.
    """

    host: str
    port: int
    tls: bool = False
    protocol: str = "rest"
    client: ClientSettings = NO_SETTINGS

    @property
    def address(self) -> str:
        """Host and port as gRPC clients take them, as ``host:8500`` or ``[::1]:8500``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        scheme = "http" if self.protocol == "rest" else self.protocol
        return f"{scheme}{'s' if self.tls else ''}://{self.address}"


def addresses_of(replicas: Iterable[Sequence[Endpoint]]) -> dict[str, tuple[Endpoint, ...]]:
    """Return the addresses of all replicas by protocol, from those of each replica."""
    found: dict[str, tuple[Endpoint, ...]] = {}
    for endpoint in itertools.chain.from_iterable(replicas):
        found[endpoint.protocol] = (*found.get(endpoint.protocol, ()), endpoint)
    return found


def _nothing_failed() -> str:
    return ""


def _unknown() -> None:
    return None


def _no_answers() -> dict[int, JsonValue]:
    return {}


def _no_pulses(_: Path) -> None:
    return None


def _no_evidence() -> Diagnostics:
    return []


def _nothing_happened() -> list[str]:
    return []


@dataclass(frozen=True)
class Deployment:
    """An experiment running on a target.

    Attributes:
        experiment: the experiment.
        label: the name of the deployment in results.
        paths: the path of each model in REST, as ``/v1/models/NAME``, by the model's name.
        addresses: the addresses of each protocol, one for each replica or one for all; without the protocols
            whose addresses the target does not know.
        via: the way from the load generator to the replicas, in words.
        generator_cores: the cores of this machine for the load generator; empty if it is not pinned.
        load_place: the host of the load processes; None for this machine.
        unfit: what the target lacks for the shape, so that results are not judged; empty if it lacks nothing.
        nodes: the names of the replicas' nodes in a cluster; empty outside of one.
        environment: how the server runs: its flags, cores, image and so on; becomes a part of results.
        failure: returns a sentence once something in the deployment has died; an empty text before.
        known_after_s: the longest time in seconds until ``failure`` reports a death.
        incidents: returns a sentence for each incident of a replica, oldest first.
        evidence: returns titles and texts that help to find the cause of a failure.
        pulses: returns the baseline's pulses in a run of load, given the path of its clock; None without a
            baseline.
        right_answers: returns the model's outputs in process, by the index of the request in the payload set,
            for the requests where they are known.
        usage: returns the resources that all replicas have used so far; None if they cannot be seen.
        freezer: returns what freezes all replicas; None if they cannot be frozen.
        against: the baseline server that the deployment is compared with; None without one.
        is_configured: whether the target deployed the experiment's shape and options.
    """

    experiment: Experiment
    label: str
    paths: Mapping[str, str]
    addresses: Mapping[str, tuple[Endpoint, ...]]
    via: str
    generator_cores: frozenset[int] = frozenset()
    load_place: GeneratorHost | None = None
    unfit: str = ""
    nodes: tuple[str, ...] = ()
    environment: Mapping[str, object] = field(default_factory=dict)
    failure: Callable[[], str] = _nothing_failed
    known_after_s: float = 0.5
    incidents: Callable[[], Sequence[str]] = _nothing_happened
    evidence: Callable[[], Diagnostics] = _no_evidence
    pulses: Callable[[Path], Pulses | None] = _no_pulses
    right_answers: Callable[[], Mapping[int, JsonValue]] = _no_answers
    usage: Callable[[], ResourceUsage | None] = _unknown
    freezer: Callable[[], Freezer | None] = _unknown
    against: BaselineServer | None = None
    is_configured: bool = True

    @property
    def model(self) -> str:
        """Name under which the model is served; that of the first one if there are several."""
        return next(iter(self.paths))

    @property
    def path(self) -> str:
        """Path of the model in REST; that of the first one if there are several."""
        return self.paths[self.model]

    def path_of(self, model: str) -> str:
        """Return the path of a model in REST; an empty name is that of the only model.

        Raises:
            ConfigurationError: for a model that is not served, and for no name if there are several models.
        """
        if not model and len(self.paths) == 1:
            return self.path
        if model in self.paths:
            return self.paths[model]
        served = list(self.paths)
        if not model:
            raise ConfigurationError(
                f"the request names no model, and several are served; valid: {', '.join(served)}."
            )
        raise ConfigurationError(
            f"the model {model!r} of the request is not served; {nearest(model, served)}."
        )

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """REST addresses; empty if the target does not know them."""
        return self.addresses.get("rest", ())

    @property
    def loaded(self) -> tuple[Endpoint, ...]:
        """Addresses of the experiment's protocol, which load goes to."""
        return self.addresses.get(self.experiment.protocol, ())

    @property
    def configuration(self) -> JsonObject:
        """Configuration of the experiment; empty if the target did not deploy it."""
        return self.experiment.configuration if self.is_configured else {}

    def failure_soon(self) -> str:
        """Return `failure`, but wait for up to `known_after_s` seconds until there is one.

        A connection breaks before the death of the server's process is known.
        """
        deadline = time.monotonic() + self.known_after_s
        while not (cause := self.failure()) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return cause


@dataclass(frozen=True)
class BaselineServer:
    """The server that a deployment is compared with.

    Attributes:
        name: the server as the option names it, as ``image:REF``.
        deployment: the deployment of the server, on the same cores.
        same_model: whether both serve the same model, so that their answers have to be the same.
    """

    name: str
    deployment: Deployment
    same_model: bool = True
