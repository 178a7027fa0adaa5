"""Messages between pytest and load processes, each one line of JSON.

A load process first reads its plan (`ProcessPlan`), then a `Begin`. If the plan names no file of requests,
lines ``part PLACE BASE64`` with the bytes of the file come before the plan. ``reach`` with rows of a host and
a port asks, before the plan, which of these addresses take no connection from the process's place; the answer
is `Reached`. A line ``stop`` after these ends the run, as does the end of standard input, which says that the
parent has died. ``decided`` ends the run as its run time would. ``again N`` repeats the lines from number
``N`` on with their old numbers: a parent that reads the lines from a cluster's logs may find some missing.
For such a parent the process stays for a while after its last line, until it gets ``stop``.

Every line of a process is a `WrittenMessage`, with a number ``n`` besides. `EventMerger` makes
a `MergedMessage` of those of all processes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A time when a process was late or stood still: its first and last second of the run, and for how many ms.
LateRow: TypeAlias = "Sequence[float]"
# A line that ends a run.
Order: TypeAlias = Literal["stop", "decided"]
# Why a process ended its run.
EndReason: TypeAlias = Literal["failures", "stalled", "stopped", "decided", "time"]


class Begin(TypedDict):
    """The beginning of load: ``origin`` on the parent's clock, and the parent's time ``now``.

    ``same_clock`` says whether the parent and the process have the same clock.
    """

    origin: float
    now: float
    same_clock: bool


class Usage(TypedDict):
    """Resources that a process has used so far, in seconds: CPU, waiting for a core, steal of the host."""

    cpu_s: float
    wait_s: float
    steal_s: float


class UsageAt(Usage):
    """Resources that a process has used until ``at_s``."""

    at_s: float


class LateTimes(TypedDict):
    """Times since the last tick when a process was late (``late``), and when it stood still (``stops``)."""

    late: Sequence[LateRow]
    stops: Sequence[LateRow]


class GeneratorReady(TypedDict):
    """Everything is imported, the plan may come. ``has_shape``: the locustfile has a load shape."""

    event: Literal["ready"]
    has_shape: bool
    version: str


class Refused(TypedDict):
    """The process cannot be used, for example because of its locustfile; nothing follows.

    ``details`` is a traceback, empty without one.
    """

    event: Literal["refused"]
    text: str
    details: str


class Reached(TypedDict):
    """The answer to ``reach``: how each address fails that takes no connection, by ``host:port``."""

    event: Literal["reached"]
    unreachable: Mapping[str, str]


class Cause(TypedDict):
    """A new cause of errors."""

    event: Literal["cause"]
    index: int
    text: str


class Kind(TypedDict):
    """A new name of requests in a locustfile; ``index`` is the last number of their records.

    No other process uses this number.
    """

    event: Literal["kind"]
    index: int
    text: str


class Traceback(TypedDict):
    """An exception of the locustfile's code, the first of its kind."""

    event: Literal["traceback"]
    text: str


class Fault(TypedDict):
    """The run fails, even if measurements were good."""

    event: Literal["fault"]
    text: str


class _TickFigures(LateTimes):
    """The load until ``at_s``.

    ``running`` counts Locust's users. An open loop has one user in each process, which ``users`` omits.
    ``requests`` counts records.
    """

    event: Literal["tick"]
    at_s: float
    users: int
    running: int
    sent: int
    requests: int
    failures: int
    rps: float
    p95_ms: float | None


class Tick(_TickFigures, Usage):
    """The load of one process, twice a second. ``ended_itself``: Locust has stopped the users."""

    ended_itself: bool


class Settled(UsageAt):
    """Load has its level and gets responses."""

    event: Literal["settled"]


class Asked(TypedDict):
    """The locustfile's shape requests another level; only the process that leads says so.

    ``failed`` is the error of the shape's `tick`; empty without one.
    """

    event: Literal["asked"]
    at_s: float
    users: int
    spawn_rate: float
    failed: str


class Leads(TypedDict):
    """Locust's master leads, said twice a second; ``led`` is the same at the end of the run."""

    event: Literal["leads", "led"]
    at_s: float
    stops: Sequence[LateRow]


class _EndFigures(LateTimes):
    """The load of a whole run.

    ``to_record`` counts requests that were sent, or were due and not sent. ``under_way`` counts requests that
    were given up without a response. ``requests`` counts records.
    """

    event: Literal["end"]
    reason: EndReason
    at_s: float
    to_record: int
    under_way: int
    requests: int
    failures: int
    lag_p95_ms: float


class End(_EndFigures, Usage):
    """The end of one process's run, its last message."""


class Records(TypedDict):
    """Records in base64, if the plan names no file for them."""

    event: Literal["records"]
    data: str


class Forgotten(TypedDict):
    """Requested lines were dropped from the replay buffer, and are lost."""

    event: Literal["forgotten"]


class Part(TypedDict):
    """The load of ``process`` in one of its ticks."""

    event: Literal["part"]
    process: int
    at_s: float
    users: int
    running: int
    sent: int
    requests: int
    ended_itself: bool


class MergedTick(_TickFigures):
    """The load of all processes, and the resource usage of each."""

    processes: Sequence[UsageAt]


class MergedSettled(TypedDict):
    """Load has its level and gets responses in all processes."""

    event: Literal["settled"]
    at_s: float
    processes: Sequence[UsageAt]


class MergedEnd(_EndFigures):
    """The end of all processes' run."""

    processes: Sequence[UsageAt]


FirstMessage: TypeAlias = GeneratorReady | Refused
# What a process says of its run.
RunMessage: TypeAlias = Cause | Kind | Traceback | Fault | Tick | Settled | Asked | Leads | End
# What a process says after its first message.
ProcessMessage: TypeAlias = Reached | RunMessage
# Everything that a process writes.
WrittenMessage: TypeAlias = FirstMessage | ProcessMessage | Records | Forgotten
MergedMessage: TypeAlias = (
    Cause | Kind | Traceback | Fault | Part | MergedTick | MergedSettled | Asked | Leads | MergedEnd
)
