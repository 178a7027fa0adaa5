"""Memory for large requests and between requests, and release of an unloaded model's memory to the system."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys

_BY_SYSTEM = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"
# glibc's mallopt: free memory at the end of a heap beyond the first limit goes back to the system, and blocks
# above the second limit have memory of their own.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _LARGEST_BLOCK_BYTES = 64 * 2**20, 32 * 2**20
# madvise(2) of Linux from 5.14 on; older versions refuse it. The system does not change threads meanwhile.
_POPULATE_WRITE = 23
_POPULATED_BYTES = 2**19


def use_system_allocator() -> None:
    """Let TensorFlow take memory from the C library, unless the environment says otherwise.

    TensorFlow's own allocator for oneDNN keeps a model's memory for the next model. Call this function before
    TensorFlow's library is loaded.
    """
    os.environ.setdefault(_BY_SYSTEM, "1")


def keep_between_requests() -> None:
    """Let glibc keep the memory of a request for the next one.

    A request with a megabyte of numbers takes several, and the system clears each page that it gives.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, _LARGEST_BLOCK_BYTES)


def populate(size_bytes: int, blocks: int) -> None:
    """Get memory from the system for ``blocks`` blocks that this thread is about to allocate.

    The system clears a page at its first use. That takes milliseconds for a large block, and who fills the
    block may hold the interpreter lock. This function does not hold the lock. It does nothing for blocks so
    large that they have memory of their own, which goes back as soon as it is free.
    """
    if sys.platform != "linux" or size_bytes > _LARGEST_BLOCK_BYTES:
        return
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    found = [block for _ in range(blocks) if (block := library.malloc(ctypes.c_size_t(size_bytes)))]
    for block in found:
        start = -(-block // mmap.PAGESIZE) * mmap.PAGESIZE
        end = (block + size_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        for at in range(start, end, _POPULATED_BYTES):
            length = ctypes.c_size_t(min(_POPULATED_BYTES, end - at))
            library.madvise(ctypes.c_void_p(at), length, _POPULATE_WRITE)
    for block in reversed(found):
        library.free(ctypes.c_void_p(block))


def give_back() -> None:
    """Give free memory back to the system if the C library is glibc, which otherwise keeps it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
