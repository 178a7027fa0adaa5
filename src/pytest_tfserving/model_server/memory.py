"""Release of an unloaded model's memory to the system."""

from __future__ import annotations

import ctypes
import os

_BY_SYSTEM = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"


def use_system_allocator() -> None:
    """Let TensorFlow take memory from the C library, unless the environment says otherwise.

    TensorFlow's own allocator for oneDNN keeps a model's memory for the next model. Call this function before
    TensorFlow's library is loaded.
    """
    os.environ.setdefault(_BY_SYSTEM, "1")


def give_back() -> None:
    """Give free memory back to the system if the C library is glibc, which otherwise keeps it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
