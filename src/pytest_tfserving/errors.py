"""The errors this plugin raises, and its warnings; each text is one sentence a user can act on."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

_PACKAGE = f"{Path(__file__).parent}{os.sep}"
# Nobody means a valid name by a longer one.
_LONGEST_NAME = 80


class TFServingError(Exception):
    """Base of every error below."""


class ConfigurationError(TFServingError):
    """Something the user wrote is wrong: names the value, its place and what would be valid."""


class DeploymentError(TFServingError):
    """A deployment did not become ready, or did not stay so."""


class LoadError(TFServingError):
    """Load could not be put on a deployment."""


class TFServingWarning(UserWarning):
    """A test passed on an estimate, on fewer SLOs than it has, on too few requests, or without a verdict."""


def warn_user(text: str) -> None:
    """Issue a `TFServingWarning` that points to the line of the user's code that has called the package."""
    import inspect

    __tracebackhide__ = True
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(TFServingWarning(text), stacklevel=level)


def shown(value: object) -> str:
    """Return ``repr`` of a value that somebody else wrote, cut to what a sentence has room for."""
    import reprlib

    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxdict, short.maxstring, short.maxother = 3, 10, 10, 80, 80
    try:
        return short.repr(value)
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"


def missing_extra(module: str, extra: str, purpose: str) -> ConfigurationError:
    """The error for a library that an extra of this package brings."""
    return ConfigurationError(
        f"{purpose} needs {module}, which is not installed: pip install 'pytest-tfserving[{extra}]'."
    )


def nearest(name: str, valid: list[str]) -> str:
    """``did you mean 'x'? Valid: a, b, x`` for a misspelt ``name``."""
    import difflib

    close = difflib.get_close_matches(name[:_LONGEST_NAME], valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(valid)}"
