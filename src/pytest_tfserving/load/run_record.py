"""The load that a run was asked for and the load that it reached, kept while it runs, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A run of more seconds than this is kept in longer steps.
MOST_STEPS = 1800
USERS, RATE = "users", "requests a second"
# A process speaks so often of what it did since it last spoke.
_HALF_A_TICK_S = 0.25
# A run of five seconds ends so much later, and has no sixth one.
_LATE_S = 0.05


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The load asked for and reached, step by step of ``step_s`` whole seconds each.

    ``asked`` and ``reached`` are levels of load in ``unit``: users, or in an open loop requests a second.
    ``sent`` and ``ended`` are requests a second, ``processes`` how many load processes spoke in the step.
    ``to_record`` is how many requests of the whole run were sent, or were due and not sent: each is to be in
    the records; -1 where no process lived to tell. ``under_way`` of them were not waited for, since the run
    was stopped. ``recorded`` is how many were read.
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
    """One step: the level asked for at its end, each process's users then, and counts of requests."""

    asked: float = 0.0
    users: dict[int, int] = field(default_factory=dict)
    sent: int = 0
    ended: int = 0

    def joined(self, later: _Step) -> _Step:
        """Return this step and the one after it as one."""
        return _Step(
            later.asked if later.users else self.asked,
            {**self.users, **later.users},
            self.sent + later.sent,
            self.ended + later.ended,
        )


class RunRecorder:
    """Takes in what each load process says of itself while load runs.

    An open loop's ``unit`` is `RATE`, and its level what was sent.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self.step_s = 1
        self._steps: list[_Step] = []
        self._before: dict[int, tuple[int, int]] = {}

    def add(self, part: Mapping[str, Any], asked: float) -> None:
        """Take in how much load came from a process until now, and what was asked of all."""
        process, at_s = part["process"], part["at_s"]
        step = self._step(at_s)
        step.asked, step.users[process] = asked, part["users"]
        sent, ended = self._before.get(process, (0, 0))
        counts = self._step(at_s - _HALF_A_TICK_S)
        counts.sent += part["sent"] - sent
        counts.ended += part["requests"] - ended
        self._before[process] = part["sent"], part["requests"]

    def users(self, second: int) -> int:
        """Return how many users ran at the end of a second; 0 where nothing is known."""
        index = second // self.step_s
        return sum(self._steps[index].users.values()) if index < len(self._steps) else 0

    def record(self, run_s: float, asked_at: Callable[[float], float]) -> RunRecord:
        """Return the record of a run that took so long; what was asked while nobody spoke is `asked_at`."""
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
        """Return the step that a time lies in."""
        while (index := max(int(at_s), 0) // self.step_s) >= MOST_STEPS:
            pairs = zip(self._steps[::2], [*self._steps[1::2], _Step()], strict=False)
            self._steps = [first.joined(second) for first, second in pairs]
            self.step_s *= 2
        self._steps += [_Step() for _ in range(index + 1 - len(self._steps))]
        return self._steps[index]
