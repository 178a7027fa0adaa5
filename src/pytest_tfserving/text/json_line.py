"""Lines of files that have one JSON value each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from pytest_tfserving.text.json_value import JsonValue


def value_of(line: str | bytes) -> JsonValue:
    """Return the value of a line.

    Raises:
        ConfigurationError: if the line is not JSON, with the column.
    """
    try:
        value: JsonValue = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"the line is not JSON: {error.msg} at column {error.colno}.") from None
    except (ValueError, RecursionError) as error:  # no text, a number too long, or nested too deeply
        raise ConfigurationError(f"the line is not JSON that can be read: {one_line(str(error))}.") from None
    return value
