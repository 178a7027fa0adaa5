"""What replicas have used, as the kubelets of their nodes count it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tfserving.kube.names import CONTAINER
from pytest_tfserving.targets.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

_NANO = 1e-9


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
