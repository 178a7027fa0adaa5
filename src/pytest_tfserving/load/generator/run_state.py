"""State of a run of load: the load generator's reports, and the decisions made during the run."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.load.kinds import Kinds
from pytest_tfserving.load.run_record import RunRecorder
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pytest_tfserving.deployment.load_messages import (
        LateRow,
        MergedEnd,
        MergedMessage,
        MergedSettled,
        MergedTick,
    )
    from pytest_tfserving.deployment.pulses import PulseRow
    from pytest_tfserving.load.generator.load_watch import LoadWatch
    from pytest_tfserving.slo.monitor import SloMonitor

    Floats = NDArray[np.float64]


@dataclass
class RunState:
    """State of a run of load.

    Attributes:
        monitor: the tests of the SLOs while load runs.
        watch: the comparison of the load reached with the load requested.
        own_users: a locustfile's users made the load.
        kinds: the kinds of requests; load processes say those of a locustfile.
        causes: the causes of errors, by outcome number.
        tracebacks: the tracebacks of a locustfile's exceptions, one of each kind.
        ticks: the first tick and the last two.
        late: the generator's lateness, three numbers each time; see `Lateness`.
        taken_by: a phrase for each process that used the generator's cores.
        settled: the message ``settled``; None before.
        end: the message ``end``; None before.
        aborted: a sentence that says why the run failed; empty while it has not.
        invalid: a sentence that says why figures cannot be believed; empty while they can.
        incomplete: a sentence that says why the run ended too early; empty while it has not.
        pulses: the baseline's pulses.
    """

    monitor: SloMonitor
    watch: LoadWatch
    own_users: bool = False
    kinds: Kinds = field(default_factory=Kinds)
    causes: dict[int, str] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)
    ticks: list[MergedTick] = field(default_factory=list)
    late: array[float] = field(default_factory=lambda: array("d"))
    taken_by: tuple[str, ...] = ()
    settled: MergedSettled | None = None
    end: MergedEnd | None = None
    aborted: str = ""
    invalid: str = ""
    incomplete: str = ""
    pulses: Sequence[PulseRow] = ()

    def __post_init__(self) -> None:
        self.recorder = RunRecorder(self.watch.unit)

    def hear(self, message: MergedMessage) -> None:
        """Process one message of the load generator."""
        self.watch.hear(message)
        match message["event"]:
            case "cause":
                self.causes[message["index"]] = message["text"]
            case "kind":
                self.kinds.add(message["index"], message["text"])
            case "traceback" if message["text"] not in self.tracebacks:
                self.tracebacks.append(message["text"])
            case "fault":
                self.aborted = self.aborted or one_line(message["text"])
            case "part":
                self.recorder.add(message, self.watch.asked_at(message["at_s"]))
            case "tick":
                self._note_late(message["late"])
                self.ticks = [*self.ticks[:1], *self.ticks[1:][-1:], message]
            case "settled":
                self.settled = message
            case "end":
                self._note_late(message["late"])
                self.end = message

    def _note_late(self, rows: Iterable[LateRow]) -> None:
        for row in rows:
            self.late.extend(row)

    @property
    def late_rows(self) -> Floats:
        """Lateness of the generator, shape ``(n, 3)``; see `Lateness`."""
        return np.array(self.late).reshape(-1, 3)

    @property
    def ended_at_s(self) -> float:
        """Second at which the load ended, by the last report."""
        last = self.end or (self.ticks[-1] if self.ticks else None)
        return float(last["at_s"]) if last else 0.0

    @property
    def loaded_until_s(self) -> float:
        """Second until which load was as requested."""
        return min(self.ended_at_s, self.watch.loaded_until_s)

    @property
    def settled_s(self) -> float:
        """Second from which load has the judged level and gets responses; NaN if it never does."""
        if not self.settled or math.isnan(self.watch.steady_since_s):
            return math.nan
        return max(float(self.settled["at_s"]), self.watch.steady_since_s)

    @property
    def early_end(self) -> str:
        """Reason why the generator ended the run early, ``failures`` or ``stalled``; empty if it did not."""
        reason = self.end["reason"] if self.end else ""
        return reason if reason in ("failures", "stalled") else ""
