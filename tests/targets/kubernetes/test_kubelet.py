"""What kubelets count, read from what a real one said."""

from __future__ import annotations

import pytest

from kubelet_container import CONTAINER_ID, PATHS, pod
from pytest_tfserving.targets.kubernetes.kubelet import container_key
from pytest_tfserving.targets.kubernetes.kubelet_statistics import Throttling, throttling_of

PAGE = """\
# HELP container_cpu_cfs_periods_total Number of elapsed enforcement period intervals.
# TYPE container_cpu_cfs_periods_total counter
container_cpu_cfs_periods_total{{container="",id="/k8s.io/other",image="",name="",namespace="",pod=""}} 7 1
container_cpu_cfs_periods_total{{{labels}}} 120 1795707694659
# HELP container_cpu_cfs_throttled_periods_total Number of throttled period intervals.
# TYPE container_cpu_cfs_throttled_periods_total counter
container_cpu_cfs_throttled_periods_total{{{labels}}} 119 1795707694659
# HELP container_cpu_cfs_throttled_seconds_total Total time duration the container has been throttled.
# TYPE container_cpu_cfs_throttled_seconds_total counter
container_cpu_cfs_throttled_seconds_total{{{labels}}} 7.071957917 1795707694659
# TYPE container_cpu_load_average_10s gauge
container_cpu_load_average_10s{{{labels}}} 0 1795707694659
"""


@pytest.mark.parametrize("labels", PATHS)
def test_what_a_cpu_limit_did_is_found_by_the_containers_id(labels: str) -> None:
    found = throttling_of(PAGE.format(labels=labels), pod(f"containerd://{CONTAINER_ID}"))

    assert found == Throttling(120, 119, 7.071957917)
    assert str(found) == "its CPU limit throttled it in 119 of 120 periods (99 %), 7.1 s in all"


def test_a_container_without_a_period_yet_is_not_told_of() -> None:
    page = PAGE.format(labels=PATHS[0]).replace("} 120 ", "} 0 ")

    assert throttling_of(page, pod(f"containerd://{CONTAINER_ID}")) is None


@pytest.mark.parametrize("container_id", ["containerd://another", ""])
def test_of_another_container_nothing_is_known(container_id: str) -> None:
    assert throttling_of(PAGE.format(labels=PATHS[0]), pod(container_id)) is None


def test_a_container_before_a_restart_is_told_apart() -> None:
    assert container_key(pod("")) == "Pod tfserving-x"
    assert container_key(pod("", restarts=2)) == "Pod tfserving-x after 2 restarts"
