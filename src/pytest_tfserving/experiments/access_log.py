"""Access logs of web servers, by the format of their lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from pytest_tfserving.errors import ConfigurationError, shown
from pytest_tfserving.experiments.trace import TraceEntry, spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_COMMON = '$remote_addr $ident $remote_user [$time_local] "$request" $status $body_bytes_sent'
# Formats by name: those of Apache and nginx, and nginx's with the exact time at the end.
NAMED = {
    "common": _COMMON,
    "combined": f'{_COMMON} "$http_referer" "$http_user_agent"',
    "msec": f'{_COMMON} "$http_referer" "$http_user_agent" $msec',
}
_VARIABLE = re.compile(r"\$(\w+)")
# The variables with a time, the most exact first; the others have whole seconds.
_TIMES = ("msec", "time_iso8601", "time_local")


@dataclass(frozen=True, slots=True)
class AccessLogFormat:
    """The format of an access log's lines.

    Attributes:
        text: the format as nginx's ``log_format`` has it.
        pattern: the begin of a line in this format, with the time and the request.
        time: the variable that the time is read from.
    """

    text: str
    pattern: re.Pattern[str]
    time: str

    @classmethod
    def of(cls, name: str) -> Self:
        """Return a format by its name, or by the text of nginx's ``log_format``.

        Raises:
            ConfigurationError: for another name, and for a format without a time.
        """
        text = NAMED.get(name, name)
        variables = _VARIABLE.findall(text)
        time = next((each for each in _TIMES if each in variables), "")
        if not time:
            raise ConfigurationError(
                f"log_format {shown(name)} has no time; valid: {', '.join(NAMED)}, or a text in the form of "
                f"nginx's log_format with ${', $'.join(_TIMES[:-1])} or ${_TIMES[-1]}."
            )
        return cls(text, _pattern(text, time), time)

    def requests(self, lines: Iterable[tuple[int, str]], path: Path) -> Iterator[TraceEntry]:
        """Return the requests of numbered lines; those of a whole second are spread evenly over the second.

        Only POST requests count, where the format has the request: others are not predictions.

        Raises:
            ConfigurationError: for a line in another format.
        """
        found = (
            each for number, line in lines if line.strip() and (each := self._request(line, path, number))
        )
        return found if self.time == "msec" else spread(found)

    def _request(self, line: str, path: Path, number: int) -> TraceEntry | None:
        """Return the request of a line; None if it is no POST request."""
        match, place = self.pattern.match(line), f"{path}:{number}"
        if match and "request" in match.groupdict() and not match["request"].startswith("POST "):
            return None
        try:
            return TraceEntry(_seconds(self.time, match[self.time] if match else ""), place)
        except ValueError:
            raise ConfigurationError(
                f"{place}: {shown(line.rstrip())} is not a line of the log_format {self.text!r}."
            ) from None


def _pattern(text: str, time: str) -> re.Pattern[str]:
    """Return the pattern of a format: a variable reaches until the character after it."""
    parts = _VARIABLE.split(text)
    pattern, named = re.escape(parts[0]), set()
    for variable, literal in zip(parts[1::2], parts[2::2], strict=True):
        value = rf"(?:[^{re.escape(literal[0])}\\\n]|\\.)*" if literal else r"\S*"
        known = variable in (time, "request") and variable not in named
        pattern += (f"(?P<{variable}>{value})" if known else value) + re.escape(literal)
        named.add(variable)
    return re.compile(pattern)


@lru_cache(1)
def _seconds(variable: str, text: str) -> float:
    """Return the seconds since 1970 of a time as nginx writes it.

    Raises:
        ValueError: if the text is not such a time.
    """
    if variable == "msec":
        return float(text)
    if variable == "time_local":
        return datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z").timestamp()
    return float(int(datetime.fromisoformat(text).timestamp()))
