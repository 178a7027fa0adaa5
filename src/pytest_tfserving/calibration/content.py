"""The content of a calibration, as the calibration file and the JSON report have it.

A key that readers of older reports cannot rely on is not required.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    from pytest_tfserving.slo.language import Verdict


class Machine(TypedDict):
    """The identity of a machine.

    Attributes:
        cpu: the model of the CPU.
        cores: the number of usable cores.
        ram_gb: the RAM in GB, rounded.
        id: a digest of the machine's own id.
    """

    cpu: str
    cores: int
    ram_gb: int
    id: str


class WanderFigures(TypedDict):
    """The fields of a `Wander`, and the share of the level in its variance."""

    scatter: float
    slow_share: float
    memory_s: float
    level_sd: NotRequired[float]
    noise_sd: NotRequired[float]
    memory_high_s: NotRequired[float]


class PieceTimes(TypedDict):
    """Median times of a piece of work, in ms."""

    wall: float
    cpu: float


class Core(TypedDict):
    """The figures of a core, and curves to draw.

    Attributes:
        waited: the fraction of the time in which pieces of work did not run.
        steal: the fraction of the core's time that the machine's host took; None if it is not known.
        wall: the wander of the wall time.
        cpu: the wander of the CPU time.
        core: the number of the core.
        piece_ms: the median times of a piece of work.
        slowness: rows of the second, and the time of the pieces as a multiple of the median piece.
        autocorrelation: rows of the lag in seconds, the correlation seen, and the correlation fitted.
    """

    waited: float
    steal: float | None
    wall: WanderFigures
    cpu: WanderFigures
    core: NotRequired[int]
    piece_ms: NotRequired[PieceTimes]
    slowness: NotRequired[list[list[float]]]
    autocorrelation: NotRequired[list[list[float]]]


class Neighbour(TypedDict):
    """Another process, with its CPU usage as a fraction of a core."""

    name: str
    pid: int
    cpu: float


class Floor(TypedDict):
    """Figures of the load generator with a server that does almost nothing.

    Attributes:
        p50_ms: the median latency with one user, in ms.
        p95_ms: the 95th percentile of the latency with one user, in ms.
        lag_p95_ms: the 95th percentile of the event loop's lag with one user, in ms.
        rps: the requests a second that one load process can send, with many users.
    """

    p50_ms: float
    p95_ms: float
    lag_p95_ms: float
    rps: float


class GateRun(TypedDict):
    """A run of the gate: its p95 in ms, its requests a second, and the verdict on each SLO."""

    p95_ms: float
    rps: float
    verdicts: dict[str, Verdict]


class Gate(TypedDict):
    """Verdicts on a server whose limits are its own figures: each verdict but INCONCLUSIVE is wrong.

    Attributes:
        server: the name of the server.
        run_time_s: the length of each run in seconds.
        runs: the runs.
        passed: the number of verdicts PASS.
        failed: the number of verdicts FAIL.
        inconclusive: the number of verdicts INCONCLUSIVE.
        invalid: the number of verdicts INVALID.
        p95_limit_ms: the limit of the p95, in ms.
        rps_limit: the limit of the requests a second.
    """

    server: str
    run_time_s: float
    runs: list[GateRun]
    passed: int
    failed: int
    inconclusive: int
    invalid: int
    p95_limit_ms: NotRequired[float]
    rps_limit: NotRequired[float]


class SmallestChanges(TypedDict):
    """The smallest relative change of each figure that a window can show."""

    p95: float
    rps: float
    cpu_per_request: float


class Measurements(TypedDict):
    """All that a calibration measures.

    Attributes:
        machine: the machine.
        measured_at: the start of the calibration, in ISO 8601 and UTC.
        noise_memory_s: the longest noise memory in seconds that verdicts may assume.
        cores: the cores of the load generator and of servers; servers run on the last one.
        generator: the load generator; None if it was not measured.
        gate: verdicts on a server whose limits are its own figures; None if there are none.
        smallest_change: the smallest changes by the length of the window in seconds.
        took_s: the duration of the calibration in seconds.
        neighbours: other processes on the cores.
        left_out: a sentence for each part that could not be measured.
        version: the version of the calibration file.
    """

    machine: Machine
    measured_at: str
    noise_memory_s: float
    cores: list[Core]
    generator: Floor | None
    gate: Gate | None
    smallest_change: dict[str, SmallestChanges]
    took_s: NotRequired[float]
    neighbours: NotRequired[list[Neighbour]]
    left_out: NotRequired[list[str]]
    version: NotRequired[int]


class Calibration(Measurements):
    """A calibration: the measurements, and their meaning in sentences.

    Attributes:
        answer: what the machine is fit for, advice, the largest disturbance, wrong verdicts.
    """

    answer: list[str]


class WanderData(TypedDict):
    """The fields of a `Wander`."""

    scatter: float
    level_sd: float
    noise_sd: float
    memory_s: float
    memory_high_s: float


class ScatterData(TypedDict):
    """The fields of a `RunScatter`."""

    wall: WanderData
    cpu: WanderData
    latency_sd: float
    rate_sd: float
    measured_at: str
