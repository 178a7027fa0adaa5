"""Errors of the plugin as failed tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import TFServingError, TFServingWarning

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def plain_failures() -> Iterator[None]:
    """Turn the plugin's errors into failed tests: one sentence and its notes, without our traceback.

    Raises:
        pytest.fail.Exception: for an error or a warning of the plugin that is raised inside the context.
    """
    __tracebackhide__ = True
    try:
        yield
    except (TFServingError, TFServingWarning) as error:  # warnings may be errors
        text = "\n".join([str(error), *getattr(error, "__notes__", ())])
        raise pytest.fail.Exception(text, pytrace=False) from None
