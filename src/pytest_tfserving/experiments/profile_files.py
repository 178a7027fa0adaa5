"""Files that a load profile of the experiments file names, read into the profile."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, shown
from pytest_tfserving.experiments.load_profile import SLOWEST
from pytest_tfserving.experiments.load_shape import DAY, MOST_LEVELS
from pytest_tfserving.experiments.trace_file import read_trace
from pytest_tfserving.text.text_file import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# A day of seconds, with a time of 20 characters in each row.
_MOST_BYTES = 1 << 22
_HIGHEST = 1e9
# Fields that contradict a replay.
_OF_THE_TRACE = ("users", "rate", "shape", "arrivals", "cv", "burst_factor", "burst_s", "calm_s", "pace_s")


def with_files_read(parts: Mapping[str, object], folder: Path) -> dict[str, object]:
    """Return the fields of a load profile, with the content of the files that they name.

    Args:
        parts: the fields as they are written.
        folder: the folder of the experiments file, to which paths are relative.

    Raises:
        ConfigurationError: if a file cannot be read, with the line that is wrong.
    """
    if "replay" in parts:
        return _with_trace(parts, folder)
    if "log_format" in parts:
        raise ConfigurationError("log_format of a load profile is that of its replay, and it has none.")
    shape = parts.get("shape")
    if isinstance(shape, str) and shape.startswith(DAY) and shape.endswith(".csv"):
        return {**parts, "shape": day_of(folder / shape.removeprefix(DAY).strip())}
    return dict(parts)


def _with_trace(parts: Mapping[str, object], folder: Path) -> dict[str, object]:
    """Return the fields of a load profile that replays a trace, with what is known of the trace."""
    path, log_format = parts["replay"], parts.get("log_format", "")
    for name, text in (("replay", path), ("log_format", log_format)):
        if not isinstance(text, str):
            raise ConfigurationError(f"{name} of a load profile is a text, not {shown(text)}.")
    if own := next((name for name in _OF_THE_TRACE if name in parts), ""):
        raise ConfigurationError(
            f"the load profile has both replay and {own}; a trace has its own: drop {own}."
        )
    trace = read_trace(folder / str(path), str(log_format)).trace
    others = {name: value for name, value in parts.items() if name != "log_format"}
    return {"run_time_s": trace.length_s / SLOWEST, **others, "replay": trace}


def day_of(path: Path) -> str:
    """Return the shape of the rates in a CSV file, ``day 12:8:20``: the last column, at equal intervals.

    Neighbouring rows are joined if there are more than a shape may have.

    Raises:
        ConfigurationError: if the file cannot be read, has a wrong rate, or too few rates.
    """
    rows = enumerate(csv.reader(text_of(path, "file of rates", _MOST_BYTES).splitlines()), 1)
    cells = [(number, cells[-1].strip()) for number, cells in rows if any(each.strip() for each in cells)]
    if cells and cells[0][1][:1].isalpha():
        del cells[0]  # the names of the columns
    rates = [_checked(path, number, cell) for number, cell in cells]
    if len(rates) < 2:  # noqa: PLR2004 - a course
        raise ConfigurationError(f"{path} has {len(rates)} rates; the course of a day has two or more.")
    return DAY + ":".join(_text(each) for each in _joined(rates))


def _checked(path: Path, number: int, cell: str) -> float:
    rate = _rate(cell)
    if rate is None:
        raise ConfigurationError(f"{path}:{number}: {shown(cell)} is not a rate, a number of 0 or more.")
    return rate


def _rate(cell: str) -> float | None:
    try:
        rate = float(cell)
    except ValueError:
        return None
    return rate if 0 <= rate < _HIGHEST else None


def _joined(rates: Sequence[float]) -> list[float]:
    """Return the means of neighbouring rates, as few as a shape may have."""
    size = math.ceil(len(rates) / MOST_LEVELS)
    return [sum(part) / len(part) for at in range(0, len(rates), size) if (part := rates[at : at + size])]


def _text(rate: float) -> str:
    return f"{rate:.6f}".rstrip("0").rstrip(".")
