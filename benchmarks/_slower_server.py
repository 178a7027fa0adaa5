"""The embedded server, which computes ``EXTRA_CPU_S`` seconds more in each call of its model."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pytest_tfserving.model_server.main import main
from pytest_tfserving.model_server.servable import Servable

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def slower(call: Callable[Given, Returned], extra_ns: int) -> Callable[Given, Returned]:
    """Return a function that computes for ``extra_ns`` after each call."""

    def called(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        returned = call(*args, **kwargs)
        until_ns = time.thread_time_ns() + extra_ns
        while time.thread_time_ns() < until_ns:
            pass
        return returned

    return called


if __name__ == "__main__":
    if extra_ns := int(1e9 * float(os.environ["EXTRA_CPU_S"])):
        Servable.run = slower(Servable.run, extra_ns)  # type: ignore[method-assign] # what this server is for
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # As the server's own command does.
    os._exit(code)
