"""Programs that are started in turn get the same addresses, and random ones as ever afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pytest_tfserving.system.fixed_addresses import fixed_addresses

pytestmark = pytest.mark.needs("linux")

# Some builds of Python itself are always at the same addresses.
ADDRESS = "import ctypes; print(ctypes.cast(ctypes.CDLL(None).printf, ctypes.c_void_p).value)"


def addresses(starts: int) -> set[str]:
    """Return where a function of the C library is, in some starts of Python."""
    command = [sys.executable, "-I", "-S", "-c", ADDRESS]
    return {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(starts)}


def test_addresses_are_fixed_inside_the_context_only() -> None:
    with fixed_addresses():
        inside = addresses(3)

    assert len(inside) == 1
    assert len(addresses(3)) > 1


def test_addresses_are_random_again_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), fixed_addresses():
        raise ZeroDivisionError

    assert len(addresses(3)) > 1
