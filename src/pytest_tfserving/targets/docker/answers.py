"""Types of a container engine's answers, with the keys that are read."""

from __future__ import annotations

from typing import TypedDict


class EngineContainerState(TypedDict, total=False):
    """The state of a container."""

    Running: bool
    OOMKilled: bool
    ExitCode: int
    Error: str


class Network(TypedDict, total=False):
    """The address of a container in a network."""

    IPAddress: str
    Gateway: str


class CpuUsage(TypedDict, total=False):
    """CPU time of a container in ns."""

    total_usage: int


class ThrottlingData(TypedDict, total=False):
    """Throttling of a container by its CPU limit; the time is in ns."""

    periods: int
    throttled_periods: int
    throttled_time: int


class EngineCpuStatistics(TypedDict, total=False):
    """CPU statistics of a container."""

    cpu_usage: CpuUsage
    throttling_data: ThrottlingData


class PageStatistics(TypedDict, total=False):
    """Memory pages of a container; names with ``total_`` are those of cgroup version 1."""

    inactive_file: int
    total_inactive_file: int
    pgmajfault: int
    total_pgmajfault: int


class EngineMemoryStatistics(TypedDict, total=False):
    """Memory statistics of a container."""

    usage: int
    stats: PageStatistics


class EngineContainerStatistics(TypedDict, total=False):
    """Statistics of a container."""

    cpu_stats: EngineCpuStatistics
    memory_stats: EngineMemoryStatistics
