"""Resources and throttling of replicas, from the metrics of kubelets. No I/O."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.system.resource_usage import CpuReading, ResourceUsage
from pytest_tfserving.targets.kubernetes.names import CONTAINER

if TYPE_CHECKING:
    from pytest_tfserving.targets.kubernetes.objects import ContainerStatistics, Pod, StatisticsSummary

_NANO = 1e-9
_CFS = "container_cpu_cfs_"
_CPU = "container_cpu_usage_seconds_total"


@dataclass(frozen=True, slots=True)
class Throttling:
    """Throttling of a container by its CPU limit since the container's start.

    Attributes:
        periods: the scheduler's periods so far.
        throttled_periods: the periods in which the container was throttled.
        throttled_s: the seconds for which the container was throttled.
    """

    periods: int
    throttled_periods: int
    throttled_s: float

    def __str__(self) -> str:
        share = 100 * self.throttled_periods / self.periods
        return (
            f"its CPU limit throttled it in {self.throttled_periods} of {self.periods} periods "
            f"({share:.0f} %), {self.throttled_s:.1f} s in all"
        )


def usage_of(summary: StatisticsSummary, uid: str) -> ResourceUsage | None:
    """Return the usage of the Pod ``uid`` in a kubelet's ``stats/summary``, None if it is not there."""
    for pod in summary.get("pods") or ():
        if pod["podRef"]["uid"] == uid:
            for container in pod.get("containers") or ():
                if container["name"] == CONTAINER:
                    return _usage(container)
    return None


def _usage(container: ContainerStatistics) -> ResourceUsage:
    cpu, memory = container.get("cpu") or {}, container.get("memory") or {}
    nanos = cpu.get("usageCoreNanoSeconds")
    return ResourceUsage(
        cpu_s=None if nanos is None else nanos * _NANO,
        rss_bytes=memory.get("rssBytes"),
        major_faults=memory.get("majorPageFaults"),
    )


def throttling_of(page: str, pod: Pod) -> Throttling | None:
    """Return the throttling of a Pod's server in a kubelet's ``metrics/cadvisor``; None if it is not there.

    The container is found by its id, because not every kubelet knows the Pod of a cgroup.
    """
    identity = _container_id(pod)
    for path, counts in _limits(page).items():
        if identity and identity in path and counts.get("periods"):
            return Throttling(
                int(counts["periods"]),
                int(counts.get("throttled_periods", 0)),
                counts.get("throttled_seconds", 0.0),
            )
    return None


def cpu_reading_of(page: str, pod: Pod, key: str) -> CpuReading | None:
    """Return the CPU time of a Pod's server in a kubelet's ``metrics/cadvisor``; None if it is not there.

    Kubelets read the CPU time every 10 to 20 s. This page has the time of the reading in ms;
    ``stats/summary`` has it only in seconds.

    Args:
        page: the text of the page.
        pod: the Pod.
        key: the name of the replica in the result.
    """
    from prometheus_client.parser import text_string_to_metric_families

    identity = _container_id(pod)
    lines = [line for line in page.splitlines() if line.startswith(f"{_CPU}{{") and identity in line]
    if not identity:
        return None
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            is_whole = sample.labels.get("cpu", "total") == "total" and identity in sample.labels.get(
                "id", ""
            )
            if is_whole and sample.timestamp is not None:
                return CpuReading(key, float(sample.timestamp), float(sample.value))
    return None


def _container_id(pod: Pod) -> str:
    """Return the server container's id in the container runtime; empty before the container has one."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status["name"] == CONTAINER:
            return str(status.get("containerID", "")).rpartition("//")[2]
    return ""


def _limits(page: str) -> dict[str, dict[str, float]]:
    """Return the counts of CPU limits by cgroup path. Other lines, most of the page, are not parsed."""
    from prometheus_client.parser import text_string_to_metric_families

    lines = [line for line in page.splitlines() if line.startswith(_CFS)]
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            name = sample.name.removeprefix(_CFS).removesuffix("_total")
            found[sample.labels.get("id", "")][name] = sample.value
    return found
