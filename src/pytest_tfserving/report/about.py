"""The subject of a report: the model, the target, the machine, the commit and the load of its results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pytest_tfserving.report.card import load_asked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_tfserving.report.schema import ResultData

_MOST_VALUES = 3


def about(results: Sequence[ResultData]) -> list[tuple[str, str]]:
    """Return each fact that is known, with its value, or its values if results differ in it."""
    facts: dict[str, Callable[[ResultData], str]] = {
        "model": lambda each: each["configuration"].get("model", ""),
        "target": _target,
        "server": lambda each: _known(each["environment"].get("server")),
        "machine": lambda each: _machine(each["environment"].get("machine")),
        "commit": lambda each: _known(each["environment"].get("commit")),
        "load": lambda each: load_asked(each["profile"]),
    }
    values = {name: _listed([read(each) for each in results]) for name, read in facts.items()}
    return [(name, value) for name, value in values.items() if value]


def _listed(values: Sequence[str]) -> str:
    """Return different values one after the other, or how many there are."""
    different = list(dict.fromkeys(filter(None, values)))
    if len(different) > _MOST_VALUES:
        return f"{len(different)} different ones, see each configuration"
    return "; ".join(different)


def _target(result: ResultData) -> str:
    way = f", reached by {result['via']}" if result["via"] else ""
    return f"{result['target']}{way}"


def _machine(machine: object) -> str:
    """Return the CPU, the cores, the RAM and the system of the machine that pytest ran on."""
    if not isinstance(machine, Mapping):
        return ""
    cores, ram_gb = machine.get("cores"), machine.get("ram_gb")
    parts = [
        _known(machine.get("cpu")),
        f"{cores} core{'' if cores == 1 else 's'}" if cores else "",
        f"{ram_gb} GB" if ram_gb else "",
        _known(machine.get("system")),
    ]
    return ", ".join(filter(None, parts))


def _known(value: object) -> str:
    return "" if value is None else str(value)
