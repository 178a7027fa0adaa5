"""Limits of responses, and the errors of reading them."""

from __future__ import annotations

from pytest_tfserving.errors import LoadError
from pytest_tfserving.text.foreign_text import one_line

# Largest first response that is read. Parsed JSON takes several times as much memory.
MOST_BYTES = 1 << 28
MESSAGE_LENGTH = 120


def unreadable(error: Exception) -> str:
    """Return why a response cannot be read or judged, as a text to count errors by."""
    if isinstance(error, LoadError):
        return str(error)
    if isinstance(error, RecursionError):
        return "the response is nested too deeply"
    if isinstance(error, MemoryError):
        return "the response takes more memory than there is"
    return f"the response cannot be read ({type(error).__name__})"


def with_text(problem: str, text: str, most: int = MESSAGE_LENGTH) -> str:
    """Return a problem with the server's own text on it, of at most so many characters, if there is one."""
    shown = one_line(text, most)
    return f"{problem}: {shown}" if shown else problem
