"""Ctrl-C and SIGTERM: delayed during a cleanup, and never lost."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
# Signals that came and are not handled yet.
_came: list[int] = []


@contextlib.contextmanager
def without_interruption() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until the context ends, so that a cleanup is not cut short."""
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
    """Let SIGTERM interrupt as Ctrl-C does inside the context, and record both for `raise_if_interrupted`."""
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


def clear_pending() -> None:
    """Clear the pending signals after they were handled."""
    _came.clear()


def raise_if_interrupted() -> None:
    """Raise a KeyboardInterrupt again if Python dropped it in a finaliser or a weak reference's callback.

    Such code runs anywhere, for example at the end of an import, and a signal during it would be lost.

    Raises:
        KeyboardInterrupt: for a signal that came and was not handled.
    """
    if _came and threading.current_thread() is threading.main_thread():
        number = _came[0]
        _came.clear()
        raise KeyboardInterrupt(signal.Signals(number).name)
