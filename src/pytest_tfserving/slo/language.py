"""The SLO language, ``"p95<200ms"`` or ``"efficiency>=80%"``, and its verdicts."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.slo.metrics import CHANGE, RELATIVE, Limit, Metric, Source, Unit, metric_of, too_few
from pytest_tfserving.slo.scope import NOT_BY_KIND, NOT_BY_WINDOW, window_s
from pytest_tfserving.statistics import noise_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from pytest_tfserving.slo.noise import Noise
    from pytest_tfserving.slo.sequential_tests import SeriesSet, SloTest


class Verdict(StrEnum):
    """The outcome of one SLO, or of an experiment: the worst of its SLOs."""

    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    NOT_JUDGED = "NOT JUDGED"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    FAIL = "FAIL"

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Return the verdict that decides a group; NOT JUDGED for an empty group."""
        order = list(cls)
        return max(verdicts, key=order.index, default=cls.NOT_JUDGED)


class Measured(Protocol):
    """The parts of a result that a verdict needs.

    ``kinds`` has the names of the kinds of requests. The texts are causes, empty if they do not apply.
    """

    @property
    def kinds(self) -> Collection[str]: ...  # noqa: D102 - the class says it
    @property
    def aborted(self) -> str: ...  # noqa: D102 - the class says it
    @property
    def invalid(self) -> str: ...  # noqa: D102 - the class says it
    @property
    def incomplete(self) -> str: ...  # noqa: D102 - the class says it
    def successes_of(self, slo: Slo) -> int:
        """Return the number of successful requests that ``slo`` judges."""
        ...

    def metric(self, name: str) -> float:
        """Return a metric in its own unit: ms, requests a second, or a ratio of 1; NaN if unknown."""
        ...

    def decision(self, slo: Slo) -> Decision | Undecided | None:
        """Return the decision on ``slo`` while load ran; None if the run did not watch ``slo``."""
        ...

    def is_exact(self, slo: Slo) -> bool:
        """Return whether ``slo``'s figure is known without the noise of a sample."""
        ...

    def unknown(self, metric: Metric) -> str:
        """Return why a metric is unknown."""
        ...

    def resolution(self, slo: Slo) -> float:
        """Return the smallest change that the run could have seen, in per cent; NaN if unknown."""
        ...

    def not_compared(self, slo: Slo) -> str:
        """Return why the change that ``slo`` limits is unknown."""
        ...

    def doubt(self, slo: Slo) -> Doubt | None:
        """Return the possible effect of the load generator's own trouble on ``slo``'s figure, if any."""
        ...

    def metric_range(self, slo: Slo) -> tuple[float, float, float]:
        """Return the lowest, the best and the highest estimate of ``slo``'s figure, in the limit's unit."""
        ...

    def place(self, slo: Slo) -> str:
        """Return the part of the run that ``slo``'s figure is of, to follow it; empty for the whole run."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """The proof of a sequential test while load ran.

    Attributes:
        holds: whether the SLO holds.
        alpha: largest probability that such a proof is wrong.
        after_s: steady load that the proof took, in seconds.
        at_s: time of the proof since the run's start, in seconds.
        n_eff: independent requests, or blocks of time, that the proof rests on.
        noise_memory_s: assumed noise memory in seconds; NaN if unknown.
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
    """An SLO that no sequential test could decide while load ran.

    Attributes:
        alpha: largest probability that a proof would be wrong.
        more_s: seconds of the same load that would likely decide the SLO.
        unsteady: why the load never became steady; empty if it did.
        noise: the noise that costs this time; None if unknown.
        length_s: steady load so far, in seconds; NaN if unknown.
        noise_memory_s: assumed noise memory in seconds; NaN if unknown.
        cause: why parts of the run are undecided, of an SLO that judges each part; else empty.
    """

    alpha: float
    more_s: float
    unsteady: str = ""
    noise: Noise | None = None
    length_s: float = math.nan
    noise_memory_s: float = math.nan
    cause: str = ""

    def __str__(self) -> str:
        if self.cause:
            return f"undecided (alpha {self.alpha:g}): {self.cause}"
        if self.unsteady:
            return f"no steady state: {self.unsteady}"
        cause = f", since {self.noise.cause}" if self.noise else ""
        remedy = f"{self.noise.remedy} would help most; " if self.noise and self.noise.remedy else ""
        short = noise_memory.too_short(self.length_s, self.noise_memory_s)
        too_short = f"; {short}" if short and self.noise and self.noise.is_level else ""
        return f"undecided (alpha {self.alpha:g}){cause}: {remedy}{self.more_text}{too_short}"

    @property
    def more_text(self) -> str:
        """Amount of load that would likely decide the SLO, as a part of a sentence."""
        if self.more_s < _LONGEST_S:
            return f"about {max(self.more_s, 1):.0f} s more (--tfserving-run-time) would likely decide it"
        if not self.noise:
            return "there was too little steady load to tell how much more would decide it"
        return "it would likely take more than an hour to decide it"


@dataclass(frozen=True, slots=True)
class Doubt:
    """The possible effect of the load generator's own trouble on a figure. Numbers are in the limit's unit.

    Attributes:
        cause: the trouble, as a part of a sentence.
        remedy: a change that would help, as a part of a sentence.
        low: lower end of the server's figure without the trouble, with the uncertainty of a sample.
        high: upper end of that figure.
        lowest: lower end of the measured figure without the trouble.
        highest: upper end of that figure.
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
_SLO = re.compile(
    r"\s*([A-Za-z_][\w.]*)\s*(?:\{([^{}]+)\})?\s*(<=|>=|==|=|<|>)\s*([+-]?[\d._]+(?:[eE][+-]?\d+)?)\s*(\D*?)"
    r"(?:\s+every\s+(\S.*?))?\s*"
)
# The pattern takes long on longer texts.
_LONGEST = 200
# The longest remaining time that is worth a number.
_LONGEST_S = 3600
_ALL = 100.0
_TWO_DIGITS = 9.95
_ONE_DIGIT, _SHOWN_AS_0 = 0.1, 0.005
EXAMPLE = '"p95<200ms", "rps>=120", "errors<0.1%", "efficiency>=80%" or "p95<=+5%"'


@dataclass(frozen=True, slots=True)
class Slo:
    """A requirement on a result.

    Attributes:
        metric: name of the metric, as ``p95``.
        op: ``<``, ``<=``, ``>`` or ``>=``.
        limit: the limit in ``unit``.
        unit: unit of the limit as it was written.
        text: the SLO as it was written.
        strict: whether a violation fails the test; if not, the SLO is only reported.
        guard: whether the SLO is one that no run waits for.
        against: whether the limit is a change against the baseline server, in per cent or percentage points.
        every_s: length in seconds of the windows that are judged one by one; 0 for the whole steady time.
        kind: kind of the requests that are judged; empty for all requests.
    """

    metric: str
    op: str
    limit: float
    unit: Unit
    text: str
    strict: bool = True
    guard: bool = False
    against: bool = False
    every_s: float = 0.0
    kind: str = ""

    @classmethod
    def parse(cls, text: object, *, strict: bool = True) -> Slo:
        """Read one SLO.

        Raises:
            ConfigurationError: with the part that does not parse, and what is valid.
        """
        match = _SLO.fullmatch(text) if isinstance(text, str) and len(text) <= _LONGEST else None
        if not match:
            raise ConfigurationError(f"{text!r} is not an SLO; write it as {EXAMPLE}.")
        text = match.string
        name, kind, op, number, unit, every = match.groups()
        metric = _metric_of(name, text)
        _check_operator(metric, op, text)
        if every:
            return cls._by_window(text, every, strict=strict)
        if kind:
            return cls._by_kind(text, kind, strict=strict)
        if number[0] in "+-" and unit == CHANGE.text:
            _check_change(metric, number, text)
            return cls(name, op, float(number), CHANGE, text.strip(), strict, against=True)
        if unit not in metric.units:
            valid = ", ".join(repr(each) if each else "none" for each in metric.units)
            wrong = f"unit {unit!r}" if unit else "a missing unit"
            raise ConfigurationError(f"SLO {text!r}: {wrong} does not fit {name}; valid: {valid}.")
        return cls(name, op, _limit(number, text), metric.units[unit], text.strip(), strict)

    @classmethod
    def _by_window(cls, text: str, every: str, *, strict: bool) -> Slo:
        """Read an SLO on each window of a length."""
        whole = cls.parse(text[: text.rindex("every")], strict=strict)
        if whole.against or whole.relative or whole.definition.window_test is None:
            raise ConfigurationError(f"SLO {text!r}: {whole.text} {NOT_BY_WINDOW}")
        return replace(whole, every_s=window_s(every, text), text=text.strip())

    @classmethod
    def _by_kind(cls, text: str, kind: str, *, strict: bool) -> Slo:
        """Read an SLO on the requests of one kind."""
        whole = cls.parse(text.replace(f"{{{kind}}}", "", 1), strict=strict)
        if whole.is_paired:
            raise ConfigurationError(f"SLO {text!r}: {whole.text} {NOT_BY_KIND}")
        return replace(whole, kind=kind.strip(), text=text.strip())

    @property
    def subject(self) -> str:
        """The metric, and the kind of requests that it is of: ``p95{large}``."""
        return f"{self.metric}{{{self.kind}}}" if self.kind else self.metric

    @property
    def judges_parts(self) -> bool:
        """True if the SLO judges parts of the run one by one: windows, or the time after a fall of load."""
        return bool(self.every_s) or self.definition.needs is Source.FALLS

    @property
    def is_of_part(self) -> bool:
        """True if the SLO is on parts of the run, or on the requests of one kind."""
        return bool(self.kind) or self.judges_parts

    @property
    def definition(self) -> Metric:
        """The metric that is limited."""
        return metric_of(self.metric)

    @property
    def relative(self) -> bool:
        """True if the limit is relative to the in-process baseline on the same cores."""
        return not self.against and self._is_relative

    @property
    def _is_relative(self) -> bool:
        return self.unit == RELATIVE or self.definition.needs is Source.BASELINE

    @property
    def is_absolute_rate(self) -> bool:
        """True if the limit is a number of requests a second, of all requests in the whole steady time."""
        return self.metric == "rps" and not (self.against or self.relative or self.is_of_part)

    @property
    def is_paired(self) -> bool:
        """True if the figure is a ratio from which the machine's speed cancels out."""
        return self.against or self.relative or self.definition.needs in (Source.BASELINE, Source.CPU)

    @property
    def higher_is_better(self) -> bool:
        """True if the limit is a lower limit."""
        return self.definition.higher_is_better

    @property
    def needs_whole_run(self) -> bool:
        """True if only the whole run can prove the SLO, because the SLO is about every request."""
        return not self.against and self.definition.whole_run(self.limit * self.unit.factor)

    def sequential_test(
        self, noise_memory_s: float, shared: SeriesSet, slice_s: float = 0.0
    ) -> SloTest | None:
        """Return the test that watches a run of load; None for a limit that every figure meets, or misses.

        Args:
            noise_memory_s: longest time in seconds for which the machine's speed remembers.
            shared: the series that all tests of one window share.
            slice_s: the seconds after which load goes to the other one of two servers; 0 with one server.
        """
        if self.judges_parts:
            return None
        limit = self.limit * self.unit.factor
        if self.against:
            assert self.definition.change_test
            return self.definition.change_test(Limit(limit, False, False, noise_memory_s, shared, slice_s))
        if limit <= 0 and not self.needs_whole_run:
            return None
        at_limit_counts = self.op == "<"
        return self.definition.test(Limit(limit, self.relative, at_limit_counts, noise_memory_s, shared))

    def holds(self, value: float) -> bool:
        """Return whether ``value``, in the limit's unit, meets the limit."""
        return _OPERATORS[self.op](value, self.limit)

    def judge(self, result: Measured) -> Judgement:
        """Return the verdict on ``result``, with a sentence that gives the distance from the limit."""
        judgement = self._judged(result)
        if math.isnan(judgement.value) or (doubt := result.doubt(self)) is None:
            return judgement
        is_open = judgement.verdict is Verdict.INCONCLUSIVE
        ends = (doubt.lowest, doubt.highest) if is_open else (doubt.low, doubt.high)
        if any(self.holds(end) != self.holds(judgement.value) for end in ends):
            effect = f"{doubt.cause}, {self._effect(judgement.value, doubt)}"
            cause = "; ".join(filter(None, (effect, self._sure_limits(*ends), doubt.remedy)))
            reason = f"{self._distance(judgement.value, result.place(self))}; {cause}"
            return replace(judgement, verdict=Verdict.INVALID, reason=reason)
        if is_open:
            return judgement
        although = f"stands although {doubt.cause}, {self._effect(judgement.value, doubt)}"
        return replace(judgement, reason=f"{judgement.reason}; {although}")

    def _sure_limits(self, low: float, high: float) -> str:
        """Return the limits whose verdicts would stand if the figure may be from ``low`` to ``high``."""
        passing, failing = (low, high) if self.higher_is_better else (high, low)
        stand = [
            f"{verdict} would stand for {self.subject}{self.op}{self.show(limit)}"
            for verdict, limit in ((Verdict.PASS, passing), (Verdict.FAIL, failing))
            if 0 < limit < math.inf
        ]
        return ", ".join(stand)

    def _effect(self, value: float, doubt: Doubt) -> str:
        """Return the possible effect of the generator's trouble in favour of the verdict on ``value``."""
        favoured = doubt.highest if self.higher_is_better != self.holds(value) else doubt.lowest
        amount = f"at most {self.show(abs(favoured - value))}" if math.isfinite(favoured) else "any amount"
        if doubt.lowest == doubt.highest:
            return f"which hardly touches {self.subject}"
        if favoured == value:
            done = "raised" if doubt.lowest < value else "lowered"
            return f"which can only have {done} {self.subject}"
        return f"which can have {'lowered' if favoured > value else 'raised'} {self.subject} by {amount}"

    def _judged(self, result: Measured) -> Judgement:
        """Return the verdict under the assumption that the figures are the server's own."""
        for verdict, cause in (
            (Verdict.FAIL, result.aborted),
            (Verdict.INVALID, result.invalid),
            (Verdict.INCONCLUSIVE, result.incomplete),
        ):
            if cause:
                return Judgement(self, verdict, math.nan, cause)
        successes = result.successes_of(self)
        if not successes and self.metric != "errors":
            return Judgement(self, Verdict.FAIL, math.nan, "no successful request in the window")
        low, value, high = result.metric_range(self)
        decision = result.decision(self)
        if math.isnan(value):
            return self._without_figure(result, decision)
        if isinstance(decision, Undecided) and result.is_exact(self):
            decision = None
        doubt = self._doubt((low, value, high), successes, decision)
        if self.against:
            if isinstance(decision, Undecided) and not decision.unsteady:
                doubt = decision.more_text
            return self._compared((low, value, high), decision, result.resolution(self), doubt)
        distance = self._distance(value, result.place(self))
        if doubt:
            return Judgement(self, Verdict.INCONCLUSIVE, value, f"{distance}; {doubt}")
        proof = f"; {decision}" if isinstance(decision, Decision) else ""
        verdict = Verdict.PASS if self.holds(value) else Verdict.FAIL
        return Judgement(self, verdict, value, f"{distance}{proof}")

    def _without_figure(self, result: Measured, decision: Decision | Undecided | None) -> Judgement:
        """Return the verdict on a figure that is not known."""
        if self.kind and self.kind not in result.kinds:
            return Judgement(self, Verdict.FAIL, math.nan, no_such_kind(self.kind, result.kinds))
        if isinstance(decision, Undecided) and decision.cause:
            return Judgement(self, Verdict.INCONCLUSIVE, math.nan, str(decision))
        if self.against:
            unknown = result.not_compared(self)
        elif self.every_s and self.definition.needs is Source.NOTHING:
            unknown = f"the run has no window of {self.every_s:g} s"
        else:
            unknown = result.unknown(self.definition)
        return Judgement(self, Verdict.NOT_JUDGED, math.nan, unknown)

    def _compared(
        self,
        values: tuple[float, float, float],
        decision: Decision | Undecided | None,
        resolution: float,
        doubt: str,
    ) -> Judgement:
        """Return the verdict on a change against the baseline server.

        Args:
            values: the lowest, the best and the highest estimate of the change, in per cent.
            decision: the outcome of the test while load ran.
            resolution: the smallest change that the run could have seen, in per cent.
            doubt: why the data cannot decide; empty if they can.
        """
        low, value, high = values
        figures = f"{self.metric} {signed(value)} % [{signed(low)}, {signed(high)}]"
        if doubt:
            can = _can_see(resolution)
            return Judgement(self, Verdict.INCONCLUSIVE, value, f"cannot tell: {figures}{can}; {doubt}")
        worse = self.definition.worse
        holds = self.holds(value)
        found = f"not {worse} than {self.limit:+g} %" if holds else worse
        proof = f"; {decision}" if isinstance(decision, Decision) else ""
        verdict = Verdict.PASS if holds else Verdict.FAIL
        return Judgement(self, verdict, value, f"{found}: {figures}{proof}")

    def _doubt(
        self, values: tuple[float, float, float], successes: int, decision: Decision | Undecided | None
    ) -> str:
        """Return why the data cannot decide the SLO; empty if they can.

        The whole window must agree with a decision. An undecided SLO is in doubt, except for a guard and for
        an SLO that needs the whole run, both of which the estimate decides.
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
        """Return the interval that contains the limit, in words."""
        if math.isinf(high):
            return "two readings of the server's CPU do not tell how much it varies"
        return f"its 95 % interval is from {self.show(low)} to {self.show(high)}"

    def show(self, value: float) -> str:
        """Return ``value``, which is in the limit's unit, as text with its unit."""
        gap = "" if self.unit.text in ("%", "x", "/s", "") else " "
        unit = self.unit.text or ("/s" if self.metric == "rps" else "")
        return f"{value:.4g}{gap}{unit}" if abs(value) < 1e4 else f"{value:.0f}{gap}{unit}"  # noqa: PLR2004

    def _distance(self, value: float, place: str = "") -> str:
        gap = abs(value - self.limit)
        side = "above" if value > self.limit else "below"
        share = f" ({100 * (value - self.limit) / self.limit:+.1f} %)" if self.limit else ""
        return f"{self.subject} is {self.show(value)}{place}, {self.show(gap)} {side} the limit{share}"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on an SLO; ``value`` is in the limit's unit, NaN if unknown."""

    slo: Slo
    verdict: Verdict
    value: float
    reason: str

    @property
    def holds(self) -> bool:
        """True if the SLO is met: by proof, or by the best estimate if the verdict is INCONCLUSIVE."""
        return self.verdict is Verdict.PASS or (self.verdict is Verdict.INCONCLUSIVE and self.estimate_holds)

    @property
    def estimate_holds(self) -> bool:
        """True if the best estimate meets the limit, regardless of doubt."""
        return not math.isnan(self.value) and self.slo.holds(self.value)

    def __str__(self) -> str:
        return f"{self.verdict}: {self.slo.text}: {self.reason}"


def full_reason(reason: str, *, strict: bool) -> str:
    """Return the reason of a verdict, with the remark that it fails nothing if its SLO is not strict."""
    return reason if strict else f"{reason} (reported only)"


@dataclass(frozen=True, slots=True)
class SloSet:
    """The SLOs of one experiment on one target; ``owner`` names both in texts."""

    slos: tuple[Slo, ...] = ()
    owner: str = "this experiment"

    def of(self, owner: str) -> SloSet:
        """Return the same SLOs with another owner."""
        return replace(self, owner=owner)

    def __iter__(self) -> Iterator[Slo]:
        return iter(self.slos)

    def __len__(self) -> int:
        return len(self.slos)

    @property
    def min_rps(self) -> float:
        """The least requests a second; skips the test as NOT JUDGED if there is no such SLO."""
        return self._absolute("rps")

    @property
    def max_p95_ms(self) -> float:
        """The highest p95 in ms; skips the test as NOT JUDGED if there is no such SLO."""
        return self._absolute("p95")

    @property
    def max_p99_ms(self) -> float:
        """The highest p99 in ms; skips the test as NOT JUDGED if there is no such SLO."""
        return self._absolute("p99")

    def _absolute(self, metric: str) -> float:
        for slo in self.slos:
            if slo.metric == metric and slo.unit != RELATIVE and not (slo.against or slo.is_of_part):
                return slo.limit * slo.unit.factor
        import pytest

        raise pytest.skip.Exception(f"{Verdict.NOT_JUDGED}: {self.owner} has no absolute SLO for {metric}")


def parse_slos(texts: Iterable[object], *, strict: bool = True) -> tuple[Slo, ...]:
    """Return the SLOs of ``texts``, each read by `Slo.parse`."""
    return tuple(Slo.parse(text, strict=strict) for text in texts)


def no_such_kind(kind: str, kinds: Collection[str]) -> str:
    """Return why the requests of a kind cannot be judged, of which none came."""
    came = nearest(kind, list(kinds)) if kinds else "all requests were of one kind"
    return f"no request was of kind {kind!r}; {came}"


def _can_see(resolution: float) -> str:
    """Return the smallest change that a run could have seen, as a part of a sentence."""
    seen = signed(resolution).removeprefix("+")
    return "" if math.isnan(resolution) else f"; this run could have seen {seen} %"


def signed(per_cent: float) -> str:
    """Return a change in per cent with its sign, and as many digits as it takes not to show 0."""
    digits = 0 if abs(per_cent) >= _TWO_DIGITS else 2 if _SHOWN_AS_0 <= abs(per_cent) < _ONE_DIGIT else 1
    return f"{per_cent:+.{digits}f}"


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
            f"SLO {text!r}: {op!r} does not fit {metric.name}, where {better} is better; "
            f"valid: {valid[0]} and {valid[1]}."
        )


def _check_change(metric: Metric, number: str, text: str) -> None:
    """Refuse a change against the baseline server that nothing can meet, or that no test can tell."""
    if metric.change_test is None:
        raise ConfigurationError(
            f"SLO {text!r}: {metric.name} has no limits against a baseline server; rps, percentiles, mean, "
            "errors and cpu_per_request have."
        )
    change = _number(number, text)
    if not (math.isfinite(change) and change > -_ALL):
        raise ConfigurationError(f"SLO {text!r}: a change lies above -100 % and is not infinite.")


def _number(number: str, text: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise ConfigurationError(
            f"SLO {text!r}: {number!r} is not a number; write it as {EXAMPLE}."
        ) from None


def _limit(number: str, text: str) -> float:
    limit = _number(number, text)
    if not 0 <= limit < math.inf:
        raise ConfigurationError(f"SLO {text!r}: a limit is neither negative nor infinite.")
    return limit
