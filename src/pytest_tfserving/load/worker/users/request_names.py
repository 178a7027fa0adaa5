"""Names of a locustfile's requests, which are the kinds of requests in results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.load.kinds import MOST_NAMES, OTHER_NAMES
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfserving.deployment.load_messages import Kind

# The name of what a locustfile's code raises beside its requests.
EXCEPTIONS = "exceptions"
UNNAMED = "unnamed"
# The numbers of two processes are this far apart.
_NUMBERS_OF_A_PROCESS = 1000
_LONGEST_NAME = 200


class RequestNames:
    """The numbers that stand for names in records; beyond a limit, names are counted together.

    Args:
        process: the number of this load process.
        say: called with each new name and its number.
    """

    def __init__(self, process: int, say: Callable[[Kind], None]) -> None:
        self._first = process * _NUMBERS_OF_A_PROCESS
        self._say = say
        self._numbers: dict[str, int] = {}

    def number(self, name: object) -> int:
        """Return the number of a name; code of the user can have put any value there."""
        if not isinstance(name, str):
            name = ""
        if name in self._numbers:
            return self._numbers[name]
        text = one_line(name, _LONGEST_NAME) or UNNAMED
        if text not in self._numbers and len(self._numbers) >= MOST_NAMES:
            text = OTHER_NAMES
        if text not in self._numbers:
            self._numbers[text] = self._first + len(self._numbers)
            self._say({"event": "kind", "index": self._numbers[text], "text": text})
        return self._numbers[text]
