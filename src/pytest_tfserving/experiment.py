"""What is deployed and measured: shapes, serving options, experiments. Frozen data, no I/O."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.load.profile import LoadProfile
    from pytest_tfserving.slo import SloSet

PROTOCOLS = ("rest", "grpc")
TARGET_NAMES = ("local", "docker", "kubernetes", "url")
PAYLOADS = ("json", "jpeg", "raw")
BYTES_PER_GB = 2**30

_SHAPE_SPELLINGS = (
    re.compile(r"(?P<vcpus>-?\d{1,9})vCPU-(?P<ram_gb>-?\d{1,9})GB_(?P<nodes>-?\d{1,9})"),
    re.compile(r"(?P<vcpus>-?\d{1,9})cpu-(?P<ram_gb>-?\d{1,9})gb-(?P<nodes>-?\d{1,9})n"),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a cluster is made of: ``nodes`` machines of ``vcpus`` vCPUs and ``ram_gb`` GB (2**30 bytes)."""

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
            ConfigurationError: for any other spelling, and for zero or negative parts.
        """
        for spelling in _SHAPE_SPELLINGS:
            if match := spelling.fullmatch(text):
                return cls(**{name: int(value) for name, value in match.groupdict().items()})
        raise ConfigurationError(f"{text!r} is not a shape; write it as 8vCPU-16GB_2 or 8cpu-16gb-2n.")

    @property
    def name(self) -> str:
        """The spelling used in names of experiments."""
        return f"{self.vcpus}cpu-{self.ram_gb}gb-{self.nodes}n"

    @property
    def machine(self) -> str:
        """The name of one of its nodes: ``8cpu-16gb``."""
        return f"{self.vcpus}cpu-{self.ram_gb}gb"

    @property
    def total_vcpus(self) -> int:
        """The vCPUs of all nodes together."""
        return self.vcpus * self.nodes

    @property
    def ram_bytes(self) -> int:
        """RAM of one node."""
        return self.ram_gb * BYTES_PER_GB


@dataclass(frozen=True, slots=True)
class BatchingParameters:
    """The fields of TF Serving's ``batching_parameters_file`` that the experiments set."""

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
        """The content of a ``batching_parameters_file``."""
        return "".join(f"{part.name} {{ value: {getattr(self, part.name)} }}\n" for part in fields(self))


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """How TF Serving is told to use a node; ``intra_op`` and ``inter_op`` are thread counts."""

    intra_op: int
    inter_op: int
    batching: BatchingParameters | None = None

    def __post_init__(self) -> None:
        for name in ("intra_op", "inter_op"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be 1 or more, not {getattr(self, name)}.")

    def flags(self, batching_file: str = "") -> list[str]:
        """The flags of ``tensorflow_model_server``; ``batching_file`` is where its node finds the file."""
        flags = [
            f"--tensorflow_intra_op_parallelism={self.intra_op}",
            f"--tensorflow_inter_op_parallelism={self.inter_op}",
        ]
        if self.batching:
            flags += ["--enable_batching=true", f"--batching_parameters_file={batching_file}"]
        return flags


@dataclass(frozen=True, slots=True)
class NodeRequirements:
    """Which nodes of a cluster are of a shape: labels they have, and taints that are tolerated."""

    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class LoadPods:
    """Where Pods of load run, and what each gets, as Kubernetes writes it."""

    nodes: NodeRequirements = field(default_factory=NodeRequirements)
    cpu: str = "1"
    memory: str = "1Gi"


@dataclass(frozen=True, slots=True)
class Home:
    """The origin of an experiment, and which fixtures and hooks its tests see there.

    ``folder`` is that of the experiments file, or of the conftest with the hook, seen from pytest's rootdir.
    ``fixtures`` are the definitions that override ours, and those that these depend on, each as its name, its
    place and its function. ``parameters`` are the values that pytest gives to these fixtures.
    ``manifest_hooks`` are the plugins that change manifests. ``renewals`` counts how often the deployment was
    set up again.
    """

    folder: str = ""
    fixtures: tuple[tuple[str, str, str], ...] = ()
    parameters: tuple[tuple[str, Any], ...] = ()
    manifest_hooks: tuple[str, ...] = ()
    renewals: int = 0

    @property
    def overridden_in(self) -> str:
        """The innermost folder, file or class with a fixture in the place of ours, empty without one."""
        return max((place for _, place, _ in self.fixtures), key=len, default="")

    def standing_for(self, fixture: str) -> list[str]:
        """Return what stands in the place of our ``fixture``, as text; nothing where ours is used."""
        given = [repr(value) for name, value in self.parameters if name == fixture]
        return [f"{place} {function}" for name, place, function in self.fixtures if name == fixture] + given


@dataclass(frozen=True)
class Experiment:
    """A shape, TF Serving's options, a protocol, a load profile and SLOs.

    Its name and its home take part in equality on purpose: pytest compares parameters to tell deployments
    apart.
    """

    name: str
    shape: Shape
    options: ServingOptions
    model: str
    payload: str
    profile: LoadProfile
    protocol: str = "rest"
    slo_by_target: Mapping[str, SloSet] = field(default_factory=dict)
    target: str = "local"
    nodes: NodeRequirements = field(default_factory=NodeRequirements)
    load_pods: LoadPods = field(default_factory=LoadPods)
    home: Home = field(default_factory=Home)

    def __hash__(self) -> int:
        return hash((self.name, self.home))

    @property
    def slo(self) -> SloSet:
        """The SLOs for the target this session runs on."""
        from pytest_tfserving.slo import SloSet

        common = self.slo_by_target.get("*", SloSet())
        return self.slo_by_target.get(self.target, common).of(f"{self.name} on target {self.target!r}")

    @property
    def configuration(self) -> dict[str, Any]:
        """What tells it from other experiments, as plain values."""
        options = self.options
        return {
            "shape": self.shape.name,
            **{part.name: getattr(self.shape, part.name) for part in fields(self.shape)},
            "intra_op": options.intra_op,
            "inter_op": options.inter_op,
            "batching": options.batching is not None,
            "protocol": self.protocol,
            "model": self.model,
            "payload": self.payload,
        }

    @property
    def served(self) -> dict[str, Any]:
        """Return how it is served, as plain values: all but the server, the model and the request."""
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
        """Return where it comes from, which tells it from others of its name."""
        return {"folder": self.home.folder, "overridden_in": self.home.overridden_in}

    def __str__(self) -> str:
        return self.name


def experiment_name(
    shape: Shape, options: ServingOptions, payload: str = "json", protocol: str = PROTOCOLS[0]
) -> str:
    """``8cpu-16gb-2n-interop4``, with ``-batch``, ``-jpeg`` or ``-raw`` as the picture is sent, ``-grpc``."""
    parts = [shape.name, f"interop{options.inter_op}"]
    if options.batching:
        parts.append("batch")
    if payload in PAYLOADS[1:]:
        parts.append(payload)
    if protocol != PROTOCOLS[0]:
        parts.append(protocol)
    return "-".join(parts)
