"""Stored runs: their names, their order, and files that are none."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
from _mutations import is_one_sentence, mutated_json

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.report.stored_runs import StoredRuns, read_stored
from stored_sessions import content

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    made = content()

    assert read_stored(StoredRuns(tmp_path).save(made)) == made


def test_the_latest_of_a_name_is_found_and_the_latest_of_all(tmp_path: Path) -> None:
    runs = StoredRuns(tmp_path)
    main, new_main, other = (runs.save(content(name)) for name in ("main", "main", "a-main"))

    assert runs.paths() == [main, new_main, other]
    assert runs.find("main") == new_main
    assert runs.find("last") == other
    assert runs.find(main.stem) == main


def test_an_unknown_name_gets_the_nearest(tmp_path: Path) -> None:
    runs = StoredRuns(tmp_path)
    runs.save(content("main"))

    with pytest.raises(ConfigurationError, match=r"'man' is not .*; did you mean 'main'\? valid: main, last"):
        runs.find("man")


def test_a_file_that_a_killed_session_left_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "20260301-100000-main.json").touch()

    assert StoredRuns(tmp_path).paths() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"stored_version": 1, "na', "is not whole JSON: "),
        (
            '{"stored_version": 7}',
            "is not a stored run of this version: its stored_version is 7, this version",
        ),
        ('{"stored_version": true}', "is not a stored run of this version: its stored_version is True"),
        ('{"stored_version": 1}', "is not a stored run of this version: the file has no 'pytest_tfserving'."),
        ('{"schema_version": 9}', "is not a result file of this version: its schema_version is 9"),
        ("[]", "is not a result file of this version: its schema_version is None"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigurationError) as error:
        read_stored(path)

    assert said in str(error.value)
    assert is_one_sentence(str(error.value))


def test_damaged_runs_are_one_sentence(tmp_path: Path) -> None:
    path, made = tmp_path / "x.json", json.loads(json.dumps(content()))
    said = [mistake_in(path, mutated_json(random.Random(seed), made)) for seed in range(60)]

    assert all(is_one_sentence(each) for each in said if each), said
    assert 5 < sum(map(bool, said)) < 55


def mistake_in(path: Path, damaged: bytes) -> str:
    """Return what is said of a file; empty when it is read."""
    path.write_bytes(damaged)
    try:
        read_stored(path)
    except ConfigurationError as error:
        return str(error)
    return ""
