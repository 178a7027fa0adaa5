"""A configuration's card: its verdict, the requested and the reached load, the noise, its SLOs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_tfserving.experiments.load_shape import CONSTANT
from pytest_tfserving.report.formatting import figure, load_reached, open_loop_rates, percent, slo_reason
from pytest_tfserving.report.json import noise_from_dict, number
from pytest_tfserving.report.slo_lines import limit_text, margin_text, value_text
from pytest_tfserving.slo.language import Slo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.experiments.load_profile import ProfileFields
    from pytest_tfserving.report.schema import ResultData, SloData

# Levels of a shape that fit on a line.
_MOST_SHOWN = 12


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
        *([Row("rates", rates)] if (rates := open_loop_rates(result)) else []),
        Row("noise", "; ".join(_noise(result)) or "-"),
    ]


class SloRow(NamedTuple):
    """An SLO of the card: its verdict, its text, the figure, the limit, the room up to the limit, why."""

    verdict: str
    slo: str
    value: str
    limit: str
    margin: str
    reason: str


def slo_rows(result: ResultData) -> list[SloRow]:
    """Return a row for each SLO, once even if several tests have judged it."""
    different = {(slo["slo"], slo["verdict"], slo["strict"]): slo for slo in result["slos"]}
    return [_slo_row(slo) for slo in different.values()]


def _slo_row(judged: SloData) -> SloRow:
    slo = Slo.parse(judged["slo"], strict=judged["strict"])
    value = number(judged["value"])
    return SloRow(
        judged["verdict"],
        judged["slo"],
        value_text(slo, value),
        limit_text(slo),
        margin_text(slo, value) or "-",
        slo_reason(judged),
    )


def load_asked(profile: ProfileFields) -> str:
    """Return a load profile in words: ``150 users, 1 started a second; for 300 s``."""
    shape = profile.get("shape", CONSTANT)
    parts = list(_open_loop(profile) if profile.get("rate") else _closed_loop(profile))
    parts += [_short(shape)] if shape != CONSTANT else []
    length = f"for {figure(profile['run_time_s'])} s"
    return f"{', '.join(parts)}; {length}{' at most' if profile.get('early_stop') else ''}"


def _open_loop(profile: ProfileFields) -> Iterator[str]:
    yield f"{figure(profile.get('rate'))} requests a second, due whether or not others were answered"
    if replay := profile.get("replay"):
        speed = profile.get("speed", 1.0)
        yield f"as in {replay['path']}{f', {figure(speed)} times as fast' if speed != 1 else ''}"
    elif arrivals := profile.get("arrivals"):
        yield f"{arrivals} arrivals{_burstiness(profile)}"


def _burstiness(profile: ProfileFields) -> str:
    """Return the settings of bursty arrivals in words."""
    if cv := profile.get("cv"):
        return f" with a cv of {cv:g}"
    if factor := profile.get("burst_factor"):
        return (
            f", in bursts of {profile['burst_s']:g} s at {factor:g} times the rate of the "
            f"{profile['calm_s']:g} s between them"
        )
    return ""


def _short(shape: str) -> str:
    """Return a shape in one line: of many levels, the number."""
    count = shape.count(":") + 1
    return f"a day of {count} levels" if count > _MOST_SHOWN else shape


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
