"""The same addresses of code and data in each start of a program.

Linux chooses them at random, and some per cent of a program's speed depend on them, because the use of the
caches does (Mytkowicz et al., ASPLOS 2009).
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of personality(2).
_NO_RANDOM_ADDRESSES = 0x0040000
_ASK = 0xFFFFFFFF


@contextmanager
def fixed_addresses() -> Iterator[None]:
    """Have programs that this thread starts inside the context get the same addresses in each start.

    They are random as ever on other systems than Linux, and in a sandbox that forbids the change.
    """
    if sys.platform != "linux":
        yield
        return
    import ctypes

    personality = ctypes.CDLL(None).personality
    personality.argtypes = [ctypes.c_ulong]
    before = personality(_ASK)
    personality(before | _NO_RANDOM_ADDRESSES)
    try:
        yield
    finally:
        personality(before)
