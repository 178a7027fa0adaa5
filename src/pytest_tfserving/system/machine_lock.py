"""The lock of the machine: one measurement at a time, for which every deployment waits."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import stat
import tempfile
import time
import warnings
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from pytest_tfserving.errors import ConfigurationError, TFServingWarning
from pytest_tfserving.system.private_folder import private_folder
from pytest_tfserving.text.foreign_text import one_line
from pytest_tfserving.text.text_file import json_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.text.json_value import JsonValue

_LOOK_S = 0.25
_SAY_AGAIN_S = 30.0
# A link or a pipe that another user put there is not followed or waited for, and nothing is written.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOR_ALL = 0o444
_MOST_BYTES = 1 << 16
_SOMEBODY = "another measurement is running"


class MachineLock:
    """The machine lock; the process that holds the lock may take it again at once.

    The lock consists of two file locks. The first is this user's, in a private folder, beside a file that
    names the holder. The second is for all users, on an empty file in the temporary folder. If another user
    has put something else in its place, a warning says that measurements of other users are not waited for.
    """

    def __init__(self, folder: Path | None = None) -> None:
        temporary = folder or Path(tempfile.gettempdir())
        own = private_folder(temporary)
        self._own = FileLock(own / "lock")
        self._shared = FileLock(temporary / "pytest-tfserving.lock")
        self._holder = own / "holder.json"
        self._depth = 0

    @contextmanager
    def turn(self, purpose: str, say: Callable[[str], None], length_s: float | None = None) -> Iterator[None]:
        """Hold the machine lock inside the context, for about ``length_s``; ``say`` the holder while waiting.

        Raises:
            ConfigurationError: when this user's own lock cannot be taken.
        """
        if not self._depth:
            self._acquire(purpose, say, length_s)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if not self._depth:
                self._release()

    def _acquire(self, purpose: str, say: Callable[[str], None], length_s: float | None) -> None:
        waits = f"{purpose} waits for its turn on this machine"
        try:
            _wait_for(self._own, lambda: say(f"{waits}: {self._held_by()}"))
            until = time.time() + length_s if length_s else None
            holder = {"pid": os.getpid(), "purpose": purpose, "until": until}
            self._holder.write_text(json.dumps(holder), encoding="utf-8")
            self._acquire_shared(lambda: say(f"{waits}: {self._shared.held_by()}"))
        except OSError as error:
            self._release()
            place = error.filename or self._own.path
            text = f"the turn on this machine cannot be taken: {place}: {error.strerror}."
            raise ConfigurationError(text) from None
        except BaseException:
            self._release()
            raise

    def _acquire_shared(self, say: Callable[[], None]) -> None:
        try:
            _wait_for(self._shared, say)
        except OSError as error:
            cause = "it is a link" if error.errno == errno.ELOOP else error.strerror
            text = f"measurements of other users are not waited for: {self._shared.path}: {cause}"
            warnings.warn(TFServingWarning(text), stacklevel=2)

    def _release(self) -> None:
        self._shared.release()
        self._own.release()

    def _held_by(self) -> str:
        try:
            return _holder_text(json_of(self._holder, "holder file", _MOST_BYTES))
        except ConfigurationError:
            return _SOMEBODY


class FileLock:
    """A lock of one process on a file; the file is made if it is missing, and never written to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def take(self) -> bool:
        """Take the lock if it is free; return whether this process has the lock.

        Raises:
            OSError: when the file cannot be opened.
        """
        with ExitStack() as stack:
            file = _opened(self.path)
            stack.callback(os.close, file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A lock on a file that another process has deleted since would lock nobody out.
                taken = os.path.samestat(os.fstat(file), self.path.lstat())
            except (BlockingIOError, FileNotFoundError):
                return False
            if taken:
                stack.pop_all()
                self._file = file
            return taken

    def release(self) -> None:
        """Release the lock if this process has it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def held_by(self) -> str:
        """Return the holder of the lock, as far as the system shows it."""
        with suppress(OSError, ValueError, psutil.Error):
            place = str(self.path.stat().st_ino)
            for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines():
                _, kind, _, _, pid, where, *_ = line.split()
                if kind == "FLOCK" and where.rpartition(":")[2] == place:
                    return f"process {pid} of user {psutil.Process(int(pid)).username()} has it"
        return "another user's measurement is running"


def _holder_text(holder: JsonValue) -> str:
    """Return the holder of the lock, as far as the content of the holder file shows it."""
    match holder:
        case {"pid": int(pid), "purpose": str(purpose), **others}:
            until = others.get("until")
            left_s = until - time.time() if isinstance(until, float) else 0.0
            more = f", for about {left_s:.0f} s more" if 0 < left_s < math.inf else ""
            return one_line(f"process {pid} is measuring {purpose}{more}")
        case _:
            return _SOMEBODY


def _opened(path: Path) -> int:
    """Open a file for locking only.

    Raises:
        OSError: when the path is not a regular file.
    """
    try:
        file = os.open(path, _READ)
    except FileNotFoundError:
        # In two steps, because Linux refuses O_CREAT on an existing file of another user.
        try:
            file = os.open(path, _READ | os.O_CREAT | os.O_EXCL, _FOR_ALL)
        except FileExistsError:
            file = os.open(path, _READ)
        else:
            os.fchmod(file, _FOR_ALL)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "something else than a file is there", str(path))
    return file


def _wait_for(lock: FileLock, say: Callable[[], None]) -> None:
    """Wait until this process has ``lock``; call ``say`` now and then while waiting."""
    said_at = -math.inf
    while not lock.take():
        if time.monotonic() - said_at > _SAY_AGAIN_S:
            say()
            said_at = time.monotonic()
        time.sleep(_LOOK_S)
