"""What the load child said while it ran."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_tfserving.foreign_text import one_line
from pytest_tfserving.load.run_record import RunRecorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pytest_tfserving.deciding import Decider
    from pytest_tfserving.load.asked import LoadWatch
    from pytest_tfserving.targets.pulses import PulseRow

    Floats = NDArray[np.float64]


@dataclass
class Story:
    """What the child said while it ran, what was decided meanwhile, and whether load was as asked.

    ``ticks`` are the first one and the last two. ``late`` is when it was late, three numbers each time, see
    `Lateness`; ``taken_by`` who took its cores, a few words each. ``own_users`` says whether a locustfile's
    users made the load.
    """

    decider: Decider
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
        """Take in one line of the child."""
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
        """When it was late, a row each time."""
        return np.array(self.late).reshape(-1, 3)

    @property
    def ended_at_s(self) -> float:
        """When the load ended, as far as the child could say."""
        last = self.end or (self.ticks[-1] if self.ticks else None)
        return float(last["at_s"]) if last else 0.0

    @property
    def loaded_until_s(self) -> float:
        """Until when load was as asked."""
        return min(self.ended_at_s, self.watch.loaded_until_s)

    @property
    def settled_s(self) -> float:
        """Since when load is at the level that is judged and is answered; NaN where it is not."""
        if not self.settled or math.isnan(self.watch.steady_since_s):
            return math.nan
        return max(float(self.settled["at_s"]), self.watch.steady_since_s)

    @property
    def early_end(self) -> str:
        """Why the child ended the run before its time, empty when it did not."""
        reason = self.end["reason"] if self.end else ""
        return reason if reason in ("failures", "stalled") else ""
