"""What lets the system have the memory of an unloaded model again."""

from __future__ import annotations

import ctypes
import os

_BY_SYSTEM = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"


def use_system_allocator() -> None:
    """Let TensorFlow take memory from the C library, unless the environment says otherwise.

    The allocator that TensorFlow has with oneDNN keeps what a model had for the next one. To be called before
    TensorFlow's library is loaded.
    """
    os.environ.setdefault(_BY_SYSTEM, "1")


def give_back() -> None:
    """Give free memory back to the system, where the C library is one that keeps it otherwise: glibc."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
