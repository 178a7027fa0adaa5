"""JSON as RapidJSON parses it: what it accepts, and its text and offset for all other documents.

Python's own parser reads almost every document. Where the two differ, or Python's parser fails, `_Reader`
reads the document, byte by byte as RapidJSON does. `_Reader` also reads large documents, in pieces: Python's
parser holds the interpreter lock until it is done. In strings, bytes that are not UTF-8 become surrogates, as
``surrogateescape`` makes them.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.json_text import encoded
from pytest_tfserving.model_server.status import LongError, ServingError, invalid

if TYPE_CHECKING:
    from pytest_tfserving.text.json_value import JsonObject, JsonValue

_MARK = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \n\r\t]*")
_DIGITS = re.compile(rb"[0-9]+")
_INTEGER = re.compile(rb"0|[1-9][0-9]*")
# Numbers that Python reads as RapidJSON does: a thousand, since a match keeps a state for each. Possessive
# quantifiers, which would keep none, match wrongly before Python 3.11.3.
_NUMBERS = re.compile(
    rb"(?:-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,15})?(?:[eE]-?[0-9]{1,2})?[ \n\r\t]*,[ \n\r\t]*){1,1000}"
)
# Larger documents are read in pieces, each of them at most so large. Of an array with many elements, parts of
# the second size are tried, and smaller ones where they fail.
_LARGE_BYTES = 2**18
_PIECES_BYTES = (2**12, 2**17)
_MOST_PART_BYTES, _LEAST_PART_BYTES = 2**16, 2**10
# How many bytes may be read in vain, beside twice those that were read: so many times those of the document,
# and at most so many.
_WASTED_TIMES, _MOST_WASTED_BYTES = 8, 2**22
# Shorter documents are read in less than a millisecond in any case.
_SHORT_BYTES = 256
_CLOSING = b"]}"
_MOST_CLOSING = 64
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NOT_PLAIN = b'"\\' + bytes(range(0x20))
# How much of a string is looked at: first by the expression above, then without it, which takes less time.
_SHORT_STRING_BYTES, _STRING_BYTES = 2**12, 2**15
_HEX = re.compile(rb"[0-9a-fA-F]{4}")
_ESCAPES = {
    b'"': b'"',
    b"/": b"/",
    b"\\": b"\\",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
}
_LITERALS: dict[bytes, tuple[bytes, bool | None]] = {
    b"n": (b"null", None),
    b"t": (b"true", True),
    b"f": (b"false", False),
}
_HIGH_SURROGATES = range(0xD800, 0xDC00)
_LOW_SURROGATES = range(0xDC00, 0xE000)
# RapidJSON's limits: a tenth of the largest double, the largest exponent, the digits that count, and the
# largest number that it extends digit by digit as an integer.
_DOUBLE_TENTH = 1.7976931348623157e307
_MOST_EXPONENT = 308
_SIGNIFICANT_DIGITS = 17
_EXACT_INTEGER = 0x1FFFFFFFFFFFFF
_LARGEST_INTEGER = 2**64 - 1
_LARGEST_NEGATED_INTEGER = 2**63
# How many values are freed at once.
_MOST_FREED = 2000
# Large numbers are looked for in a document whose digits are all 0.
_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_MANY_DIGITS = b"0" * 309
_LONGEST_MANTISSA = 400
_BEFORE_NUMBERS = b"[,: \t\r\n"


def parse(body: bytes, *, soon: bool = False) -> JsonValue:
    """Return the value of the document in ``body``.

    Text behind the document is ignored. Of equal keys the first one counts.

    Raises:
        ServingError: with RapidJSON's text and offset, when the body has no JSON document.
        LongError: if the value is needed ``soon``, and Python's parser does not suffice.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    is_large = len(body) > _LARGE_BYTES
    quick = None if is_large else _quickly_read(body.removeprefix(_MARK).lstrip(b" \t\r\n"))
    if quick:
        return quick[0]
    if soon and len(body) > _SHORT_BYTES:
        raise LongError
    reader = _Reader(body)
    try:
        return reader.document()
    except ServingError:
        reader.free()
        raise


def _quickly_read(text: bytes) -> tuple[JsonObject | list[JsonValue], int] | None:
    """Return the array or object at the beginning of a text, and its length, as Python's parser reads it.

    Return None if the parser fails, or may read the text otherwise than RapidJSON does.
    """
    if _has_large_number(text):
        return None
    decoded = text.decode(errors="surrogateescape")
    decoder = _DECODER if text.count(b":") > 1 else _DECODER_OF_ONE
    try:
        value, end = decoder.raw_decode(decoded)
        if b"\\ud" in text or b"\\uD" in text:  # halves of surrogate pairs cannot be encoded
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    # A number may end otherwise in RapidJSON.
    if not isinstance(value, dict | list):
        return None
    return value, end if len(decoded) == len(text) else len(encoded(decoded[:end]))


def _has_large_number(body: bytes) -> bool:
    """Return whether a document may have numbers that are too large for a double."""
    alike = body.translate(_ALIKE)
    if b"0e000" in alike and _has_number(alike, b"0e000"):
        return True
    return (b"0e+000" in alike and _has_number(alike, b"0e+000")) or _MANY_DIGITS in alike


def _has_number(alike: bytes, exponent: bytes) -> bool:
    """Return whether an exponent belongs to a number, and is not part of a string."""
    place = alike.find(exponent)
    while place >= 0:
        before = alike[max(place - _LONGEST_MANTISSA, 0) : place].rstrip(b"0.").rstrip(b"-")
        if not before or before[-1:] in _BEFORE_NUMBERS:
            return True
        place = alike.find(exponent, place + 1)
    return False


def free(document: JsonValue) -> None:
    """Empty a document that nobody needs: a large one in parts, because to free it keeps others waiting."""
    opened = [document]
    while opened:
        value = opened.pop()
        if isinstance(value, dict):
            opened += value.values()
        elif isinstance(value, list) and value:
            first = value[0]
            if isinstance(first, list) and first and isinstance(first[0], list):
                opened += value
                value.clear()
            size = len(first) if isinstance(first, list | dict) else 0
            most = _MOST_FREED // (1 + size) or 1
            while len(value) > most:
                del value[-most:]


def _first_wins(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    found: JsonObject = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_first_wins)
# For documents with one member at most, which have no equal keys.
_DECODER_OF_ONE = json.JSONDecoder()


class _Reader:
    """A reader of one document.

    Python's parser reads all arrays and objects that it reads as RapidJSON does and that fit into a piece,
    and the elements of arrays many at a time.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._wasted_bytes = 0
        self._most_wasted_bytes = min(_WASTED_TIMES * len(body), _MOST_WASTED_BYTES)
        self._part_bytes = _MOST_PART_BYTES
        # The open arrays and objects, each with the name of the member that is being read.
        self._open: list[tuple[list[JsonValue] | JsonObject, str]] = []

    def document(self) -> JsonValue:
        """Return the value of the document."""
        for byte in (_MARK[index : index + 1] for index in range(len(_MARK))):
            self._skip(byte)
        self._space()
        if self._peek() in (b"", b"\0"):
            raise self._error("The document is empty.")
        value: JsonValue = _BEGUN
        while value is _BEGUN:
            value = self._value()
            if value is not _BEGUN:
                value = self._placed(value)
        return value

    def free(self) -> None:
        """Empty what was read, as `free` does."""
        for container, _ in self._open:
            free(container)

    def _value(self) -> JsonValue:
        """Return the value here; of an array or an object with content read the beginning, return _BEGUN."""
        self._skip_numbers()
        self._skip_elements()
        byte = self._peek()
        if byte in (b"[", b"{") and (quick := self._quickly_read()) is not None:
            return quick
        if byte == b"[":
            return self._begun([], b"]")
        if byte == b"{":
            return self._begun({}, b"}")
        if byte == b'"':
            return self._string()
        return self._literal(*_LITERALS[byte]) if byte in _LITERALS else self._number()

    def _quickly_read(self) -> JsonValue:
        """Return the array or object here if Python's parser can read it, else None."""
        for size in _PIECES_BYTES if self._may_waste() else ():
            piece = self._body[self._at : self._at + size]
            if found := _quickly_read(piece):
                self._at += found[1]
                return found[0]
            self._wasted_bytes += len(piece)
            if len(piece) < size:
                return None
        return None

    def _may_waste(self) -> bool:
        """Return whether Python's parser may be tried again: each failure may cost the time for a piece."""
        return self._wasted_bytes <= self._most_wasted_bytes + 2 * self._at

    def _skip_elements(self) -> None:
        """Read many elements of an array at once, each with the comma behind it."""
        while self._open and isinstance(container := self._open[-1][0], list) and self._may_waste():
            end = self._last_element()
            if end <= self._at:
                return
            part = b"[%b]" % self._body[self._at : end]
            found = _quickly_read(part)
            if not found or found[1] != len(part):
                self._wasted_bytes += len(part)
                self._part_bytes = max(self._part_bytes // 2, _LEAST_PART_BYTES)
                return
            container.extend(found[0])
            self._part_bytes = min(2 * self._part_bytes, _MOST_PART_BYTES)
            self._at = end + 1
            self._space()

    def _last_element(self) -> int:
        """Return where an element of the array ends that is some way ahead; 0 if none is found.

        The end looks like that of the element before. So it may be none, as a comma in a string, and then
        Python's parser fails.
        """
        before = self._body[max(self._at - _MOST_CLOSING, 0) : self._at].rstrip(b" \n\r\t")
        element = before.removesuffix(b",")
        if len(element) == len(before):  # this element is the first
            return 0
        closing = element[len(element.rstrip(_CLOSING)) :] or (b'"' if element.endswith(b'"') else b"")
        found = self._body.rfind(closing + b",", self._at, self._at + self._part_bytes)
        return found + len(closing) if found >= 0 else 0

    def _skip_numbers(self) -> None:
        """Read plain numbers of an array, each with the comma behind it."""
        container = self._open[-1][0] if self._open else None
        if isinstance(container, list) and (found := _NUMBERS.match(self._body, self._at)):
            container.extend(json.loads(b"[%b]" % found[0].rstrip(b", \n\r\t")))
            self._at = found.end()

    def _begun(self, container: list[JsonValue] | JsonObject, end: bytes) -> JsonValue:
        self._at += 1
        self._space()
        if self._skip(end):
            return container
        self._open.append((container, "" if isinstance(container, list) else self._name()))
        return _BEGUN

    def _placed(self, value: JsonValue) -> JsonValue:
        """Put a value where it belongs; return the document if the value ends it, else _BEGUN."""
        while self._open:
            container, name = self._open[-1]
            if isinstance(container, list):
                container.append(value)
            else:
                container.setdefault(name, value)
            self._space()
            if self._skip(b","):
                self._space()
                self._open[-1] = container, "" if isinstance(container, list) else self._name()
                return _BEGUN
            end, problem = _ENDS[type(container)]
            if not self._skip(end):
                raise self._error(problem)
            value = container
            self._open.pop()
        return value

    def _name(self) -> str:
        if self._peek() != b'"':
            raise self._error("Missing a name for object member.")
        name = self._string()
        self._space()
        if not self._skip(b":"):
            raise self._error("Missing a colon after a name of object member.")
        self._space()
        return name

    def _literal(self, text: bytes, value: bool | None) -> bool | None:  # noqa: FBT001 - the value of a literal
        if not all(self._skip(text[index : index + 1]) for index in range(len(text))):
            raise self._error("Invalid value.")
        return value

    # --- strings ---

    def _string(self) -> str:
        self._at += 1
        parts: list[bytes] = []
        while True:
            plain = _PLAIN.match(self._body, self._at, self._at + _SHORT_STRING_BYTES)
            assert plain
            parts.append(plain[0])
            self._at = plain.end()
            if len(plain[0]) == _SHORT_STRING_BYTES:
                parts.append(self._plain())
                continue
            if self._skip(b'"'):
                return b"".join(parts).decode(errors="surrogateescape")
            if self._peek() != b"\\":
                ended = self._peek() in (b"", b"\0")
                raise self._error(
                    "Missing a closing quotation mark in string."
                    if ended
                    else "Invalid escape character in string."
                )
            parts.append(self._escape())

    def _plain(self) -> bytes:
        """Return the bytes of a string from here on as far as many at once need no further look."""
        start, end = self._at, self._at + _STRING_BYTES
        while len(piece := self._body[self._at : end]) == _STRING_BYTES and piece == piece.translate(
            None, _NOT_PLAIN
        ):
            self._at, end = end, end + _STRING_BYTES
        return self._body[start : self._at]

    def _escape(self) -> bytes:
        start = self._at
        self._at += 1
        if (byte := self._peek()) in _ESCAPES:
            self._at += 1
            return _ESCAPES[byte]
        if not self._skip(b"u"):
            raise self._error("Invalid escape character in string.", start)
        code = self._hex(start)
        if code in _HIGH_SURROGATES:
            is_pair = self._skip(b"\\") and self._skip(b"u")
            low = self._hex(start) if is_pair else 0
            if low not in _LOW_SURROGATES:
                raise self._error("The surrogate pair in string is invalid.", start)
            code = 0x10000 + ((code - _HIGH_SURROGATES[0]) << 10 | (low - _LOW_SURROGATES[0]))
        return chr(code).encode(errors="surrogatepass")

    def _hex(self, start: int) -> int:
        found = _HEX.match(self._body, self._at)
        if not found:
            raise self._error("Incorrect hex digit after \\u escape in string.", start)
        self._at = found.end()
        return int(found[0], 16)

    # --- numbers ---

    def _number(self) -> int | float:
        start = self._at
        minus = self._skip(b"-")
        special = self._special()
        begins = self._at
        number = _Number(b"0" if special is not None else self._integer(), minus=minus)
        if number.is_too_large:
            raise self._too_big(start)
        if self._skip(b"."):
            number.add_fraction(self._some_digits("Miss fraction part in number."))
        if self._skip(b"e") or self._skip(b"E"):
            self._exponent(start, number)
            number.is_double = True
        if special is None:
            text = self._body[start : self._at]
        elif number.is_double:  # RapidJSON forgets the word before a fraction or an exponent
            text = (b"-0" if minus else b"0") + self._body[begins : self._at]
        else:
            return -special if minus else special
        return float(text) if number.is_double else int(text)

    def _integer(self) -> bytes:
        found = _INTEGER.match(self._body, self._at)
        if not found:
            raise self._error("Invalid value.")
        self._at = found.end()
        return found[0]

    def _special(self) -> float | None:
        """Return the value of NaN, Inf or Infinity; None if there is no such word."""
        if self._peek() not in (b"I", b"N"):
            return None
        if self._skip(b"N") and self._skip(b"a") and self._skip(b"N"):
            return math.nan
        if self._skip(b"I") and self._skip(b"n") and self._skip(b"f"):
            rest = [bytes([byte]) for byte in b"inity"]
            if self._peek() != b"i" or all(map(self._skip, rest)):
                return math.inf
        raise self._error("Invalid value.")

    def _exponent(self, start: int, number: _Number) -> None:
        minus = not self._skip(b"+") and self._skip(b"-")
        digits = self._some_digits("Miss exponent in number.")
        # RapidJSON does not compare the first digit alone, and stops at the first digit that is too much.
        if not minus and len(digits) > 1 and _is_above(digits, _MOST_EXPONENT + number.fraction_digits):
            raise self._too_big(start)

    def _some_digits(self, problem: str) -> bytes:
        found = _DIGITS.match(self._body, self._at)
        if not found:
            raise self._error(problem)
        self._at = found.end()
        return found[0]

    # --- bytes ---

    def _peek(self) -> bytes:
        return self._body[self._at : self._at + 1]

    def _skip(self, byte: bytes) -> bool:
        """Go on if the next byte is ``byte``; return whether it is."""
        if self._peek() != byte:
            return False
        self._at += 1
        return True

    def _space(self) -> None:
        found = _SPACE.match(self._body, self._at)
        assert found
        self._at = found.end()

    def _too_big(self, start: int) -> ServingError:
        return self._error("Number too big to be stored in double.", start)

    def _error(self, problem: str, place: int | None = None) -> ServingError:
        return invalid(f"JSON Parse error: {problem} at offset: {self._at if place is None else place}")


class _Begun(list["JsonValue"]):
    """The mark of an array or an object whose content follows."""


_BEGUN = _Begun()
_ENDS = {
    list: (b"]", "Missing a comma or ']' after an array element."),
    dict: (b"}", "Missing a comma or '}' after an object member."),
}


class _Number:
    """The digits of a number as RapidJSON counts them, which decides on what is too large."""

    def __init__(self, digits: bytes, *, minus: bool) -> None:
        self.fraction_digits = 0
        self.is_too_large = _is_too_large(digits)
        self._integer = 0 if self.is_too_large else int(digits)
        self.is_double = self._integer > (_LARGEST_NEGATED_INTEGER if minus else _LARGEST_INTEGER)
        self._significant = len(digits) - 1

    def add_fraction(self, digits: bytes) -> None:
        """Count the digits behind the point that RapidJSON does not drop."""
        integer, count = self._integer, 0
        while not self.is_double and count < len(digits) and integer <= _EXACT_INTEGER:
            integer = integer * 10 + digits[count] - ord("0")
            count += 1
            self._significant += integer != 0
        self.is_double = True
        self.fraction_digits = count
        for digit in digits[count:]:
            if self._significant >= _SIGNIFICANT_DIGITS:
                return
            self.fraction_digits += 1
            integer = integer * 10 + digit - ord("0")
            self._significant += integer != 0


def _is_too_large(digits: bytes) -> bool:
    """Return whether the digits of an integer exceed a double before its last digit is read."""
    return len(digits) > 1 and _is_above(digits[:-1], int(_DOUBLE_TENTH) - 1)


def _is_above(digits: bytes, limit: int) -> bool:
    digits = digits.lstrip(b"0")
    longest = len(str(limit))
    return len(digits) > longest or (len(digits) == longest and int(digits) > limit)
