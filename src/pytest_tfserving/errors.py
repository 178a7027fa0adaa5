"""The errors and the warnings of this plugin; each text is one sentence that a user can act on."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

_PACKAGE = f"{Path(__file__).parent}{os.sep}"
# A longer name is not a misspelt valid name.
_LONGEST_NAME = 80


class TFServingError(Exception):
    """Base class of the errors below."""


class ConfigurationError(TFServingError):
    """A mistake in the user's input; the text has the value, its place and what is valid."""


class DeploymentError(TFServingError):
    """A deployment that did not become ready, or did not stay ready."""


class LoadError(TFServingError):
    """A failure to put load on a deployment."""


class TFServingWarning(UserWarning):
    """A test that passed on an estimate, on part of its SLOs, on too few requests, or without a verdict."""


def warn_user(text: str) -> None:
    """Issue a `TFServingWarning` that points to the line of the user's code that has called the package."""
    import inspect

    __tracebackhide__ = True
    frame, level = inspect.currentframe(), 1
    while frame and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(TFServingWarning(text), stacklevel=level)


def shown(value: object) -> str:
    """Return ``repr`` of a value from outside, shortened for a sentence."""
    import reprlib

    short = reprlib.Repr()
    short.maxlevel, short.maxlist, short.maxdict, short.maxstring, short.maxother = 3, 10, 10, 80, 80
    try:
        return short.repr(value)
    except ValueError:  # Python does not write numbers of thousands of digits
        return "a number of thousands of digits"


def missing_extra(module: str, extra: str, purpose: str) -> ConfigurationError:
    """Return the error for a missing library that an extra of this package installs."""
    return ConfigurationError(
        f"{purpose} needs {module}, which is not installed: pip install 'pytest-tfserving[{extra}]'."
    )


def nearest(name: str, valid: list[str]) -> str:
    """Return ``did you mean 'x'? valid: a, b, x`` for a misspelt ``name``."""
    import difflib

    close = difflib.get_close_matches(name[:_LONGEST_NAME], valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(valid)}"
