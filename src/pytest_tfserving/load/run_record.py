"""Record of the load that was requested and the load that was reached, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfserving.deployment.load_messages import Part

# A run of more seconds than this is recorded in longer steps.
MOST_STEPS = 1800
USERS, RATE = "users", "requests a second"
# The counts of a tick belong to the time since the last tick, so they are added at the middle of this time.
_HALF_A_TICK_S = 0.25
# A run of five seconds may end this much later without a sixth step.
_LATE_S = 0.05


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Load requested and reached, one value for each step of the run.

    Attributes:
        unit: the unit of levels: users, or requests a second in an open loop.
        step_s: the length of a step, in whole seconds.
        asked: the level requested at the end of each step.
        reached: the level reached in each step.
        sent: requests sent in each step, a second.
        ended: requests that ended in each step, a second.
        processes: the number of load processes that reported in each step.
        to_record: the number of requests of the whole run that must be in the records: those that were sent,
            and those that were due and not sent. -1 if no process lived to report it.
        under_way: how many of these had no response when the run was stopped, and are not recorded.
        recorded: the number of records that were read.
    """

    unit: str
    step_s: int
    asked: tuple[float, ...]
    reached: tuple[float, ...]
    sent: tuple[float, ...]
    ended: tuple[float, ...]
    processes: tuple[int, ...]
    to_record: int = -1
    under_way: int = 0
    recorded: int = 0


@dataclass(slots=True)
class _Step:
    """A step: the level requested at its end, the users of each process then, and counts of requests."""

    asked: float = 0.0
    users: dict[int, int] = field(default_factory=dict)
    sent: int = 0
    ended: int = 0

    def joined(self, later: _Step) -> _Step:
        """Return this step and the ``later`` step, which follows it, as one step."""
        return _Step(
            later.asked if later.users else self.asked,
            {**self.users, **later.users},
            self.sent + later.sent,
            self.ended + later.ended,
        )


class RunRecorder:
    """Recorder of the reports of load processes while load runs.

    In an open loop ``unit`` is `RATE`, and the level reached is the rate of sent requests.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.step_s = 1
        self._steps: list[_Step] = []
        self._before: dict[int, tuple[int, int]] = {}

    def add(self, part: Part, asked: float) -> None:
        """Add a process's report of its load until now, and the level requested of all processes."""
        process, at_s = part["process"], part["at_s"]
        step = self._step(at_s)
        step.asked, step.users[process] = asked, part["users"]
        sent, ended = self._before.get(process, (0, 0))
        counts = self._step(at_s - _HALF_A_TICK_S)
        counts.sent += part["sent"] - sent
        counts.ended += part["requests"] - ended
        self._before[process] = part["sent"], part["requests"]

    def users(self, second: int) -> int:
        """Return how many users ran at the end of a second; 0 if no process reported."""
        index = second // self.step_s
        return sum(self._steps[index].users.values()) if index < len(self._steps) else 0

    def record(self, run_s: float, asked_at: Callable[[float], float]) -> RunRecord:
        """Return the record of a run.

        Args:
            run_s: the duration of the run, in seconds.
            asked_at: returns the level requested at a second, for steps without any report.
        """
        length = max(math.ceil((run_s - _LATE_S) / self.step_s), 1)
        steps = [*self._steps[:length], *[_Step()] * (length - len(self._steps))]
        sent = tuple(round(step.sent / self.step_s, 3) for step in steps)
        users = tuple(float(sum(step.users.values())) for step in steps)
        ends_s = (self.step_s * (index + 1.0) for index in range(length))
        asked = [
            step.asked if step.users else asked_at(end_s) for step, end_s in zip(steps, ends_s, strict=True)
        ]
        return RunRecord(
            unit=self.unit,
            step_s=self.step_s,
            asked=tuple(round(each, 3) for each in asked),
            reached=sent if self.unit == RATE else users,
            sent=sent,
            ended=tuple(round(step.ended / self.step_s, 3) for step in steps),
            processes=tuple(len(step.users) for step in steps),
        )

    def _step(self, at_s: float) -> _Step:
        """Return the step that contains ``at_s``; double the length of steps if there are too many."""
        while (index := max(int(at_s), 0) // self.step_s) >= MOST_STEPS:
            pairs = zip(self._steps[::2], [*self._steps[1::2], _Step()], strict=False)
            self._steps = [first.joined(second) for first, second in pairs]
            self.step_s *= 2
        self._steps += [_Step() for _ in range(index + 1 - len(self._steps))]
        return self._steps[index]
