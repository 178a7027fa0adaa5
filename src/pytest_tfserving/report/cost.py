"""Cost of a shape: prices of machines, and US dollars for a month and for a million predictions."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, nearest, shown
from pytest_tfserving.experiments.experiment import Shape
from pytest_tfserving.text.foreign_text import one_line
from pytest_tfserving.text.text_file import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECONDS_AN_HOUR = 3600
_MILLION = 1e6
_TOO_MUCH = 1e15
_MOST_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Prices:
    """A price list.

    Attributes:
        vcpu_hour_usd: US dollars an hour for a vCPU.
        gb_hour_usd: US dollars an hour for a GB of RAM.
        source: origin of the prices, for reports.
        date: day of the prices, for reports.
        shapes: US dollars an hour for all nodes of a shape, by its name; overrides the other two prices.
    """

    vcpu_hour_usd: float
    gb_hour_usd: float
    source: str
    date: str
    shapes: Mapping[str, float] = field(default_factory=dict)

    def hour_usd(self, shape: Shape) -> float:
        """Return the price of an hour of all nodes of ``shape``."""
        if shape.name in self.shapes:
            return self.shapes[shape.name]
        return shape.nodes * (shape.vcpus * self.vcpu_hour_usd + shape.ram_gb * self.gb_hour_usd)

    def month_usd(self, shape: Shape, hours: float) -> float:
        """Return the price of a month in which ``shape`` runs for ``hours`` hours."""
        return hours * self.hour_usd(shape)

    def million_usd(self, shape: Shape, rps: float) -> float:
        """Return the price of a million predictions at ``rps`` successes a second."""
        return self.hour_usd(shape) / (rps * _SECONDS_AN_HOUR) * _MILLION


# The prices of the reference study.
E2 = Prices(0.02289, 0.003067, "Google Cloud E2 custom machines, as in the reference study", "2022-07-28")
STUDY_HOURS = 24.0


@dataclass(frozen=True, slots=True)
class Pricing:
    """A price list, the hours a month that a deployment runs, and whether an option set one of them."""

    prices: Prices = E2
    hours: float = STUDY_HOURS
    is_asked: bool = False


def read_prices(path: Path) -> Prices:
    """Read a YAML file with the fields of `Prices`.

    Raises:
        ConfigurationError: when the file cannot be read, or a value in it does not fit.
    """
    import yaml

    text = text_of(path, "price file", _MOST_BYTES)
    try:
        content = yaml.safe_load(text)
    except Exception as error:  # noqa: BLE001 - PyYAML raises any error for a tag that does not fit its text
        raise ConfigurationError(f"{path} is not YAML: {one_line(str(error))}.") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must be a mapping with the keys {', '.join(_KEYS)}.")
    for name in content:
        if name not in _KEYS:
            raise ConfigurationError(f"{path}: unknown key {shown(name)}; {nearest(str(name), _KEYS)}.")
    shapes = content.get("shapes") or {}
    if not isinstance(shapes, dict):
        raise ConfigurationError(
            f"{path}: shapes must be a mapping of shapes to prices, not {shown(shapes)}."
        )
    return Prices(
        vcpu_hour_usd=_price(path, content, "vcpu_hour_usd"),
        gb_hour_usd=_price(path, content, "gb_hour_usd"),
        source=_text(path, content, "source"),
        date=_text(path, content, "date"),
        shapes={_shape(path, name): _price(path, shapes, name) for name in shapes},
    )


_KEYS = [part.name for part in fields(Prices)]


def _price(path: Path, values: Mapping[object, object], name: object) -> float:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _TOO_MUCH:
        raise ConfigurationError(f"{path}: {name} must be a price in USD an hour, not {shown(value)}.")
    return float(value)


def _text(path: Path, values: Mapping[object, object], name: str) -> str:
    value = values.get(name)
    text = one_line(str(value)) if isinstance(value, str | int | float | date) else ""
    if not text:
        raise ConfigurationError(
            f"{path}: {name} is missing; say where the prices are from, and of what date."
        )
    return text


def _shape(path: Path, name: object) -> str:
    try:
        return Shape.parse(str(name)).name
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None
