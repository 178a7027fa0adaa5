"""Experiments and their parts, such as shapes and serving options. Frozen data, no I/O."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.client_settings import NO_SETTINGS, ClientSettings
from pytest_tfserving.experiments.model_mix import MixedModel, model_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.experiments.payload_choice import FilePayload, GeneratedPayload
    from pytest_tfserving.slo.language import SloSet
    from pytest_tfserving.text.json_value import JsonObject

PROTOCOLS = ("rest", "grpc")
PAYLOADS = ("json", "jpeg", "raw")
BYTES_PER_GB = 2**30
_EXAMPLE = "shape: 2cpu-4gb-1n"

_SHAPE_SPELLINGS = (
    re.compile(r"(?P<vcpus>-?\d{1,9})vCPU-(?P<ram_gb>-?\d{1,9})GB_(?P<nodes>-?\d{1,9})"),
    re.compile(r"(?P<vcpus>-?\d{1,9})cpu-(?P<ram_gb>-?\d{1,9})gb-(?P<nodes>-?\d{1,9})n"),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a cluster: ``nodes`` machines of ``vcpus`` vCPUs and ``ram_gb`` GB (2**30 bytes).

    Raises:
        ConfigurationError: for a part below 1.
    """

    vcpus: int
    ram_gb: int
    nodes: int

    def __post_init__(self) -> None:
        for part in fields(self):
            value = getattr(self, part.name)
            if value < 1:
                raise ConfigurationError(f"{part.name} of a shape must be 1 or more, not {value}.")

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read ``8vCPU-16GB_2`` or ``8cpu-16gb-2n``.

        Raises:
            ConfigurationError: for any other spelling, and for parts below 1.
        """
        for spelling in _SHAPE_SPELLINGS:
            if match := spelling.fullmatch(text):
                return cls(**{name: int(value) for name, value in match.groupdict().items()})
        raise ConfigurationError(f"{text!r} is not a shape; write it as 8vCPU-16GB_2 or 8cpu-16gb-2n.")

    @property
    def name(self) -> str:
        """The spelling in names of experiments: ``8cpu-16gb-2n``."""
        return f"{self.vcpus}cpu-{self.ram_gb}gb-{self.nodes}n"

    @property
    def machine(self) -> str:
        """The name of one node of the shape: ``8cpu-16gb``."""
        return f"{self.vcpus}cpu-{self.ram_gb}gb"

    @property
    def total_vcpus(self) -> int:
        """The vCPUs of all nodes together."""
        return self.vcpus * self.nodes

    @property
    def ram_bytes(self) -> int:
        """The RAM of one node in bytes."""
        return self.ram_gb * BYTES_PER_GB


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """Fields of TF Serving's ``batching_parameters_file``, with its names and units.

    Raises:
        ConfigurationError: for a timeout below 0, and for any other field below 1.
    """

    max_batch_size: int = 128
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 2
    num_batch_threads: int = 2

    def __post_init__(self) -> None:
        for part in fields(self):
            least = 0 if part.name == "batch_timeout_micros" else 1
            if getattr(self, part.name) < least:
                raise ConfigurationError(
                    f"{part.name} must be {least} or more, not {getattr(self, part.name)}."
                )

    def text(self) -> str:
        """Return the content of a ``batching_parameters_file``."""
        return "".join(f"{part.name} {{ value: {getattr(self, part.name)} }}\n" for part in fields(self))


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """TF Serving's options on a node: two thread counts, and batching (None for no batching).

    Raises:
        ConfigurationError: for a thread count below 1.
    """

    intra_op: int
    inter_op: int
    batching: BatchingParameters | None = None

    def __post_init__(self) -> None:
        for name in ("intra_op", "inter_op"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be 1 or more, not {getattr(self, name)}.")

    def flags(self, batching_file: str = "") -> list[str]:
        """Return flags of ``tensorflow_model_server``; ``batching_file`` is a path on the node."""
        flags = [
            f"--tensorflow_intra_op_parallelism={self.intra_op}",
            f"--tensorflow_inter_op_parallelism={self.inter_op}",
        ]
        if self.batching:
            flags += ["--enable_batching=true", f"--batching_parameters_file={batching_file}"]
        return flags


@dataclass(frozen=True, slots=True)
class NodeRequirements:
    """The nodes of a cluster for a machine: their labels, and the tolerations of Pods for their taints."""

    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LoadPods:
    """The nodes of load Pods, and the CPU and memory of each Pod as Kubernetes quantities."""

    nodes: NodeRequirements = field(default_factory=NodeRequirements)
    cpu: str = "1"
    memory: str = "1Gi"


@dataclass(frozen=True, slots=True)
class Home:
    """The origin of an experiment, with the fixtures and hooks that its tests see there.

    Attributes:
        folder: folder of the experiments file, or of the conftest with the hook, relative to the rootdir.
        fixtures: definitions that override the plugin's fixtures, and the definitions that these depend on,
            each as its name, its place and its function.
        parameters: values that pytest gives to these fixtures, each as the fixture's name and the value.
        manifest_hooks: plugins that change manifests.
        renewals: how often the deployment was set up again.
    """

    folder: str = ""
    fixtures: tuple[tuple[str, str, str], ...] = ()
    parameters: tuple[tuple[str, object], ...] = ()
    manifest_hooks: tuple[str, ...] = ()
    renewals: int = 0

    @property
    def overridden_in(self) -> str:
        """The innermost folder, file or class that overrides a fixture of the plugin; empty without one."""
        return max((place for _, place, _ in self.fixtures), key=len, default="")

    def standing_for(self, fixture: str) -> list[str]:
        """Return, as texts, the definitions and values that override the plugin's ``fixture``."""
        given = [repr(value) for name, value in self.parameters if name == fixture]
        return [f"{place} {function}" for name, place, function in self.fixtures if name == fixture] + given


@dataclass(frozen=True)
class Experiment:
    """A shape, TF Serving's options, a protocol, a load profile and SLOs.

    The name and the home take part in equality on purpose: pytest compares parameters to tell deployments
    apart.

    Attributes:
        name: unique among the experiments of a test; part of test ids and reports.
        shape: machines that the replicas run on, one replica a node.
        options: thread counts and batching of each replica.
        model: name of a model of this package, or path of a SavedModel base folder, which has a ``/``; not
            read if there are ``models``, and neither is ``payload``.
        payload: ``json``, ``jpeg``, ``raw``, path of a ``.json`` file with the body of a request, path of a
            payload set, or a payload set with options.
        profile: the load, unless an option, a mark or ``load()`` chooses another.
        protocol: ``rest`` or ``grpc``.
        slo_by_target: SLOs by name of a target; ``"*"`` is for all targets without an entry.
        target: name of the target that the session runs on; set by the session.
        nodes: nodes of a Kubernetes cluster for the replicas; by default any node.
        load_pods: nodes and size of the Pods that send load from a Kubernetes cluster.
        client: headers and files for TLS of the clients of an existing server.
        has_shape: whether the shape is the user's own; else it is that of this machine.
        home: origin of the experiment and the fixtures that its tests see; set when tests are collected.
        models: several models that the server has together; empty for the single ``model``.

    Raises:
        ConfigurationError: for two models of one name.
    """

    name: str
    shape: Shape
    options: ServingOptions
    model: str
    payload: str | FilePayload | GeneratedPayload
    profile: LoadProfile
    protocol: str = "rest"
    slo_by_target: Mapping[str, SloSet] = field(default_factory=dict)
    target: str = "local"
    nodes: NodeRequirements = field(default_factory=NodeRequirements)
    load_pods: LoadPods = field(default_factory=LoadPods)
    client: ClientSettings = NO_SETTINGS
    has_shape: bool = True
    home: Home = field(default_factory=Home)
    models: tuple[MixedModel, ...] = ()

    def __post_init__(self) -> None:
        names = [each.name for each in self.models]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ConfigurationError(f"experiment {self.name!r} has two models of the name {twice!r}.")

    def __hash__(self) -> int:
        return hash((self.name, self.home))

    @property
    def slo(self) -> SloSet:
        """The SLOs for the session's target."""
        from pytest_tfserving.slo.language import SloSet

        common = self.slo_by_target.get("*", SloSet())
        return self.slo_by_target.get(self.target, common).of(f"{self.name} on target {self.target!r}")

    @property
    def served_models(self) -> tuple[MixedModel, ...]:
        """The models that the server has: several, or a single one."""
        return self.models or (MixedModel(model_name(self.model), self.model, self.payload),)

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names under which the models are served."""
        return tuple(each.name for each in self.served_models)

    @property
    def lacks_for_a_cluster(self) -> str:
        """A sentence on what a cluster has to know and the experiment does not say; empty if nothing."""
        if self.has_shape:
            return ""
        return f"experiment {self.name!r} has no shape, which a cluster needs; give it one, as {_EXAMPLE}."

    @property
    def configuration(self) -> JsonObject:
        """The experiment's shape, options, protocol, model and payload, as plain values for reports."""
        options = self.options
        return {
            "shape": self.shape.name,
            **{part.name: getattr(self.shape, part.name) for part in fields(self.shape)},
            "intra_op": options.intra_op,
            "inter_op": options.inter_op,
            "batching": options.batching is not None,
            "protocol": self.protocol,
            "model": ", ".join(self.model_names) if self.models else self.model,
            "payload": self._payloads if self.models else str(self.payload),
        }

    @property
    def _payloads(self) -> str:
        """The requests of several models, with the models' weights."""
        return ", ".join(f"{each.name}: {each.payload} (weight {each.weight:g})" for each in self.models)

    @property
    def served(self) -> JsonObject:
        """The way the model is served, as plain values, without the server, the model and the request."""
        options = self.options
        return {
            "shape": self.shape.name,
            "intra_op": options.intra_op,
            "inter_op": options.inter_op,
            "batching": asdict(options.batching) if options.batching else None,
            "protocol": self.protocol,
        }

    @property
    def origin(self) -> dict[str, str]:
        """The folder and the overriding place, which tell experiments of one name apart."""
        return {"folder": self.home.folder, "overridden_in": self.home.overridden_in}

    def __str__(self) -> str:
        return self.name


def experiment_name(
    subject: str,
    options: ServingOptions,
    payload: str | FilePayload | GeneratedPayload,
    protocol: str,
    *,
    shows_inter_op: bool,
) -> str:
    """Return a name as ``8cpu-16gb-2n-interop4-batch``, with ``-jpeg`` or ``-raw``, and ``-grpc``, if set.

    Args:
        subject: the beginning of the name: that of the shape, or of the model without a shape.
        options: the thread counts and batching.
        payload: the payload, as `Experiment` has it.
        protocol: the protocol.
        shows_inter_op: whether the name has the inter-op threads.
    """
    parts = [subject]
    if shows_inter_op:
        parts.append(f"interop{options.inter_op}")
    if options.batching:
        parts.append("batch")
    if isinstance(payload, str) and payload in PAYLOADS[1:]:
        parts.append(payload)
    if protocol != PROTOCOLS[0]:
        parts.append(protocol)
    return "-".join(parts)


def name_of_model(model: str) -> str:
    """Return the name of a model: its own, or that of its folder, which may end in a version."""
    path = Path(os.path.abspath(model)) if "/" in model else Path(model)  # noqa: PTH100 - no link is followed
    return path.parent.name if path.name.isdigit() else path.name


def shape_of_machine() -> Shape:
    """Return the shape of an experiment that names none: one node with what this machine can spare.

    The load generator keeps a core, and half of the RAM stays free.
    """
    import psutil

    from pytest_tfserving.system.processes import available_cores

    vcpus = max(len(available_cores()) - 1, 1)
    return Shape(vcpus, max(psutil.virtual_memory().total // 2 // BYTES_PER_GB, 1), 1)
