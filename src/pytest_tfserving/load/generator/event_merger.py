"""Merging of the messages of several load processes into the messages of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pytest_tfserving.load.recorder import CAUSES_OF_A_PROCESS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_tfserving.deployment.load_messages import (
        End,
        EndReason,
        LateTimes,
        MergedEnd,
        MergedMessage,
        MergedSettled,
        MergedTick,
        Part,
        RunMessage,
        Settled,
        Tick,
        UsageAt,
    )

_Message = TypeVar("_Message")

# If processes ended for several reasons, the first of these is the run's.
_REASONS: tuple[EndReason, ...] = ("failures", "stalled", "stopped", "decided", "time")


class EventMerger:
    """Merger of the messages of ``processes`` load processes.

    - A message that needs no merging is returned at once; a ``cause`` gets an index that no other process
      uses.
    - A ``tick`` is returned once each process has written one since the last merged tick.
    - ``settled`` and ``end`` are returned once every process has written them.
    - The list ``processes`` in merged messages has the resource usage of each process.
    - A ``part`` is returned at once for each tick: how much load comes from its ``process``.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._ticks: dict[int, Tick] = {}
        self._settled: dict[int, Settled] = {}
        self._ends: dict[int, End] = {}

    def hear(self, process: int, message: RunMessage) -> list[MergedMessage]:
        """Process one message of a process; return the merged messages that are complete now."""
        match message["event"]:
            case "cause":
                return [{**message, "index": message["index"] + process * CAUSES_OF_A_PROCESS}]
            case "tick":
                before = self._ticks.get(process)
                self._ticks[process] = _joined(before, message) if before else message
                ticks = self._complete(self._ticks)
                return [_part(process, message), *([_merged_tick(ticks)] if ticks else [])]
            case "settled":
                self._settled[process] = message
                settled = self._complete(self._settled)
                return [_merged_settled(settled)] if settled else []
            case "end":
                self._ends[process] = message
                ends = self._complete(self._ends)
                return [_merged_end(ends)] if ends else []
            case _:
                return [message]

    def _complete(self, said: dict[int, _Message]) -> list[_Message]:
        """Return the messages of all processes and forget them; none while some are missing."""
        if len(said) < self._processes:
            return []
        found = [said[each] for each in sorted(said)]
        said.clear()
        return found


def _part(process: int, tick: Tick) -> Part:
    return {
        "event": "part",
        "process": process,
        "at_s": tick["at_s"],
        "users": tick["users"],
        "running": tick["running"],
        "sent": tick["sent"],
        "requests": tick["requests"],
        "ended_itself": tick["ended_itself"],
    }


def _joined(before: Tick, tick: Tick) -> Tick:
    """Return a tick of one process, with the lists of the tick before, which was not returned yet."""
    late, stops = [*before["late"], *tick["late"]], [*before["stops"], *tick["stops"]]
    return {**tick, "late": late, "stops": stops}


def _merged_tick(ticks: Sequence[Tick]) -> MergedTick:
    return {
        "event": "tick",
        "at_s": max(tick["at_s"] for tick in ticks),
        "processes": _usage(ticks),
        "users": sum(tick["users"] for tick in ticks),
        "running": sum(tick["running"] for tick in ticks),
        "sent": sum(tick["sent"] for tick in ticks),
        "requests": sum(tick["requests"] for tick in ticks),
        "failures": sum(tick["failures"] for tick in ticks),
        "rps": sum(tick["rps"] for tick in ticks),
        "p95_ms": max((tick["p95_ms"] for tick in ticks if tick["p95_ms"] is not None), default=None),
        **_lists(ticks),
    }


def _merged_settled(settled: Sequence[Settled]) -> MergedSettled:
    return {
        "event": "settled",
        "at_s": max(each["at_s"] for each in settled),
        "processes": _usage(settled),
    }


def _merged_end(ends: Sequence[End]) -> MergedEnd:
    return {
        "event": "end",
        "reason": min((end["reason"] for end in ends), key=_REASONS.index),
        "at_s": max(end["at_s"] for end in ends),
        "processes": _usage(ends),
        "to_record": sum(end["to_record"] for end in ends),
        "under_way": sum(end["under_way"] for end in ends),
        "requests": sum(end["requests"] for end in ends),
        "failures": sum(end["failures"] for end in ends),
        "lag_p95_ms": max(end["lag_p95_ms"] for end in ends),
        **_lists(ends),
    }


def _usage(messages: Sequence[UsageAt]) -> list[UsageAt]:
    return [
        {"cpu_s": each["cpu_s"], "wait_s": each["wait_s"], "steal_s": each["steal_s"], "at_s": each["at_s"]}
        for each in messages
    ]


def _lists(messages: Sequence[LateTimes]) -> LateTimes:
    """Return the late times and the stops of all messages."""
    return {
        "late": [row for each in messages for row in each["late"]],
        "stops": [row for each in messages for row in each["stops"]],
    }
