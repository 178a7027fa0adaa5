"""The JSON parser beside RapidJSON itself, on generated documents.

`JSON_DOCUMENTS` in the environment is their number.
"""

from __future__ import annotations

import math
import os
import random
import re
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.model_server import json_parser, json_text
from pytest_tfserving.model_server.status import ServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.text.json_value import JsonValue

pytestmark = pytest.mark.needs("rapidjson")

COUNT = int(os.environ.get("JSON_DOCUMENTS", "500"))
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
SPECIAL = (
    *("NaN", "Inf", "Infinity", "inf", "nan", "Na", "In", "Infin", "NInf", "NaN.5", "Infe5", "NaN.", "Ie"),
    *("1.", "1e", "-", "+1", ".5", "01", "1.e5", "1e+", "0x1", "--1", "1..2", "-0", "-0.0", "Infinity.25e1"),
)
PIECES = {
    **dict.fromkeys(("a", "é", "\\n", "\\u00e9", "\\ud83d\\ude00", '\\"', "\\\\", "/", "\\/", "\x7f"), 20),
    **dict.fromkeys(("\\ud800", "\\udc00", "\\ud800x", "\\ud800\\u0041", "\\q", "\\u12g4", "\\u0000"), 1),
    **dict.fromkeys(("\t", "\x01", "\x00", "\\u", "\\", "😀"), 1),
}


class Documents:
    """A source of documents, most of them right."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.names = 0

    def document(self) -> bytes:
        mark = self.random.choice([b""] * 20 + [b"\xef\xbb\xbf", b"\xef", b"\xef\xbb", b"\xbb\xbf", b"\xbf"])
        found = mark + self.space() + self.value(4) + self.random.choice([b"", b" x", b"\x00"])
        if self.random.random() < 0.1:
            place = self.random.randrange(len(found))
            byte = bytes([self.random.choice(b'[]{},:"\\ 0e.-NI\x00')])
            found = found[:place] + byte + found[place + 1 :]
        return found

    def value(self, depth: int) -> bytes:
        kind = self.random.choice("nnnnlss") if not depth else self.random.choice("nnnnlss[[[{{")
        if kind == "n":
            return self.number().encode()
        if kind == "l":
            return self.random.choice([b"true", b"false", b"null"] * 5 + [b"tru", b"nul", b"fals", b"truex"])
        if kind == "s":
            return self.string()
        inner = [self.member(depth, kind) for _ in range(self.random.randrange(4))]
        end = b"]" if kind == "[" else b"}"
        closing = self.random.choice([end] * 20 + [b"", b"]", b"}", b"," + end])
        return kind.encode() + self.space() + b",".join(inner) + closing

    def member(self, depth: int, kind: str) -> bytes:
        name = b""
        if kind == "{":
            self.names += 1  # of equal names the first one counts, while RapidJSON prints both
            colon = self.random.choice([b":"] * 30 + [b""])
            name = b'"%d' % self.names + self.string()[1:] + self.space() + colon
        return self.space() + name + self.space() + self.value(depth - 1) + self.space()

    def space(self) -> bytes:
        return self.random.choice([b"", b"", b"", b" ", b"\n", b"\t ", b"\r\n"])

    def string(self) -> bytes:
        found = "".join(self.random.choices(list(PIECES), list(PIECES.values()), k=self.random.randrange(8)))
        byte = bytes([self.random.randrange(128, 256)]) if self.random.random() < 0.1 else b""
        return b'"' + found.encode() + byte + self.random.choice([b'"'] * 40 + [b""])

    def digits(self, least: int, most: int) -> str:
        return "".join(self.random.choice("0123456789") for _ in range(self.random.randint(least, most)))

    def number(self) -> str:
        pick = self.random.randrange
        sign, zeros = self.random.choice(["", "", "-"]), "0" * pick(330)
        choices: tuple[Callable[[], str], ...] = (
            lambda: sign + str(pick(10 ** pick(1, 24))),
            lambda: f"{sign}{self.digits(1, 3)}.{self.digits(0, 25)}",
            lambda: f"{sign}{pick(100)}e{self.random.choice(['', '+', '-'])}{self.digits(0, 4)}",
            lambda: (
                f"{sign}{pick(1, 10)}{self.digits(300, 311)}{self.random.choice(['', '.0', 'e1', 'e-5'])}"
            ),
            lambda: sign + self.random.choice(SPECIAL),
            lambda: f"{sign}0.{zeros}{self.digits(1, 19)}{self.random.choice(['', f'e{pick(-340, 700)}'])}",
            lambda: f"{sign}{self.digits(1, 19)}.{self.digits(1, 19)}E{pick(280, 320)}",
            *[lambda: sign + repr(round(self.random.uniform(-1000, 1000), pick(6)))] * 7,
        )
        return self.random.choice(choices)()


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """RapidJSON."""
    program = tmp_path_factory.mktemp("oracle") / "oracle"
    source = Path(__file__).with_name("rapidjson_oracle.cc")
    subprocess.run(["g++", "-o", str(program), str(source)], check=True)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def expected(oracle: subprocess.Popen[bytes], document: bytes) -> bytes:
    """What RapidJSON says."""
    assert oracle.stdin
    assert oracle.stdout
    oracle.stdin.write(struct.pack("<I", len(document)) + document)
    oracle.stdin.flush()
    (size,) = struct.unpack("<I", oracle.stdout.read(4))
    return oracle.stdout.read(size)


def found(document: bytes) -> bytes:
    """What the parser says, in RapidJSON's form."""
    try:
        value = json_parser.parse(document)
    except ServingError as error:
        return error.message.encode(errors="surrogateescape")
    parts: list[str] = []
    try:
        parts.extend(json_text._pretty(value, 0))
    except json_text._StoppedError:
        return b"stopped"
    return "".join(parts).encode(errors="surrogateescape")


def agree(one: bytes, other: bytes) -> bool:
    """Whether two texts are the same but for the last digits of their numbers."""
    numbers = zip(NUMBER.findall(one), NUMBER.findall(other), strict=False)
    return NUMBER.sub(b"#", one) == NUMBER.sub(b"#", other) and all(
        math.isclose(float(left), float(right), rel_tol=1e-12, abs_tol=1e-320) for left, right in numbers
    )


@pytest.fixture(params=["whole", "pieces"])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Documents are read at once, or in pieces of a few bytes, as large ones are in larger pieces."""
    if request.param == "pieces":
        small = {"_LARGE_BYTES": 3, "_PIECES_BYTES": (8, 64), "_MOST_PART_BYTES": 48, "_LEAST_PART_BYTES": 4}
        strings = {"_SHORT_STRING_BYTES": 2, "_STRING_BYTES": 3}
        for name, value in {**small, **strings, "_MOST_FREED": 2}.items():
            monkeypatch.setattr(json_parser, name, value)
    return str(request.param)


@pytest.mark.usefixtures("sizes")
def test_documents_are_read_as_rapidjson_reads_them(oracle: subprocess.Popen[bytes]) -> None:
    documents, errors = Documents(1), 0
    for _ in range(COUNT):
        document = documents.document()
        right, answer = expected(oracle, document), found(document)
        errors += right.startswith(b"JSON Parse error")
        assert answer == b"stopped" or agree(answer, right), (document, right, answer)

    assert COUNT // 5 < errors < 4 * COUNT // 5


@pytest.mark.parametrize(
    ("begin", "part", "end"),
    [
        (b'{"a": [', b"1.5, ", b"1.5 2]}"),
        (b'{"a": [', b"[1, -2e5] ,", b"1.5 2]}"),
        (b'{"a": {"b": [', b'{"x": "]", "y": [{}]},', b"1.5 2]}}"),
        (b'{"a": [[', b'"x,1",', b'"\t"]]}'),
        (b'{"a": [', b"1.5, ", b"Inf, 1., 2]}"),
        (b"", b"[", b"1, 2, }"),
        (b'{"a": [', b'"\xff", ', b"1 2]}"),
        (b'{"a": [', b'"\xe4\xb8\xad \\u00e9", ', b'"\xe4\xb8\xad"1]}'),
        (b'{"a": [', b'"\\ud83d\\ude00", ', b'"\\ud83d"]}'),
        (b'{"a": [', b"true,null , false, ", b"tru]}"),
        (b'{"a": [', b'[1e5, "],["], ', b"[1e400]]}"),
        (b'{"a": [', b'{"x": {"y": "},"}}, ', b'{"x": 1,}]}'),
    ],
)
@pytest.mark.usefixtures("sizes")
def test_an_error_far_behind(oracle: subprocess.Popen[bytes], begin: bytes, part: bytes, end: bytes) -> None:
    document = begin + part * 2000 + end

    assert found(document) == expected(oracle, document)
    assert found(document).startswith(b"JSON Parse error: ")


@pytest.mark.parametrize(
    "array",
    [
        *([1.5] * 10_000, ["text"] * 10_000, [[]] * 10_000, [{"x": 1, "y": [2] * 10}] * 10_000),
        *([[1.5] * 100] * 1000, [[[1.5] * 3] * 224] * 224, [[[[0] * 3] * 224] * 224]),
    ],
    ids=["numbers", "texts", "empty", "objects", "rows", "picture", "pictures"],
)
def test_a_large_document_is_freed_in_parts(array: list[JsonValue]) -> None:
    document: JsonValue = {"signature_name": "x", "instances": array}

    json_parser.free(document)

    assert len(json_text.encoded(str(array))) < 40_000
