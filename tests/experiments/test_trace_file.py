"""Traces in JSON lines, and the times that a load profile takes from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.trace_file import entries, read_trace
from pytest_tfserving.experiments.yaml_file import read_file
from pytest_tfserving.protocols.payload_files import set_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfserving.experiments.load_profile import LoadProfile

FILE = """
profiles:
  yesterday: {{replay: {name}, {fields}}}
experiments:
  - {{shape: 1cpu-2gb-1n, inter_op: 1, profile: yesterday}}
"""
LINES = '{"time": 100}\n\n{"time": 100.5, "kind": "large"}\n{"time": 104, "user": "ada"}\n'


def profile(folder: Path, text: str = LINES, name: str = "traffic.jsonl", fields: str = "") -> LoadProfile:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / "experiments.yaml").write_text(FILE.format(name=name, fields=fields), encoding="utf-8")
    (experiment,) = read_file(folder / "experiments.yaml").experiments
    return experiment.profile


def test_times_are_seconds_or_iso_8601(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    path.write_text(
        '{"time": "2026-11-29T01:00:00Z"}\n{"time": "2026-11-29T01:00:00.250"}\n'
        '{"time": "2026-11-29T03:00:01+02:00"}\n{"time": 1795914002}\n',
        encoding="utf-8",
    )

    assert list(read_trace(path).times_s) == [0, 0.25, 1, 2]


def test_requests_have_a_kind_or_a_body(tmp_path: Path) -> None:
    path = tmp_path / "traffic.jsonl"
    path.write_text(LINES + '{"time": 105, "kind": "small", "inputs": [2.0]}\n', encoding="utf-8")

    found = [(entry.place.rpartition(":")[2], entry.kind, entry.has_body) for entry in entries(path)]

    assert found == [("1", "", False), ("3", "large", False), ("4", "", False), ("5", "small", True)]


def test_a_trace_with_bodies_is_the_payload_where_none_is_named(tmp_path: Path) -> None:
    lines = '{"time": 1, "instances": [[1.0]]}\n{"time": 2, "instances": [[2.0]], "kind": "b"}\n'
    profile(tmp_path, lines)
    text = (tmp_path / "experiments.yaml").read_text(encoding="utf-8")
    (experiment,) = read_file(tmp_path / "experiments.yaml").experiments
    (tmp_path / "experiments.yaml").write_text(
        text.replace("inter_op: 1", "inter_op: 1, payload: raw"), encoding="utf-8"
    )
    (other,) = read_file(tmp_path / "experiments.yaml").experiments

    assert experiment.payload == str(tmp_path / "traffic.jsonl")
    assert other.payload == "raw"
    assert [entry.kind for entry in set_of(tmp_path / "traffic.jsonl")] == ["serving_default", "b"]


def test_the_trace_sets_the_rate_and_the_run_time(tmp_path: Path) -> None:
    """Three requests in 4 s, and a mean gap after the last one: one every two seconds."""
    found = profile(tmp_path)

    assert (found.rate, found.run_time_s, found.users) == (0.5, 6.0, 0)
    assert found.replay
    assert (found.replay.requests, found.replay.highest_rps) == (3, 2)
    assert not found.has_plateau


def test_a_speed_and_a_run_time_can_be_overridden(tmp_path: Path) -> None:
    found = profile(tmp_path, fields="speed: 2")

    assert (found.rate, found.run_time_s) == (1.0, 3.0)
    assert found.with_overrides({"speed": 0.5}).run_time_s == 12
    assert found.with_overrides({"run_time_s": 2.5}).rate == 1
    assert found.with_overrides({"run_time_s": 2.5}).with_overrides({"speed": 1}).run_time_s == 2.5
    assert found.with_overrides({"run_time_s": 100}).run_time_s == 3


def test_users_or_a_rate_take_the_place_of_the_trace(tmp_path: Path) -> None:
    found = profile(tmp_path, fields="speed: 2")

    assert found.with_overrides({"users": 4}).replay is None
    assert found.with_overrides({"rate": 4}).rate == 4


def test_a_base_gives_a_replay_its_other_fields(tmp_path: Path) -> None:
    found = profile(tmp_path, fields="base: quick, max_lag_ms: 20")

    assert (found.rate, found.run_time_s, found.users, found.max_lag_ms) == (0.5, 6.0, 0, 20)


def test_a_trace_is_named_in_the_experiments_file_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        profile(tmp_path).with_overrides({"replay": "other.jsonl"})

    assert str(error.value) == (
        "replay of a load profile is named in the experiments file, not by 'other.jsonl'."
    )


def test_reports_name_the_file_without_its_folder(tmp_path: Path) -> None:
    found = profile(tmp_path).as_fields()["replay"]

    assert found
    assert found["path"] == "traffic.jsonl"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty; it needs a request or more."),
        (
            '{"time": 3}\n{"time": 2.5}\n',
            "traffic.jsonl:2: the time goes back by 0.5 s; a trace has the order of ",
        ),
        (
            '{"time": 3}\n{"time": 2.5\n',
            "traffic.jsonl:2: the line is not JSON: Expecting ',' delimiter at column 13.",
        ),
        ("[3]\n", "traffic.jsonl:1: a request of a trace is an object, not [3]."),
        (
            '{"kind": "a"}\n',
            "traffic.jsonl:1: a request of a trace needs a 'time' in seconds, or in ISO 8601; it has none.",
        ),
        ('{"time": "noon"}\n', "needs a 'time' in seconds, or in ISO 8601; not 'noon'."),
        ('{"time": NaN}\n', "needs a 'time' in seconds, or in ISO 8601; not nan."),
        ('{"time": 1, "kind": 5}\n', "traffic.jsonl:1: a kind is a text, not 5."),
        (
            '{"time": 1}\n{"time": 2, "inputs": [1]}\n',
            "traffic.jsonl:2: the request has a body, and the one before has none; all requests of a ",
        ),
        (
            '{"time": 1, "inputs": [1]}\n{"time": 2}\n',
            "traffic.jsonl:2: the request has no body, and the one before has one; all requests of a ",
        ),
    ],
)
def test_a_line_that_is_wrong_has_its_number(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        profile(tmp_path, text)

    assert str(error.value).startswith(f"{tmp_path / 'experiments.yaml'}:3: ")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        (
            "traffic.jsonl",
            "rate: 5",
            "the load profile has both replay and rate; a trace has its own: drop rate.",
        ),
        ("traffic.jsonl", "speed: 0.05", "speed of a load profile is from 0.1 to 100, not 0.05."),
        ("traffic.jsonl", "cut: middle", "cut of a load profile is one of thin, shorten, not 'middle'."),
        (
            "traffic.log",
            "",
            "traffic.log ends with neither .jsonl nor .tfrecord; of an access log give the log_format: "
            "common, combined, msec, or that of nginx's configuration.",
        ),
        ("traffic.log", "log_format: 5", "log_format of a load profile is a text, not 5."),
    ],
)
def test_fields_that_do_not_fit(tmp_path: Path, name: str, fields: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        profile(tmp_path, name=name, fields=fields)

    assert message in str(error.value)


@pytest.mark.parametrize("name", ["no.jsonl", "no.tfrecord"])
def test_a_trace_that_is_missing_or_a_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"the trace .*no\..* cannot be read: No such file"):
        read_trace(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigurationError, match=r"the trace .*no\..* cannot be read: Is a directory"):
        read_trace(tmp_path / name)
