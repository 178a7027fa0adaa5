"""Merging of the lines of several load processes into the lines of one."""

from __future__ import annotations

from typing import Any

from pytest_tfserving.load.recorder import CAUSES_OF_A_PROCESS

_USAGE = ("cpu_s", "wait_s", "steal_s")
_SUMS = ("users", "running", "sent", "to_record", "under_way", "requests", "failures", "rps")
_LISTS = ("late", "stops")
_PART = ("at_s", "users", "running", "sent", "requests", "ended_itself")
# If processes ended for several reasons, the first of these is the run's.
_REASONS = ("failures", "stalled", "stopped", "decided", "time")


class EventMerger:
    """Merger of the lines of ``processes`` load processes.

    - A line that needs no merging is returned at once; a ``cause`` gets an index that no other process uses.
    - A ``tick`` is returned once each process has written one since the last merged tick.
    - ``settled`` and ``end`` are returned once every process has written them.
    - The list ``processes`` in merged lines has the resource usage of each process.
    - A ``part`` is returned at once for each tick: how much load comes from its ``process``.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._said: dict[str, dict[int, dict[str, Any]]] = {"tick": {}, "settled": {}, "end": {}}

    def hear(self, process: int, line: dict[str, Any]) -> list[dict[str, Any]]:
        """Process one line of a process; return the merged lines that are complete now."""
        event = line["event"]
        if event == "cause":
            return [{**line, "index": line["index"] + process * CAUSES_OF_A_PROCESS}]
        if event not in self._said:
            return [line]
        parts = [_part(process, line)] if event == "tick" else []
        said = self._said[event]
        said[process] = _joined(said[process], line) if process in said else line
        if len(said) < self._processes:
            return parts
        lines = [said[each] for each in sorted(said)]
        said.clear()
        return [*parts, _merged(event, lines)]


def _part(process: int, line: dict[str, Any]) -> dict[str, Any]:
    return {"event": "part", "process": process, **{name: line[name] for name in _PART}}


def _joined(before: dict[str, Any], line: dict[str, Any]) -> dict[str, Any]:
    """Return a line of one process, with the lists of the line before, which was not returned yet."""
    return {**line, **{name: [*before[name], *line[name]] for name in _LISTS if name in line}}


def _merged(event: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {
        "event": event,
        "at_s": max(line["at_s"] for line in lines),
        "processes": [{name: line[name] for name in (*_USAGE, "at_s")} for line in lines],
    }
    for name in _LISTS:
        if name in lines[0]:
            merged[name] = [each for line in lines for each in line[name]]
    for name in _SUMS:
        if name in lines[0]:
            merged[name] = sum(line[name] for line in lines)
    if event == "tick":
        merged["p95_ms"] = max((line["p95_ms"] for line in lines if line["p95_ms"] is not None), default=None)
    if event == "end":
        merged["reason"] = min((line["reason"] for line in lines), key=_REASONS.index)
        merged["lag_p95_ms"] = max(line["lag_p95_ms"] for line in lines)
    return merged
