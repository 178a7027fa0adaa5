"""Recommendation of a configuration: the cheapest that passes, the fastest, and the unbeaten ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.statistics.intervals import Interval, overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration that was measured and passed.

    Attributes:
        name: label of the configuration.
        rps: successes a second.
        p95_ms: 95th percentile of the latencies.
        month_usd: cost of a month in US dollars; None if unknown.
        rps_interval: 95 % confidence interval of ``rps``; None if unknown.
        p95_interval: 95 % confidence interval of ``p95_ms``; None if unknown.
    """

    name: str
    rps: float
    p95_ms: float
    month_usd: float | None
    rps_interval: Interval | None = None
    p95_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The best configuration by some measure, and those that the data cannot distinguish from it."""

    name: str
    ties: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A recommendation: ``sentence`` in words, and the choices behind it, None if there are no candidates.

    ``front_rps`` names the configurations that no other one beats in both cost and rps, ``front_p95`` those
    in cost and p95.
    """

    sentence: str
    cheapest: Choice | None = None
    fastest: Choice | None = None
    front_rps: tuple[str, ...] = ()
    front_p95: tuple[str, ...] = ()


def recommend(candidates: Sequence[Candidate], measured: int) -> Recommendation:
    """Choose among ``candidates``, the passing ones of ``measured`` configurations."""
    if not candidates:
        return Recommendation(_nothing(measured))
    fastest = _fastest(candidates)
    priced = [each for each in candidates if each.month_usd is not None]
    if not priced:
        return Recommendation(_sentence(None, fastest, candidates), None, fastest)
    cheapest = _cheapest(priced)
    return Recommendation(
        _sentence(cheapest, fastest, candidates),
        cheapest,
        fastest,
        _front(priced, lambda each: -each.rps),
        _front(priced, lambda each: each.p95_ms),
    )


def _fastest(candidates: Sequence[Candidate]) -> Choice:
    best = max(candidates, key=lambda each: each.rps)
    others = [each for each in candidates if each is not best]
    return Choice(
        best.name, tuple(each.name for each in others if overlap(best.rps_interval, each.rps_interval))
    )


def _cheapest(priced: Sequence[Candidate]) -> Choice:
    """Return the fastest among the cheapest; others of the same cost tie if their rates do."""
    least = min(_usd(each) for each in priced)
    equal = [each for each in priced if round(_usd(each), 2) == round(least, 2)]
    return _fastest(equal)


def _front(priced: Sequence[Candidate], badness: Callable[[Candidate], float]) -> tuple[str, ...]:
    """Return the configurations that none beats: as good in cost and ``badness``, and better in one."""

    def beats(one: Candidate, other: Candidate) -> bool:
        ours, theirs = (_usd(one), badness(one)), (_usd(other), badness(other))
        return all(mine <= yours for mine, yours in zip(ours, theirs, strict=True)) and ours != theirs

    return tuple(each.name for each in priced if not any(beats(other, each) for other in priced))


def _usd(candidate: Candidate) -> float:
    assert candidate.month_usd is not None
    return candidate.month_usd


def _nothing(measured: int) -> str:
    if not measured:
        return "Nothing to recommend: no configuration was measured under its whole load."
    which = "the one configuration" if measured == 1 else f"none of the {measured} configurations"
    ending = "that was measured did not pass" if measured == 1 else "that were measured passed"
    return f"Nothing to recommend: {which} {ending}."


def _sentence(cheapest: Choice | None, fastest: Choice, candidates: Sequence[Candidate]) -> str:
    by_name = {each.name: each for each in candidates}
    best = by_name[fastest.name]
    if len(candidates) == 1:
        return f"{best.name} is the only configuration that passed{_at(best, ', at')}."
    throughput = f"the most throughput, {best.rps:.3g} requests a second{_tied(fastest)}"
    if cheapest is None:
        return f"{best.name} has {throughput}."
    choice = by_name[cheapest.name]
    taken = f"Take {choice.name}: it is the cheapest that meets the SLOs{_at(choice)}"
    if choice is best:
        return f"{taken}, and has {throughput}."
    return f"{taken}{_tied(cheapest)}. {best.name} has {throughput}{_at(best)}."


def _at(candidate: Candidate, link: str = " at") -> str:
    return "" if candidate.month_usd is None else f"{link} {candidate.month_usd:.2f} USD a month"


def _tied(choice: Choice) -> str:
    if not choice.ties:
        return ""
    few = 3
    shown = ", ".join(choice.ties[:few]) + (
        f" and {len(choice.ties) - few} more" if len(choice.ties) > few else ""
    )
    return f" (as far as the data tell, {shown} {'does' if len(choice.ties) == 1 else 'do'} as well)"
