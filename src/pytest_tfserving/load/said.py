"""What a load process has said, kept for a parent to whom it comes by a way that may lose some of it."""

from __future__ import annotations

from collections import deque

MOST_BYTES = 64 << 20


class Said:
    """The newest lines, numbered one after another from 1, up to ``most_bytes`` of them."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lines: deque[str] = deque()
        self._bytes = 0
        self._last = 0

    def add(self, line: str) -> None:
        """Keep the next line, and forget the oldest ones that there is no more room for."""
        self._lines.append(line)
        self._bytes += len(line)
        self._last += 1
        while self._bytes > self._most_bytes:
            self._bytes -= len(self._lines.popleft())

    def since(self, number: int) -> list[str] | None:
        """The line of that number and those after it, None if some of them are forgotten."""
        count = self._last - number + 1
        if count > len(self._lines):
            return None
        return list(self._lines)[len(self._lines) - max(count, 0) :]

    def forget(self) -> None:
        """Keep nothing from now on: the parent hears every line."""
        self._most_bytes = self._bytes = 0
        self._lines.clear()
