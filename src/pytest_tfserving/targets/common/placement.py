"""Placement of replicas and of the load generator on the cores of a machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.experiments.experiment import BYTES_PER_GB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.experiments.experiment import Shape


@dataclass(frozen=True, slots=True)
class Placement:
    """Cores of each replica and of the load generator.

    Attributes:
        replicas: the cores of each replica.
        generator: the cores of the load generator.
        unfit: what the machine lacks for the shape; empty if it lacks nothing.
    """

    replicas: tuple[tuple[int, ...], ...]
    generator: frozenset[int]
    unfit: str = ""

    def __str__(self) -> str:
        count, vcpus = len(self.replicas), len(self.replicas[0])
        size = _vcpus(vcpus)
        return f"a replica of {size}" if count == 1 else f"{count} replicas of {size} each"


def place(shape: Shape, cores: Sequence[int], ram_bytes: int) -> Placement:
    """Give every node its vCPUs and leave at least one core to the load generator.

    If the machine is unfit for the shape, there is one replica on the cores available, to see that it works.

    Args:
        shape: the shape of the experiment.
        cores: the usable cores of the machine.
        ram_bytes: the RAM of the machine in bytes.
    """
    unfit = lacking(shape, len(cores), ram_bytes)
    nodes, vcpus = (1, min(shape.vcpus, max(len(cores) - 1, 1))) if unfit else (shape.nodes, shape.vcpus)
    taken = list(cores)[len(cores) - nodes * vcpus :]
    replicas = tuple(tuple(taken[node * vcpus : (node + 1) * vcpus]) for node in range(nodes))
    return Placement(replicas, frozenset(set(cores) - set(taken)) or frozenset(cores), unfit)


def lacking(shape: Shape, cores: int, ram_bytes: int) -> str:
    """Return what a machine with these ``cores`` and ``ram_bytes`` lacks for ``shape``; empty if nothing."""
    if shape.total_vcpus + 1 > cores:
        also = "" if shape.total_vcpus > cores else " and a core for the load generator"
        return f"needs {_vcpus(shape.total_vcpus)}{also}, this machine has {cores}"
    if shape.ram_bytes * shape.nodes > ram_bytes:
        has = f"this machine has {ram_bytes / BYTES_PER_GB:.0f} GB"
        return f"needs {shape.ram_gb * shape.nodes} GB of RAM, {has}"
    return ""


def lacking_for_two(shape: Shape, ram_bytes: int) -> str:
    """Return what a machine lacks for two servers of ``shape`` on the same cores; empty if nothing."""
    if 2 * shape.ram_bytes * shape.nodes <= ram_bytes:
        return ""
    has = f"this machine has {ram_bytes / BYTES_PER_GB:.0f} GB"
    return f"{shape.name} needs twice {shape.ram_gb * shape.nodes} GB of RAM, and {has}"


def _vcpus(count: int) -> str:
    """Return a number of vCPUs in words."""
    return f"{count} vCPU{'' if count == 1 else 's'}"
