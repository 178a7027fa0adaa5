"""Records of responses that were read late, with a clock that the test moves."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_tfserving.load.recorder import FIELDS, Recorder
from pytest_tfserving.load.worker.users.sender import RequestSender

SENT_S = 10.0
READ_S = 10.005


class Kept:
    """Sink that keeps the records."""

    def __init__(self) -> None:
        self.values = array("d")

    def write(self, data: array[float], /) -> None:
        """Keep ``data``."""
        self.values.extend(data)

    def close(self) -> None:
        """Nothing is left to be done."""


def latency_ms(waited_s: float) -> float:
    """Return the recorded latency of a response that is read after 5 ms and has waited for some time."""
    now = SimpleNamespace(s=SENT_S)
    kept = Kept()
    recorder = Recorder(kept, lambda _, text: pytest.fail(text))
    clock = SimpleNamespace(shown_before_s=lambda ago_s: now.s - ago_s)
    judge = SimpleNamespace(wrong=lambda *_: "")
    loop: Any = SimpleNamespace(recorder=recorder, judge=judge, now_s=lambda: now.s, clock=clock, sent=0)
    connection: Any = SimpleNamespace(exchange=None, start=lambda *_: True)
    sender = RequestSender(loop, connection)
    assert sender.start(0, lambda _: None)
    now.s = READ_S
    sender.on_response(200, b"{}", waited_s)
    recorder.flush()
    assert len(kept.values) == FIELDS
    return kept.values[1]


def test_the_latency_ends_when_the_response_came() -> None:
    assert latency_ms(0.002) == pytest.approx(3.0)


@pytest.mark.parametrize("waited_s", [0.0, 0.006, 0.019])
def test_the_latency_ends_when_it_is_read_if_the_wait_is_not_known_or_not_true(waited_s: float) -> None:
    """A response cannot come before its request is sent."""
    assert latency_ms(waited_s) == pytest.approx(5.0)
