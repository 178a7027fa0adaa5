"""Responses of load, checked against what is expected for their body."""

from __future__ import annotations

import json

from pytest_tfserving.load.worker.users import answer_judge
from pytest_tfserving.load.worker.users.answer_judge import AnswerJudge
from pytest_tfserving.protocols.answer import AnswerForm, ExpectedAnswer

KNOWN, ONE_ROW, TWO_ROWS = range(3)
FORMS = [AnswerForm("predictions", 1), AnswerForm("predictions", 1), AnswerForm("predictions", 2)]


def judge() -> AnswerJudge:
    return AnswerJudge("rest", FORMS, {KNOWN: ExpectedAnswer("predictions", [1], [2.5])})


def answer(*rows: object) -> bytes:
    return json.dumps({"predictions": rows}).encode()


def test_a_body_with_a_known_answer_gets_no_other_values() -> None:
    found = judge()

    assert found.wrong(KNOWN, 200, answer(2.5)) == ""
    assert "values are not those of" in found.wrong(KNOWN, 200, answer(3.5))
    assert found.wrong(ONE_ROW, 200, answer(3.5)) == ""


def test_a_first_answer_is_what_later_ones_of_the_same_body_are_compared_with() -> None:
    found = judge()

    assert found.wrong(ONE_ROW, 200, answer([1.0, 2.0])) == ""
    assert found.wrong(TWO_ROWS, 200, answer(1.0, 2.0)) == ""
    assert found.wrong(ONE_ROW, 200, answer(1.0)) == "the response's shape is [1], not [1, 2]"
    assert found.wrong(ONE_ROW, 200, answer([3.0, 4.0])) == ""


def test_what_is_right_for_one_body_is_not_for_another() -> None:
    found = judge()

    assert found.wrong(KNOWN, 200, answer(2.5)) == ""
    assert found.wrong(TWO_ROWS, 200, answer(2.5)) == "1 rows came back for 2"


def test_a_first_answer_that_fails_says_nothing_of_later_ones() -> None:
    found = judge()

    assert found.wrong(ONE_ROW, 500, b'{"error": "no"}') == "HTTP 500: no"
    assert found.wrong(ONE_ROW, 200, answer(1.0)) == ""


def test_memory_for_responses_is_bounded() -> None:
    found = judge()
    found._room_bytes = 30

    for value in range(1000):
        assert found.wrong(ONE_ROW, 200, answer(value / 7)) == ""

    assert len(found._right) == answer_judge._ANSWERS_REMEMBERED * len(FORMS)
    assert sum(map(len, found._last)) <= 30
