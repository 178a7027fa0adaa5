"""SLOs proposed from a short measurement, with room for the noise of a machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    class Measured(Protocol):
        """The figures of a result that SLOs are proposed from."""

        @property
        def rps(self) -> float: ...  # noqa: D102
        @property
        def p95_ms(self) -> float: ...  # noqa: D102
        @property
        def users(self) -> int: ...  # noqa: D102
        @property
        def intervals(self) -> Mapping[str, Sequence[float]]: ...  # noqa: D102


# A busy machine can be half as fast as usual; a limit nearer than that is INCONCLUSIVE on it.
_ROOM = 3.0
# Below this limit the time slices of an operating system decide.
_LEAST_P95_MS = 10.0
# A larger share is no limit to set; each test is judged by errors<1% in its place.
_ERRORS = (0.001, 0.01)
# So many requests would have failed on the limit, if no request failed.
_PROOF = 30.0


@dataclass(frozen=True, slots=True)
class ProposedSlo:
    """An SLO, and the origin of its limit."""

    text: str
    origin: str


def propose(trial: Measured, run_time_s: float) -> list[ProposedSlo]:
    """Return SLOs on latency, throughput and errors that a run of ``run_time_s`` can decide."""
    least_rps, _ = trial.intervals.get("rps", (trial.rps, trial.rps))
    _, most_p95_ms = trial.intervals.get("p95_ms", (trial.p95_ms, trial.p95_ms))
    p95_ms = max(_two_digits(_ROOM * most_p95_ms, math.ceil), _LEAST_P95_MS)
    rps = _two_digits(least_rps / _ROOM, math.floor)
    independent = trial.rps * run_time_s / max(trial.users, 1)
    errors = next((limit for limit in _ERRORS if limit * independent >= _PROOF), 0.0)
    proposed = [ProposedSlo(f"p95<{p95_ms:g}ms", _p95_origin(most_p95_ms))]
    if rps > 0:
        third = f"a third of the trial's {_shown(least_rps)}/s (lower end)"
        proposed.append(ProposedSlo(f"rps>={rps:g}", third))
    if errors:
        text = f"the smallest share that {run_time_s:g} s of such load can prove"
        proposed.append(ProposedSlo(f"errors<{100 * errors:g}%", text))
    return proposed


def _p95_origin(most_p95_ms: float) -> str:
    thrice = f"three times the trial's {_shown(most_p95_ms)} ms (upper end)"
    return thrice if _ROOM * most_p95_ms > _LEAST_P95_MS else f"{thrice}, and at least {_LEAST_P95_MS:g} ms"


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _two_digits(value: float, rounded: Callable[[float], int]) -> float:
    """Return a number rounded to two digits."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return rounded(value / unit) * unit
