"""The SLO language, ``"p95<200ms"`` or ``"efficiency>=80%"``, and its verdicts."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from pytest_tfserving import noise_memory
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.metrics import RELATIVE, Limit, Metric, Source, Unit, metric_of, too_few

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pytest_tfserving.noise import Noise
    from pytest_tfserving.slo_tests import SeriesSet, SloTest


class Verdict(StrEnum):
    """The outcome of one SLO, or of an experiment: the worst of its SLOs."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    NOT_JUDGED = "NOT JUDGED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    FAIL = "FAIL"

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """The verdict that decides a group; of nothing it is NOT JUDGED."""
        order = list(cls)
        return max(verdicts, key=order.index, default=cls.NOT_JUDGED)


class Measured(Protocol):
    """What a verdict reads of a result; ``aborted``, ``invalid`` and ``incomplete`` are causes or empty."""

    @property
    def successes(self) -> int: ...  # noqa: D102
    @property
    def aborted(self) -> str: ...  # noqa: D102
    @property
    def invalid(self) -> str: ...  # noqa: D102
    @property
    def incomplete(self) -> str: ...  # noqa: D102
    def metric(self, name: str) -> float:
        """A metric in its own unit: ms, requests a second, or a ratio of 1; NaN when it is not known."""
        ...

    def decision(self, slo: Slo) -> Decision | Undecided | None:
        """What was proved of ``slo`` while load ran; None where it was not watched."""
        ...

    def unknown(self, metric: Metric) -> str:
        """Return why a metric is not known."""
        ...

    def doubt(self, slo: Slo) -> Doubt | None:
        """Return what the load generator's own trouble did to what ``slo`` limits, at most, if it had any."""
        ...

    def metric_range(self, slo: Slo) -> tuple[float, float, float]:
        """Lowest, best and highest estimate of what ``slo`` limits, in the limit's unit."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """What a sequential test proved while load ran: that an SLO ``holds``, or that it does not.

    It took ``after_s`` seconds of steady load, until ``at_s`` of the run, and as much as ``n_eff``
    independent requests, or blocks of time; ``alpha`` is how often such a proof is wrong at most, given that
    the machine's speed forgets within ``noise_memory_s``, which is NaN where it is not known.
    """

    holds: bool
    alpha: float
    after_s: float
    at_s: float
    n_eff: float
    noise_memory_s: float = math.nan

    def __str__(self) -> str:
        found = "proved in" if self.holds else "hopeless after"
        given = f"alpha {self.alpha:g}, n_eff {self.n_eff:.0f}"
        if not math.isnan(self.noise_memory_s):
            given += f", noise memory {self.noise_memory_s:.3g} s"
        return f"{found} {self.after_s:.1f} s ({given})"


@dataclass(frozen=True, slots=True)
class Undecided:
    """What no test could prove: about ``more_s`` more seconds of the same load would likely decide it.

    ``noise`` is what it would take that time for, None where nothing is known of it. ``length_s`` is how much
    steady load there was. What is not known is NaN.
    """

    alpha: float
    more_s: float
    unsteady: str = ""
    noise: Noise | None = None
    length_s: float = math.nan
    noise_memory_s: float = math.nan

    def __str__(self) -> str:
        if self.unsteady:
            return f"no steady state: {self.unsteady}"
        cause = f", since {self.noise.cause}" if self.noise else ""
        remedy = f"{self.noise.remedy} would help most; " if self.noise and self.noise.remedy else ""
        short = noise_memory.too_short(self.length_s, self.noise_memory_s)
        too_short = f"; {short}" if short and self.noise and self.noise.is_level else ""
        return f"undecided (alpha {self.alpha:g}){cause}: {remedy}{self._how_much_more}{too_short}"

    @property
    def _how_much_more(self) -> str:
        if self.more_s < _LONGEST_S:
            return f"about {max(self.more_s, 1):.0f} s more would likely decide it"
        if not self.noise:
            return "there was too little steady load to tell how much more would decide it"
        return "it would likely take more than an hour to decide it"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the load generator's own trouble, ``cause``, can have done to a figure, in its limit's unit.

    Without that trouble the figure measured would have been from ``lowest`` to ``highest``. The figure
    itself, of which a sample was measured, would be from ``low`` to ``high``. ``remedy`` is what would help.
    """

    cause: str
    remedy: str
    low: float
    high: float
    lowest: float
    highest: float


_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SLO = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(<=|>=|==|=|<|>)\s*([+-]?[\d._]+(?:[eE][+-]?\d+)?)\s*(\D*?)\s*")
# Longer texts take the pattern long.
_LONGEST = 200
# No one waits longer for a verdict.
_LONGEST_S = 3600
EXAMPLE = '"p95<200ms", "rps>=120", "errors<0.1%" or "efficiency>=80%"'


@dataclass(frozen=True, slots=True)
class Slo:
    """One requirement on a result.

    ``limit`` is in ``unit``; ``strict=False`` reports without failing. No run is prolonged for a ``guard``.
    """

    metric: str
    op: str
    limit: float
    unit: Unit
    text: str
    strict: bool = True
    guard: bool = False

    @classmethod
    def parse(cls, text: str, *, strict: bool = True) -> Slo:
        """Read one SLO.

        Raises:
            ConfigurationError: naming the part that does not parse and what would.
        """
        match = _SLO.fullmatch(text) if isinstance(text, str) and len(text) <= _LONGEST else None
        if not match:
            raise ConfigurationError(f"{text!r} is not an SLO; write it as {EXAMPLE}.")
        name, op, number, unit = match.groups()
        metric = _metric_of(name, text)
        _check_operator(metric, op, text)
        if unit not in metric.units:
            valid = ", ".join(repr(each) if each else "none" for each in metric.units)
            wrong = f"unit {unit!r}" if unit else "a missing unit"
            raise ConfigurationError(f"SLO {text!r}: {wrong} does not fit {name}; valid: {valid}.")
        return cls(name, op, _limit(number, text), metric.units[unit], text.strip(), strict)

    @property
    def definition(self) -> Metric:
        """The metric that is limited."""
        return metric_of(self.metric)

    @property
    def relative(self) -> bool:
        """Whether the limit is a multiple of what the baseline on the same cores does."""
        return self.unit == RELATIVE or self.definition.needs is Source.BASELINE

    @property
    def is_paired(self) -> bool:
        """Whether the figure is a ratio that the machine's speed cancels out of."""
        return self.relative or self.definition.needs is not Source.NOTHING

    @property
    def higher_is_better(self) -> bool:
        """Whether the limit is a least one."""
        return self.definition.higher_is_better

    @property
    def needs_whole_run(self) -> bool:
        """Whether it is about everything that happened, so that nothing less can prove it."""
        return self.definition.whole_run(self.limit * self.unit.factor)

    def sequential_test(self, noise_memory_s: float, shared: SeriesSet) -> SloTest | None:
        """Return the test that watches a run of load; None for a limit that all meet, or miss.

        Args:
            noise_memory_s: for how many seconds the machine's speed remembers at most.
            shared: the series that all tests of one window share.
        """
        limit = self.limit * self.unit.factor
        if limit <= 0 and not self.needs_whole_run:
            return None
        at_limit_counts = self.op == "<"
        return self.definition.test(Limit(limit, self.relative, at_limit_counts, noise_memory_s, shared))

    def holds(self, value: float) -> bool:
        """Whether ``value``, in the limit's unit, meets the limit."""
        return _OPERATORS[self.op](value, self.limit)

    def judge(self, result: Measured) -> Judgement:
        """The verdict on ``result``, with a sentence that says by how much."""
        judgement = self._judged(result)
        if math.isnan(judgement.value) or (doubt := result.doubt(self)) is None:
            return judgement
        is_open = judgement.verdict is Verdict.INCONCLUSIVE
        ends = (doubt.lowest, doubt.highest) if is_open else (doubt.low, doubt.high)
        if any(self.holds(end) != self.holds(judgement.value) for end in ends):
            cause = f"{doubt.cause}, {self._effect(judgement.value, doubt)}; {doubt.remedy}"
            reason = f"{self._distance(judgement.value)}; {cause}"
            return replace(judgement, verdict=Verdict.INVALID, reason=reason)
        if is_open:
            return judgement
        although = f"stands although {doubt.cause}, {self._effect(judgement.value, doubt)}"
        return replace(judgement, reason=f"{judgement.reason}; {although}")

    def _effect(self, value: float, doubt: Doubt) -> str:
        """Return what the generator's trouble can have done in favour of the verdict that ``value`` has."""
        favoured = doubt.highest if self.higher_is_better != self.holds(value) else doubt.lowest
        amount = f"at most {self.show(abs(favoured - value))}" if math.isfinite(favoured) else "any amount"
        if doubt.lowest == doubt.highest:
            return f"which hardly touches {self.metric}"
        if favoured == value:
            done = "raised" if doubt.lowest < value else "lowered"
            return f"which can only have {done} {self.metric}"
        return f"which can have {'lowered' if favoured > value else 'raised'} {self.metric} by {amount}"

    def _judged(self, result: Measured) -> Judgement:
        """Return the verdict on figures that are taken to be the server's."""
        for verdict, cause in (
            (Verdict.FAIL, result.aborted),
            (Verdict.INVALID, result.invalid),
            (Verdict.INCONCLUSIVE, result.incomplete),
        ):
            if cause:
                return Judgement(self, verdict, math.nan, cause)
        if not result.successes and self.metric != "errors":
            return Judgement(self, Verdict.FAIL, math.nan, "no successful request in the window")
        low, value, high = result.metric_range(self)
        if math.isnan(value):
            return Judgement(self, Verdict.NOT_JUDGED, value, result.unknown(self.definition))
        decision = result.decision(self)
        if doubt := self._doubt((low, value, high), result.successes, decision):
            return Judgement(self, Verdict.INCONCLUSIVE, value, f"{self._distance(value)}; {doubt}")
        proof = f"; {decision}" if isinstance(decision, Decision) else ""
        verdict = Verdict.PASS if self.holds(value) else Verdict.FAIL
        return Judgement(self, verdict, value, f"{self._distance(value)}{proof}")

    def _doubt(
        self, values: tuple[float, float, float], successes: int, decision: Decision | Undecided | None
    ) -> str:
        """Why the data cannot tell; empty when they can.

        What was proved has to be what the whole window says, too. What could not be proved is in doubt, but
        for what only the whole run can tell, and for a guard, which the estimate decides.
        """
        low, value, high = values
        if isinstance(decision, Decision):
            if self.holds(value) == decision.holds:
                return ""
            return f"{decision}, but what came later says otherwise"
        if isinstance(decision, Undecided) and not (self.guard or self.needs_whole_run):
            return str(decision)
        if few := too_few(self.metric, successes):
            return few
        return self._spread(low, high) if self.holds(low) != self.holds(high) else ""

    def _spread(self, low: float, high: float) -> str:
        """Return what the limit lies inside of."""
        if math.isinf(high):
            return "two readings of the server's CPU do not tell how much it varies"
        return f"its 95 % interval is from {self.show(low)} to {self.show(high)}"

    def show(self, value: float) -> str:
        """``value``, which is in the limit's unit, as text with its unit."""
        gap = "" if self.unit.text in ("%", "x", "/s", "") else " "
        unit = self.unit.text or ("/s" if self.metric == "rps" else "")
        return f"{value:.4g}{gap}{unit}" if abs(value) < 1e4 else f"{value:.0f}{gap}{unit}"  # noqa: PLR2004

    def _distance(self, value: float) -> str:
        gap = abs(value - self.limit)
        side = "above" if value > self.limit else "below"
        share = f" ({100 * (value - self.limit) / self.limit:+.1f} %)" if self.limit else ""
        return f"{self.metric} is {self.show(value)}, {self.show(gap)} {side} the limit{share}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One SLO's verdict; ``value`` is in the limit's unit, NaN when there is none."""

    slo: Slo
    verdict: Verdict
    value: float
    reason: str

    @property
    def holds(self) -> bool:
        """Whether it is met, by proof or, where that is lacking, by the best estimate."""
        return self.verdict is Verdict.PASS or (self.verdict is Verdict.INCONCLUSIVE and self.estimate_holds)

    @property
    def estimate_holds(self) -> bool:
        """Whether the best estimate meets the limit, whatever doubt there is."""
        return not math.isnan(self.value) and self.slo.holds(self.value)

    def __str__(self) -> str:
        return f"{self.verdict}: {self.slo.text}: {self.reason}"


def full_reason(reason: str, *, strict: bool) -> str:
    """Return the reason of a verdict, and that the verdict fails nothing where its SLO is not strict."""
    return reason if strict else f"{reason} (reported only)"


@dataclass(frozen=True, slots=True)
class SloSet:
    """The SLOs that one experiment has on one target; ``owner`` names both in texts."""

    slos: tuple[Slo, ...] = ()
    owner: str = "this experiment"

    def of(self, owner: str) -> SloSet:
        """The same SLOs under the name of their owner."""
        return replace(self, owner=owner)

    def __iter__(self) -> Iterator[Slo]:
        return iter(self.slos)

    def __len__(self) -> int:
        return len(self.slos)

    @property
    def min_rps(self) -> float:
        """The least requests a second; skips the test as NOT JUDGED where there is no such SLO."""
        return self._absolute("rps")

    @property
    def max_p95_ms(self) -> float:
        """The highest p95 in ms; skips the test as NOT JUDGED where there is no such SLO."""
        return self._absolute("p95")

    @property
    def max_p99_ms(self) -> float:
        """The highest p99 in ms; skips the test as NOT JUDGED where there is no such SLO."""
        return self._absolute("p99")

    def _absolute(self, metric: str) -> float:
        for slo in self.slos:
            if slo.metric == metric and slo.unit != RELATIVE:
                return slo.limit * slo.unit.factor
        import pytest

        raise pytest.skip.Exception(f"{Verdict.NOT_JUDGED}: {self.owner} has no absolute SLO for {metric}")


def parse_slos(texts: Iterable[str], *, strict: bool = True) -> tuple[Slo, ...]:
    """Every text read by `Slo.parse`."""
    return tuple(Slo.parse(text, strict=strict) for text in texts)


def _metric_of(name: str, text: str) -> Metric:
    try:
        return metric_of(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"SLO {text!r}: {error}") from None


def _check_operator(metric: Metric, op: str, text: str) -> None:
    valid = (">", ">=") if metric.higher_is_better else ("<", "<=")
    if op not in valid:
        better = "higher" if metric.higher_is_better else "lower"
        raise ConfigurationError(
            f"SLO {text!r}: {op!r} does not fit {metric.name}, of which {better} is better; "
            f"valid: {valid[0]} and {valid[1]}."
        )


def _limit(number: str, text: str) -> float:
    try:
        limit = float(number)
    except ValueError:
        raise ConfigurationError(
            f"SLO {text!r}: {number!r} is not a number; write it as {EXAMPLE}."
        ) from None
    if not 0 <= limit < math.inf:
        raise ConfigurationError(f"SLO {text!r}: a limit is never negative, nor infinite.")
    return limit
