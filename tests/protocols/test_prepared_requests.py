"""Requests in the file that load processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.protocols.answer import AnswerForm
from pytest_tfserving.protocols.prepared_requests import PreparedRequests, RequestWriter

if TYPE_CHECKING:
    from pathlib import Path

BODIES = [b"first", b"", bytes(range(256)) * 4000]
FORMS = [AnswerForm("predictions", 3), AnswerForm("outputs", None), AnswerForm("predictions", None)]
WEIGHTS = [1.0, 0.25, 7.0]


def test_requests_are_read_as_they_were_written(tmp_path: Path) -> None:
    with (tmp_path / "requests").open("wb") as file:
        writer = RequestWriter(file)
        for body, form, weight in zip(BODIES, FORMS, WEIGHTS, strict=True):
            writer.add(body, form, weight)
        writer.close()

    found = PreparedRequests.read(tmp_path / "requests")

    assert [bytes(body) for body in found] == BODIES
    assert (found.forms, found.weights) == (FORMS, WEIGHTS)


def test_the_parts_of_a_file_make_the_same_requests() -> None:
    found = PreparedRequests.of(BODIES[2], FORMS[0])

    parts = list(found.parts())

    assert len(parts) > 1
    assert bytes(PreparedRequests(b"".join(parts))[0]) == BODIES[2]
