"""Configuration files, which are protocol buffers as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf import text_format

from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.status import Code, ServingError, invalid

if TYPE_CHECKING:
    from google.protobuf.message import Message


def read_text_proto(path: str, name: str, *, secret: bool = False) -> Message:
    """Read the message of type ``name`` from a file.

    The log says where the text is wrong. It quotes the text unless it is ``secret``.

    Raises:
        ServingError: when the file cannot be read, is empty, or is not such a message.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"{path}; {error.strerror}") from None
    except UnicodeDecodeError:
        raise invalid(f"Invalid protobuf file: '{path}'") from None
    if not text:  # TF Serving maps files into memory, which fails for an empty one
        raise invalid(f"{path}; Invalid argument")
    try:
        return text_format.Parse(text, message(name)())
    except text_format.ParseError as error:
        shown = f"{error.GetLine()}:{error.GetColumn()}" if secret else error
        log("error", f"Error parsing text-format {name}: {shown}")
        raise invalid(f"Invalid protobuf file: '{path}'") from None
