"""Events that load processes send while load runs."""

from __future__ import annotations

from typing import Any


def part(at_s: float, running: int, process: int = 0, **more: Any) -> dict[str, Any]:
    """What a process says of itself."""
    line = {"event": "part", "process": process, "at_s": at_s, "users": running, "running": running}
    return {**line, "sent": int(10 * at_s), "requests": int(10 * at_s), "ended_itself": False, **more}
