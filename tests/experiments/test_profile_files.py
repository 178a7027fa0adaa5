"""Files that a load profile names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.load_shape import MOST_LEVELS, LoadShape
from pytest_tfserving.experiments.profile_files import day_of
from pytest_tfserving.experiments.yaml_file import read_file

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
profiles:
  today: {shape: day rates.csv, rate: 50, run_time_s: 120}
experiments:
  - {shape: 1cpu-2gb-1n, inter_op: 1, profile: today}
"""


def test_the_rates_of_a_day_come_from_a_file_beside_the_experiments(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("hour,rate\n0,1200\n1,800.5\n\n2,2000\n", encoding="utf-8")
    (tmp_path / "experiments.yaml").write_text(FILE, encoding="utf-8")

    (experiment,) = read_file(tmp_path / "experiments.yaml").experiments

    assert experiment.profile.shape == "day 1200:800.5:2000"
    assert [stage.first for stage in experiment.profile.stages] == pytest.approx([30, 20.0125, 50])


def test_many_rows_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("".join(f"{minute},{minute // 5}\n" for minute in range(1440)), encoding="utf-8")

    levels = LoadShape.parse(day_of(path)).levels

    assert len(levels) == MOST_LEVELS
    assert levels[:3] == (0, 1, 2)
    assert levels[-1] == 287


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hour,rate\n0,12\n1,many\n", "rates.csv:3: 'many' is not a rate, a number of 0 or more."),
        ("12\n-3\n", "rates.csv:2: '-3' is not a rate, a number of 0 or more."),
        ("12 \n1e400\n", "rates.csv:2: '1e400' is not a rate, a number of 0 or more."),
        ("rate\n12\n", "rates.csv has 1 rates; the course of a day has two or more."),
        ("", "rates.csv has 0 rates; the course of a day has two or more."),
        ("0\n0\n", "the day's course of load 'day 0:0' has no level above 0."),
    ],
)
def test_a_mistake_has_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rates.csv").write_text(text, encoding="utf-8")
    (tmp_path / "experiments.yaml").write_text(FILE, encoding="utf-8")

    with pytest.raises(ConfigurationError) as error:
        read_file(tmp_path / "experiments.yaml")

    assert str(error.value).startswith(f"{tmp_path / 'experiments.yaml'}:3: ")
    assert str(error.value).endswith(message)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "experiments.yaml").write_text(FILE, encoding="utf-8")

    with pytest.raises(
        ConfigurationError, match=r"the file of rates .*rates.csv cannot be read: No such file"
    ):
        read_file(tmp_path / "experiments.yaml")
