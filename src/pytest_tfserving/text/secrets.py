"""Secrets of this process, which are the values of environment variables that requests carry.

Servers, libraries and locustfiles may repeat a secret in any text. So every text from outside passes here.
The secrets are those of the process's own environment. So they are kept for the process, not for a session.
"""

from __future__ import annotations

import base64
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

# The environment variable with the names of the variables that a load process has to hide.
NAMES = "PYTEST_TFSERVING_SECRETS"
_HIDDEN = "***"
# A shorter value occurs by accident, so hiding it would hide other text.
_SHORTEST = 4

_spellings: dict[str, tuple[str, ...]] = {}


def hide(names: Iterable[str]) -> None:
    """Hide the values of environment variables in all texts from now on."""
    for name in names:
        value = os.environ.get(name, "")
        if len(value) >= _SHORTEST:
            known = {*_spellings.get(name, ()), *_spelt(value)}
            _spellings[name] = tuple(sorted(known, key=len, reverse=True))


def hidden_names() -> str:
    """Return the names of the hidden variables, as a value of `NAMES`."""
    return " ".join(_spellings)


def without_hidden(text: str) -> str:
    """Return ``text`` with all hidden values replaced."""
    for spellings in _spellings.values():
        for each in spellings:
            text = text.replace(each, _HIDDEN)
    return text


class HidingStream:
    """A text stream that hides the values in all text that is written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text`` without hidden values; return its length."""
        self._stream.write(without_hidden(text))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def _spelt(value: str) -> Iterator[str]:
    """Yield the forms in which a text may have a value: as it is, and encoded or decoded."""
    yield from (value, quote(value), quote(value, safe=""), json.dumps(value)[1:-1], repr(value)[1:-1])
    with suppress(ValueError):  # what follows the word Basic is a user and a password in base64
        decoded = base64.b64decode(value.rpartition(" ")[2], validate=True).decode("ascii")
        user, colon, password = decoded.partition(":")
        if user and colon and len(password) >= _SHORTEST:
            yield from (decoded, password)
