"""What replicas have used and how they were held back, as the kubelets of their nodes count it. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_tfserving.kube.names import CONTAINER
from pytest_tfserving.targets.usage import CpuReading, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.kube.cluster import Object

_NANO = 1e-9
_CFS = "container_cpu_cfs_"
_CPU = "container_cpu_usage_seconds_total"


@dataclass(frozen=True, slots=True)
class Throttling:
    """What a container's CPU limit did to it since its start, in the scheduler's periods and in seconds."""

    periods: int
    throttled_periods: int
    throttled_s: float

    def __str__(self) -> str:
        share = 100 * self.throttled_periods / self.periods
        return (
            f"its CPU limit throttled it in {self.throttled_periods} of {self.periods} periods "
            f"({share:.0f} %), {self.throttled_s:.1f} s in all"
        )


def usage_of(summary: Mapping[str, Any], uid: str) -> Usage | None:
    """One Pod's part of a kubelet's ``stats/summary``, None where it is not in it."""
    for pod in summary.get("pods") or ():
        if pod["podRef"]["uid"] == uid:
            for container in pod.get("containers") or ():
                if container["name"] == CONTAINER:
                    return _usage(container)
    return None


def _usage(container: Mapping[str, Any]) -> Usage:
    cpu, memory = container.get("cpu") or {}, container.get("memory") or {}
    nanos = cpu.get("usageCoreNanoSeconds")
    return Usage(
        cpu_s=None if nanos is None else nanos * _NANO,
        rss_bytes=memory.get("rssBytes"),
        major_faults=memory.get("majorPageFaults"),
    )


def throttling_of(page: str, pod: Object) -> Throttling | None:
    """One Pod's part of a kubelet's ``metrics/cadvisor``, None where it is not in it, or not counted yet.

    A container is found by its id: not every kubelet knows of a cgroup which Pod it is of.
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


def cpu_reading_of(page: str, pod: Object, key: str) -> CpuReading | None:
    """Return one Pod's CPU in a kubelet's ``metrics/cadvisor`` under ``key``, None where it is not in it.

    Kubelets count it every 10 to 20 s. This page has the time of counting in ms, ``stats/summary`` in s.
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


def _container_id(pod: Object) -> str:
    """The id that the container runtime gave the server's container, empty before it has one."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status["name"] == CONTAINER:
            return str(status.get("containerID", "")).rpartition("//")[2]
    return ""


def _limits(page: str) -> dict[str, dict[str, float]]:
    """The counts of CPU limits by the path of their cgroup; what else a page has is most of it."""
    from prometheus_client.parser import text_string_to_metric_families

    lines = [line for line in page.splitlines() if line.startswith(_CFS)]
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        for sample in family.samples:
            name = sample.name.removeprefix(_CFS).removesuffix("_total")
            found[sample.labels.get("id", "")][name] = sample.value
    return found
