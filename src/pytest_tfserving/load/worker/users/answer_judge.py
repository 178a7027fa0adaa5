"""Check of the responses of a run of load against the expectation of each body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.errors import LoadError
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.answer import OTHER_VALUES, expectation, wrong

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfserving.protocols.answer import AnswerForm, ExpectedAnswer

_ANSWERS_REMEMBERED = 32
# Limit of the memory for whole responses.
_MOST_REMEMBERED_BYTES = 1 << 26


class AnswerJudge:
    """Check of responses that does not parse a response again which was right before.

    The first right response to a body that nothing is known of is the expectation for the body's later ones.

    Args:
        protocol: ``rest`` or ``grpc``.
        forms: the form of the answer to each body.
        expected: the content of a right response, by the index of the body, where it is known.
    """

    def __init__(
        self, protocol: str, forms: Sequence[AnswerForm], expected: Mapping[int, ExpectedAnswer]
    ) -> None:
        self._protocol = protocol
        self._forms = forms
        self._successful = SERVING_PROTOCOLS[protocol].success
        self._expected: list[ExpectedAnswer | None] = [expected.get(body) for body in range(len(forms))]
        # Equal expectations of many bodies are one object.
        self._known: dict[str, ExpectedAnswer] = {}
        # The latest right response to each body, and the hashes of bodies with right responses.
        self._last: list[bytes] = [b""] * len(forms)
        self._right: set[int] = set()
        self._most_right = _ANSWERS_REMEMBERED * len(forms)
        self._room_bytes = _MOST_REMEMBERED_BYTES
        self._other_values = ""

    def wrong(self, body: int, status: int, content: bytes) -> str:
        """Return why the response to a body is wrong; empty if it is right."""
        if status == self._successful and content:
            if content == self._last[body]:
                return ""
            if hash((body, content)) in self._right:
                self._remember(body, content)
                return ""
        if cause := self._cause(body, status, content):
            if cause.startswith(OTHER_VALUES):
                # Each example would be a cause of its own.
                self._other_values = self._other_values or cause
                return self._other_values
            return cause
        if len(self._right) < self._most_right:
            self._right.add(hash((body, content)))
            self._remember(body, content)
        return ""

    def _cause(self, body: int, status: int, content: bytes) -> str:
        if expected := self._expected[body]:
            return wrong(status, content, expected)
        try:
            found = expectation(self._forms[body], status, content, self._protocol)
        except LoadError as error:
            return str(error)
        self._expected[body] = self._known.setdefault(repr(found), found)
        return ""

    def _remember(self, body: int, content: bytes) -> None:
        """Keep a right response, if there is room for it."""
        room_bytes = self._room_bytes + len(self._last[body]) - len(content)
        if room_bytes >= 0:
            self._room_bytes = room_bytes
            self._last[body] = content
