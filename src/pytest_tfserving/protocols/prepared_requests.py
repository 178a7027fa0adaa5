"""Requests as load processes send them: each is built once, and all are in one file that processes share.

The file has the bodies one after the other, then a row for each body, then the number of bodies. A row has
the start and the size of the body, its weight, the number of instances that the answer must have (-1 if that
is not known), whether the request is in the columnar format, whether its shapes are not the signature's, and
the number of its path.
"""

from __future__ import annotations

import io
import mmap
import struct
from typing import TYPE_CHECKING, BinaryIO, Self

from pytest_tfserving.protocols.answer import AnswerForm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ROW = struct.Struct("<QQdq??H")
_COUNT = struct.Struct("<Q")
_UNKNOWN = -1
ROWS_KEY, COLUMNS_KEY = "predictions", "outputs"
_PART_BYTES = 1 << 19


class RequestWriter:
    """Writer of prepared requests to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._at = 0
        self._rows: list[bytes] = []

    def add(
        self, body: bytes, form: AnswerForm, weight: float = 1.0, *, odd: bool = False, path_number: int = 0
    ) -> None:
        """Add a request.

        Args:
            body: the bytes that are sent.
            form: the form of the answer.
            weight: how often the request is sent, relative to the others.
            odd: whether the request has another shape than the signature.
            path_number: the number of the path that the request is sent to.
        """
        self._file.write(body)
        rows = _UNKNOWN if form.rows is None else form.rows
        self._rows.append(
            _ROW.pack(self._at, len(body), weight, rows, form.key == COLUMNS_KEY, odd, path_number)
        )
        self._at += len(body)

    def close(self) -> None:
        """Write the rows and their number; the file stays open."""
        self._file.writelines([*self._rows, _COUNT.pack(len(self._rows))])
        self._file.flush()


class PreparedRequests:
    """Prepared requests, which are a sequence of their bodies.

    Attributes:
        weights: how often each request is sent, relative to the others.
        forms: the form of each request's answer.
        odd: the indices of the requests that have another shape than the signature.
        path_numbers: the number of the path that each request is sent to.
        path: the file with the requests; None if they are only in memory.
    """

    def __init__(self, content: bytes | bytearray | mmap.mmap, path: Path | None = None) -> None:
        self._content = memoryview(content)
        self.path = path
        end = len(content) - _COUNT.size
        (count,) = _COUNT.unpack_from(content, end)
        rows = list(_ROW.iter_unpack(self._content[end - count * _ROW.size : end]))
        self._starts = [start for start, *_ in rows]
        self._ends = [start + size for start, size, *_ in rows]
        self.weights = [weight for _, _, weight, *_ in rows]
        self.odd = [index for index, (*_, odd, _) in enumerate(rows) if odd]
        self.path_numbers = [path for *_, path in rows]
        self.forms = [
            AnswerForm(COLUMNS_KEY if columnar else ROWS_KEY, None if number == _UNKNOWN else number)
            for *_, number, columnar, _, _ in rows
        ]

    @classmethod
    def of(cls, body: bytes, form: AnswerForm = AnswerForm()) -> Self:  # noqa: B008 - frozen
        """Return a single request in memory."""
        file = io.BytesIO()
        writer = RequestWriter(file)
        writer.add(body, form)
        writer.close()
        return cls(file.getvalue())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the requests in a file, which is mapped into memory as a whole."""
        with path.open("rb") as file:
            populate = getattr(mmap, "MAP_POPULATE", 0)
            content = mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED | populate, mmap.PROT_READ)
        return cls(content, path)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int, /) -> memoryview:
        return self._content[self._starts[index] : self._ends[index]]

    def __iter__(self) -> Iterator[memoryview]:
        return map(self.__getitem__, range(len(self)))

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return len(self._content)

    def parts(self) -> Iterator[memoryview]:
        """Yield the content of the file in parts."""
        for start in range(0, len(self._content), _PART_BYTES):
            yield self._content[start : start + _PART_BYTES]
