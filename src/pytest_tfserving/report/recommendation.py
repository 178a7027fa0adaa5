"""Recommendation of a configuration: the cheapest that passes, the fastest, and the unbeaten ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_tfserving.report.cost import STUDY_HOURS
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


def recommend(
    candidates: Sequence[Candidate],
    verdicts: Sequence[str],
    hours: float = STUDY_HOURS,
    *,
    is_cost_asked: bool = False,
) -> Recommendation:
    """Choose among ``candidates``.

    Args:
        candidates: the configurations that passed.
        verdicts: the verdict on each configuration that was measured.
        hours: the hours a month that a deployment runs, which costs are for.
        is_cost_asked: whether the cost of a configuration is of interest without another one to compare with.
    """
    if not candidates:
        return Recommendation(_nothing(verdicts))
    fastest = _fastest(candidates)
    shown_hours = hours if is_cost_asked or len(verdicts) > 1 else 0.0
    priced = [each for each in candidates if each.month_usd is not None]
    if not priced:
        return Recommendation(_sentence(None, fastest, candidates, shown_hours), None, fastest)
    cheapest = _cheapest(priced)
    return Recommendation(
        _sentence(cheapest, fastest, candidates, shown_hours),
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


def _nothing(verdicts: Sequence[str]) -> str:
    if not verdicts:
        return "Nothing to recommend: no configuration was measured under its whole load."
    if len(verdicts) == 1:
        return f"Nothing to recommend: the one configuration that was measured is {verdicts[0]}."
    return f"Nothing to recommend: none of the {len(verdicts)} configurations that were measured passed."


def _sentence(cheapest: Choice | None, fastest: Choice, candidates: Sequence[Candidate], hours: float) -> str:
    """Return the recommendation in words, with costs for ``hours`` a month unless these are 0."""
    by_name = {each.name: each for each in candidates}
    best = by_name[fastest.name]
    if len(candidates) == 1:
        return f"{best.name} is the only configuration that passed{_at(best, hours, ', at')}."
    throughput = f"the most throughput, {best.rps:.3g} requests a second{_tied(fastest)}"
    if cheapest is None:
        return f"{best.name} has {throughput}."
    choice = by_name[cheapest.name]
    taken = f"Take {choice.name}: it is the cheapest that meets the SLOs{_at(choice, hours)}"
    if choice is best:
        return f"{taken}, and has {throughput}."
    return f"{taken}{_tied(cheapest)}. {best.name} has {throughput}{_at(best, hours)}."


def _at(candidate: Candidate, hours: float, link: str = " at") -> str:
    if candidate.month_usd is None or not hours:
        return ""
    return f"{link} {candidate.month_usd:.2f} USD for {hours:g} h a month"


def _tied(choice: Choice) -> str:
    if not choice.ties:
        return ""
    few = 3
    shown = ", ".join(choice.ties[:few]) + (
        f" and {len(choice.ties) - few} more" if len(choice.ties) > few else ""
    )
    return f" (as far as the data tell, {shown} {'does' if len(choice.ties) == 1 else 'do'} as well)"
