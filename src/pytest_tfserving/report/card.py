"""The head of a configuration's card: its verdict, the requested and the reached load, the noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_tfserving.experiments.load_shape import CONSTANT
from pytest_tfserving.report.formatting import figure, load_reached, percent
from pytest_tfserving.report.json import noise_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.experiments.load_profile import ProfileFields
    from pytest_tfserving.report.schema import ResultData


class Row(NamedTuple):
    """A line of the head; ``kind`` is the verdict whose colour the line has, empty for no colour."""

    name: str
    text: str
    kind: str = ""


def head(result: ResultData) -> list[Row]:
    """Return the lines of a result's head."""
    record = result.get("run_record")
    return [
        Row("verdict", result["verdict"], result["verdict"]),
        Row("load asked", load_asked(result["profile"])),
        *([Row("load reached", load_reached(record))] if record else []),
        Row("noise", "; ".join(_noise(result)) or "-"),
    ]


def load_asked(profile: ProfileFields) -> str:
    """Return a load profile in words: ``150 users, 1 started a second; for 300 s``."""
    shape = profile.get("shape", CONSTANT)
    parts = list(_open_loop(profile) if profile.get("rate") else _closed_loop(profile))
    parts += [shape] if shape != CONSTANT else []
    length = f"for {profile['run_time_s']:g} s"
    return f"{', '.join(parts)}; {length}{' at most' if profile.get('early_stop') else ''}"


def _open_loop(profile: ProfileFields) -> Iterator[str]:
    yield f"{figure(profile.get('rate'))} requests a second, due whether or not others were answered"
    if arrivals := profile.get("arrivals"):
        yield f"{arrivals} arrivals"


def _closed_loop(profile: ProfileFields) -> Iterator[str]:
    yield f"{profile['users']} users"
    if profile.get("shape", CONSTANT) == CONSTANT:
        yield f"{profile['spawn_rate']:g} started a second"
    if profile.get("think_time_s"):
        yield f"{profile['think_time_s']:g} s from a response to the next request"
    if profile.get("pace_s"):
        yield f"a request each {profile['pace_s']:g} s"


def _noise(result: ResultData) -> Iterator[str]:
    """Yield texts about noise: the assumed noise memory, the wait for cores, the SLOs that it kept open."""
    if result["noise_memory_s"] is not None:
        yield f"taken to be forgotten within {figure(result['noise_memory_s'])} s"
    if result["total_requests"]:
        yield f"the load generator waited for a core {percent(result['generator']['wait'])} of the time"
    for slo, undecided in result["undecided"].items():
        if noise := noise_from_dict(undecided.get("noise")):
            yield f"{slo} stayed open, since {noise.cause}"
