"""State of a run of load: the load generator's reports, and the decisions made during the run."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.load.run_record import RunRecorder
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

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
        causes: the causes of errors, by outcome number.
        tracebacks: the tracebacks of a locustfile's exceptions, one of each kind.
        ticks: the first tick and the last two.
        late: the generator's lateness, three numbers each time; see `Lateness`.
        taken_by: a phrase for each process that used the generator's cores.
        settled: the line ``settled``; None before.
        end: the line ``end``; None before.
        aborted: a sentence that says why the run failed; empty while it has not.
        invalid: a sentence that says why figures cannot be believed; empty while they can.
        incomplete: a sentence that says why the run ended too early; empty while it has not.
        pulses: the baseline's pulses.
    """

    monitor: SloMonitor
    watch: LoadWatch
    own_users: bool = False
    causes: dict[int, str] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)
    ticks: list[dict[str, Any]] = field(default_factory=list)
    late: array[float] = field(default_factory=lambda: array("d"))
    taken_by: tuple[str, ...] = ()
    settled: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    aborted: str = ""
    invalid: str = ""
    incomplete: str = ""
    pulses: Sequence[PulseRow] = ()

    def __post_init__(self) -> None:
        self.recorder = RunRecorder(self.watch.unit)

    def hear(self, line: dict[str, Any]) -> None:
        """Process one line of the load generator."""
        for row in line.get("late", ()):
            self.late.extend(row)
        self.watch.hear(line)
        match line["event"]:
            case "cause":
                self.causes[line["index"]] = line["text"]
            case "traceback" if line["text"] not in self.tracebacks:
                self.tracebacks.append(line["text"])
            case "fault":
                self.aborted = self.aborted or one_line(line["text"])
            case "part":
                self.recorder.add(line, self.watch.asked_at(line["at_s"]))
            case "tick":
                self.ticks = [*self.ticks[:1], *self.ticks[1:][-1:], line]
            case "settled":
                self.settled = line
            case "end":
                self.end = line

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
