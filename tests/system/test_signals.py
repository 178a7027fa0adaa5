"""A signal that ends a run is not lost where Python drops exceptions."""

from __future__ import annotations

import signal

import pytest

from pytest_tfserving.system.signals import ended_by_signals, raise_if_interrupted


class Interrupted:
    """Is interrupted while it is finalised: the exception goes nowhere."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_that_was_dropped_is_raised_again_once(number: signal.Signals) -> None:
    with ended_by_signals():
        raise_if_interrupted()
        Interrupted(number)

        with pytest.raises(KeyboardInterrupt, match=number.name):
            raise_if_interrupted()
        raise_if_interrupted()


def test_handlers_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

    with ended_by_signals():
        pass

    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
