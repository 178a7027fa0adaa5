"""The embedded server, which computes ``EXTRA_CPU_S`` seconds more in each call of its model."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from pytest_tfserving.model_server.main import main
from pytest_tfserving.model_server.servable import Runnable

_EXTRA_NS = int(1e9 * float(os.environ["EXTRA_CPU_S"]))


def _slower() -> None:
    run = Runnable.run

    def slower(*args: Any, **kwargs: Any) -> Any:
        outputs = run(*args, **kwargs)
        until_ns = time.thread_time_ns() + _EXTRA_NS
        while time.thread_time_ns() < until_ns:
            pass
        return outputs

    Runnable.run = slower  # type: ignore[method-assign] # what this server is for


if __name__ == "__main__":
    if _EXTRA_NS:
        _slower()
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # As the server's own command does.
    os._exit(code)
