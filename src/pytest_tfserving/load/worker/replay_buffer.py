"""Replay buffer: the lines of a load process, kept for a parent that reads over a lossy channel."""

from __future__ import annotations

from collections import deque

MOST_BYTES = 64 << 20


class ReplayBuffer:
    """Buffer of the newest lines, up to ``most_bytes`` bytes. Lines are numbered from 1."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lines: deque[str] = deque()
        self._bytes = 0
        self._last = 0

    def add(self, line: str) -> None:
        """Add the next line, and drop the oldest lines beyond the limit."""
        self._lines.append(line)
        self._bytes += len(line)
        self._last += 1
        while self._bytes > self._most_bytes:
            self._bytes -= len(self._lines.popleft())

    def since(self, number: int) -> list[str] | None:
        """Return the lines from ``number`` on; None if some of these lines were dropped."""
        count = self._last - number + 1
        if count > len(self._lines):
            return None
        return list(self._lines)[len(self._lines) - max(count, 0) :]

    def forget(self) -> None:
        """Drop all lines and keep none from now on, because the parent reads every line."""
        self._most_bytes = self._bytes = 0
        self._lines.clear()
