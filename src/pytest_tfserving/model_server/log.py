"""The server's log: one line for each event, on standard error."""

from __future__ import annotations

import sys
import time
import traceback


def log(level: str, text: str, *, exc_info: bool = False) -> None:
    """Write ``text`` with the time and ``level`` (``info``, ``warning``, ``error``)."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    details = f"\n{traceback.format_exc()}" if exc_info else ""
    sys.stderr.write(f"{stamp} {level}: {text}{details}\n")
    sys.stderr.flush()
