"""Exceptions of a locustfile's code, from all places: Locust and gevent only log most of them."""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
import threading
import traceback
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
import geventhttpclient
import locust
import requests
import urllib3
from gevent import GreenletExit
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser

from pytest_tfserving.text.foreign_text import lines, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType, TracebackType

    from locust.env import Environment
    from locust.runners import Runner

    OnException = Callable[[BaseException, "Place", TracebackType | None], None]

# Exceptions that tell Locust what a user does next.
CONTROL = (GreenletExit, InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser)
# More tracebacks would hide the verdict.
_MOST_SHOWN = 10
_MOST_LINES = 40
_LONGEST_LINE = 300
_LONGEST_CAUSE = 200
_SEEN_AT = "_pytest_tfserving_seen_at"
# Loggers of Locust for exceptions that Locust also reports by an event.
_LOGGERS = ("locust.user.task", "locust.user.users")


def _folder(module: ModuleType) -> str:
    return f"{Path(str(module.__file__)).parent}{os.sep}"


_LOCUST = _folder(locust)
_OTHERS = (
    *(_LOCUST, _folder(gevent), _folder(geventhttpclient), _folder(requests), _folder(urllib3)),
    f"{Path(__file__).parents[3]}{os.sep}",
)
_STANDARD_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
_INSTALLED = f"{sysconfig.get_path('purelib')}{os.sep}"


class Place(IntEnum):
    """Place where an exception is seen. An exception on its way up passes the places in this order."""

    BLOCK = 0  # leaves a `with` block of a response, or a listener of an event
    GREENLET = 1  # ends a greenlet or a thread that a user started
    TASK = 2  # leaves a task
    USER = 3  # ends a user
    LOCUST = 4  # ends a greenlet that starts users


def is_new(error: BaseException, place: Place) -> bool:
    """Return whether an exception at ``place`` was not seen before on its way there.

    The same object can be raised again. Then it is back at an earlier place, and counts as new.
    """
    before = vars(error).get(_SEEN_AT, place)
    vars(error)[_SEEN_AT] = place
    return bool(place <= before)


def cause_of(error: object) -> str:
    """Return the cause of a failed request, an exception or a text, as one line of limited length."""
    if isinstance(error, str):
        return one_line(error, _LONGEST_CAUSE)
    return one_line(_text(error), _LONGEST_CAUSE) or type(error).__name__


def typed_cause_of(error: BaseException) -> str:
    """Return an exception's type and text as one line of limited length."""
    text = _text(error)
    return one_line(f"{type(error).__name__}: {text}" if text else type(error).__name__, _LONGEST_CAUSE)


def _text(error: object) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - whatever the user's own code raises
        return "an exception whose text cannot be made"


class Tracebacks:
    """Collector of the first traceback of each kind of exception, with the frames of the user's own code.

    A kind is the type of the exception and the lines of the user's own code in its traceback. ``show`` is
    called with each text.
    """

    def __init__(self, show: Callable[[str], object]) -> None:
        self._show = show
        self._kinds: set[tuple[type, tuple[tuple[str, int], ...]]] = set()

    def add(self, error: BaseException, trace: TracebackType | None = None) -> None:
        """Show the traceback of ``error`` if it is the first of its kind."""
        if len(self._kinds) == _MOST_SHOWN:
            return
        trace = trace or error.__traceback__
        kind = (type(error), _own_lines(trace))
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._show(own_traceback(error, trace))


def own_traceback(error: BaseException, trace: TracebackType | None) -> str:
    """Return the text of a traceback with only the frames of the user's own code."""
    found = traceback.TracebackException(type(error), error, trace)
    for each in _chain(found):
        each.stack = traceback.StackSummary.from_list([row for row in each.stack if _is_own(row.filename)])
    rows = lines("".join(found.format())).splitlines()
    if len(rows) > _MOST_LINES:
        half = _MOST_LINES // 2
        rows = [*rows[:half], f"  ... {len(rows) - 2 * half} lines ...", *rows[-half:]]
    return "\n".join(row if len(row) <= _LONGEST_LINE else f"{row[:_LONGEST_LINE]}..." for row in rows)


def _chain(found: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """Yield an exception, its causes, contexts and members of groups."""
    left = [found]
    while left:
        each = left.pop()
        yield each
        comes_from = (each.__cause__, each.__context__, *(each.exceptions or ()))
        left += [other for other in comes_from if other is not None]


def _own_lines(trace: TracebackType | None) -> tuple[tuple[str, int], ...]:
    """Return the innermost lines of the user's own code in a traceback."""
    lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(trace)]
    return tuple(line for line in lines if _is_own(line[0]))[-_MOST_LINES:]


def has_own_part(error: BaseException) -> bool:
    """Return whether the traceback of an exception has a line of the user's own code."""
    return bool(_own_lines(error.__traceback__))


def _is_own(filename: str) -> bool:
    """Return whether a file is the locustfile, or other code of the user."""
    if filename.startswith(_OTHERS) or not Path(filename).is_absolute():
        return False
    return filename.startswith(_INSTALLED) or not filename.startswith(_STANDARD_LIBRARY)


class ExceptionHooks:
    """Hooks that call ``on_exception`` with each exception that Locust or gevent sees, and its place.

    Locust then does not log these exceptions, and gevent does not print them.
    """

    def __init__(self, on_exception: OnException) -> None:
        self.on_exception = on_exception
        self._runner: Runner
        self._print: Callable[[object, type, BaseException, TracebackType | None], None]
        self._end: Callable[[type, BaseException, TracebackType | None], None]
        for name in (None, *_LOGGERS):
            logging.getLogger(name).addFilter(self._take_logged)

    def watch(self, environment: Environment) -> None:
        """Install the hooks for the users and greenlets of an environment, which must have its runner."""
        self._runner = environment.runner
        # The first listener is called even if a listener of the user raises an exception.
        environment.events.user_error._handlers.insert(0, self._on_user_error)  # noqa: SLF001 - no other way
        hub = gevent.get_hub()
        self._print, hub.print_exception = hub.print_exception, self._on_greenlet_error
        self._end, hub.handle_system_error = hub.handle_system_error, self._on_system_error
        threading.excepthook = self._on_thread_error

    def _on_user_error(self, exception: BaseException, tb: TracebackType | None = None, **_: object) -> None:
        self.on_exception(exception, Place.TASK, tb)

    def _on_greenlet_error(
        self, context: object, kind: type, error: BaseException, trace: TracebackType | None
    ) -> None:
        place = self._place_of(context)
        if place is None:
            self._print(context, kind, error, trace)
        else:
            self.on_exception(error, place, trace)

    def _on_system_error(self, kind: type, error: BaseException, trace: TracebackType | None = None) -> None:
        if isinstance(error, SystemExit):
            self.on_exception(error, Place.USER, trace)
        else:
            self._end(kind, error, trace)

    def _on_thread_error(self, ended: threading.ExceptHookArgs) -> None:
        if ended.exc_value:
            self.on_exception(ended.exc_value, Place.GREENLET, ended.exc_traceback)

    def _place_of(self, context: object) -> Place | None:
        """Return the place of the greenlet that ended with an error; None for Locust's own greenlets."""
        runner = self._runner
        if context is None:
            return None
        if context in runner.user_greenlets:
            return Place.USER
        if context in (runner.spawning_greenlet, runner.shape_greenlet):
            return Place.LOCUST
        return None if context in runner.greenlet else Place.GREENLET

    def _take_logged(self, record: logging.LogRecord) -> bool:
        """Report an exception that Locust handles and logs; return whether Locust may log the record."""
        error = sys.exc_info()[1]
        if error is None or record.levelno < logging.ERROR or not record.pathname.startswith(_LOCUST):
            return True
        if record.name in _LOGGERS:
            return False
        if has_own_part(error):
            self.on_exception(error, Place.BLOCK, None)
            return False
        return True
