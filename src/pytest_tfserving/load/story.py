"""What the load child said while it ran."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.bare import PulseRow
    from pytest_tfserving.deciding import Decider


@dataclass
class Story:
    """What the child said while it ran, and what was decided meanwhile.

    ``late`` is when it was late, see `Lateness`; ``taken_by`` who took its cores, a few words each.
    """

    decider: Decider
    causes: dict[int, str] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)
    ticks: list[dict[str, Any]] = field(default_factory=list)
    late: list[Sequence[float]] = field(default_factory=list)
    taken_by: tuple[str, ...] = ()
    settled: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    aborted: str = ""
    invalid: str = ""
    incomplete: str = ""
    pulses: Sequence[PulseRow] = ()

    def hear(self, line: dict[str, Any]) -> None:
        """Take in one line of the child."""
        self.late += line.get("late", ())
        match line["event"]:
            case "cause":
                self.causes[line["index"]] = line["text"]
            case "traceback" if line["text"] not in self.tracebacks:
                self.tracebacks.append(line["text"])
            case "fault":
                self.aborted = self.aborted or line["text"]
            case "tick":
                self.ticks.append(line)
            case "settled":
                self.settled = line
            case "end":
                self.end = line

    @property
    def ended_at_s(self) -> float:
        """When the load ended, as far as the child could say."""
        last = self.end or (self.ticks[-1] if self.ticks else None)
        return last["at_s"] if last else 0.0

    @property
    def early_end(self) -> str:
        """Why the child ended the run before its time, empty when it did not."""
        reason = self.end["reason"] if self.end else ""
        return reason if reason in ("failures", "stalled") else ""
