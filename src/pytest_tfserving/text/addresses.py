"""Addresses without their secrets: user, password, query and fragment are never shown."""

from __future__ import annotations

import re
from urllib.parse import unquote

NOT_TAKEN = (
    "has a user, a password, a query or a fragment in it, which is neither sent nor shown, since it may be "
    "secret"
)
RIGHT_WAY = (
    "give the server what it asks for as a header whose value is in the environment: --tfserving-header="
    "'Authorization: Bearer ${NAME}', or headers of the experiment"
)
_MARKS = "@?#;"
_HIDDEN = "***"
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(\S+)")
_QUERY = re.compile(r"(?<=[?#;])\S+$|(?<=%3f)\S+$|(?<=%23)\S+$|(?<=%3b)\S+$", re.IGNORECASE)


def may_have_secrets(address: str) -> bool:
    """Return whether ``address`` has parts besides scheme, host, port and path."""
    return any(mark in unquote(address) for mark in _MARKS)


def without_secrets(text: str) -> str:
    """Return ``text`` with all parts of its addresses hidden that may be secret."""
    return _ADDRESS.sub(_shown, text)


def _shown(address: re.Match[str]) -> str:
    # A password may contain any of the marks, so the last @ counts.
    user, _, place = address[2].rpartition("@")
    hidden = f"{_HIDDEN}@" if user else ""
    return address[1] + hidden + _QUERY.sub(_HIDDEN, place)
