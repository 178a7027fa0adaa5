"""Messages between a baseline's process and its session, each a line of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypedDict, final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.text.json_value import JsonObject


class WorkerPlan(TypedDict):
    """The argument of the process: what to load, where to run, the sockets of its leader or followers.

    The first ``kinds`` of the requests are of different kinds.
    """

    model: str
    requests: str
    kinds: int
    intra_op: int
    inter_op: int
    callers: int
    cores: Sequence[int]
    start_cores: Sequence[int]
    leader: int | None
    followers: Sequence[int]


@final
class ProcessesSpec(TypedDict):
    """Servers that are processes, by their ids."""

    pids: list[int]


@final
class ContainersSpec(TypedDict):
    """Servers that are containers: the address of their engine, and their ids."""

    host: str
    ids: list[str]


FreezerSpec: TypeAlias = ProcessesSpec | ContainersSpec


class RunOrder(TypedDict):
    """The start of a run of load: the file of the load clock, and the servers to freeze."""

    clock: str
    servers: FreezerSpec


class ReadyMessage(TypedDict):
    """The first line of the process: the model's answers, and whether they are always the same."""

    answers: Sequence[JsonObject]
    deterministic: bool


@final
class PulseMessage(TypedDict):
    """A pulse of all replicas; see `PulseRow`."""

    at_s: float
    calls: float
    busy_s: float
    latency_ms: float


@final
class EndMessage(TypedDict):
    """The end of the pulses of a run."""

    ended: bool


RunMessage: TypeAlias = PulseMessage | EndMessage
