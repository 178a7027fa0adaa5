"""Ctrl-C and SIGTERM: put off while something is cleaned up, and never lost."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
# Those that came and were not seen to be acted on.
_came: list[int] = []


@contextlib.contextmanager
def without_interruption() -> Iterator[None]:
    """Ctrl-C and SIGTERM inside take effect on leaving: what cleans up must come to its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {each: signal.signal(each, lambda number, _: came.append(number)) for each in _INTERRUPTS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    for number in came[:1]:
        signal.raise_signal(number)


def _interrupt(number: int, _frame: object) -> None:
    _came.append(number)
    raise KeyboardInterrupt(signal.Signals(number).name)


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Inside, SIGTERM interrupts as Ctrl-C does, and `raise_if_interrupted` knows of both."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [each for each in _INTERRUPTS if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, _interrupt) for each in heeded}
    _came.clear()
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        _came.clear()


def forget_interruption() -> None:
    """It is acted on."""
    _came.clear()


def raise_if_interrupted() -> None:
    """Interrupt again what was not interrupted: Python drops exceptions in finalisers and weak references.

    Those run anywhere, as when an import ends, and a signal that comes meanwhile would be lost.
    """
    if _came and threading.current_thread() is threading.main_thread():
        number = _came[0]
        _came.clear()
        raise KeyboardInterrupt(signal.Signals(number).name)
