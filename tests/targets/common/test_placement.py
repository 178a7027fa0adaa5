"""Which cores servers and load get."""

from __future__ import annotations

import pytest

from pytest_tfserving.experiments.experiment import Shape
from pytest_tfserving.targets.common.placement import place

GB = 2**30


@pytest.mark.parametrize(
    ("shape", "cores", "replicas", "generator", "unfit"),
    [
        ("1cpu-2gb-1n", 2, [[1]], [0], ""),
        ("1cpu-2gb-2n", 4, [[2], [3]], [0, 1], ""),
        ("2cpu-4gb-1n", 4, [[2, 3]], [0, 1], ""),
        ("2cpu-4gb-1n", 2, [[1]], [0], "needs 2 vCPUs and a core for the load generator, this machine has 2"),
        ("8cpu-16gb-2n", 2, [[1]], [0], "needs 16 vCPUs, this machine has 2"),
        ("1cpu-2gb-1n", 1, [[0]], [0], "needs 1 vCPU and a core for the load generator, this machine has 1"),
        ("1cpu-64gb-1n", 4, [[3]], [0, 1, 2], "needs 64 GB of RAM, this machine has 24 GB"),
    ],
)
def test_cores_are_shared_out(
    shape: str, cores: int, replicas: list[list[int]], generator: list[int], unfit: str
) -> None:
    placement = place(Shape.parse(shape), range(cores), 24 * GB)

    assert (replicas, generator) == ([list(each) for each in placement.replicas], sorted(placement.generator))
    assert unfit == placement.unfit
