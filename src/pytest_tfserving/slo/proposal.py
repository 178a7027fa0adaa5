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
        def rps(self) -> float: ...  # noqa: D102 - see Result
        @property
        def p95_ms(self) -> float: ...  # noqa: D102 - see Result
        @property
        def efficiency(self) -> float: ...  # noqa: D102 - see Result
        @property
        def users(self) -> int: ...  # noqa: D102 - see Result
        @property
        def intervals(self) -> Mapping[str, Sequence[float]]: ...  # noqa: D102 - see Result


# A busy machine can be half as fast as usual; a limit nearer than that is INCONCLUSIVE on it.
_ROOM = 3.0
# A slowdown of the machine cancels out of a relative limit, but not what the machine does within seconds:
# on a busy one, a nearer limit stays open for a minute.
_RELATIVE_ROOM = 2.0
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
    """Return SLOs on latency, throughput and errors that a run of ``run_time_s`` can decide.

    Throughput is relative to the in-process baseline if the trial had one, so that the limit holds on other
    machines, too.
    """
    throughput = _efficiency(trial) if trial.efficiency > 0 else _rps(trial)
    return [_p95(trial), *filter(None, (throughput, _errors(trial, run_time_s)))]


def _p95(trial: Measured) -> ProposedSlo:
    _, most_ms = trial.intervals.get("p95_ms", (trial.p95_ms, trial.p95_ms))
    origin = f"three times the trial's {_shown(most_ms)} ms (upper end)"
    limit_ms = _two_digits(_ROOM * most_ms, math.ceil)
    if limit_ms < _LEAST_P95_MS:
        return ProposedSlo(f"p95<{_LEAST_P95_MS:g}ms", f"{origin}, and at least {_LEAST_P95_MS:g} ms")
    return ProposedSlo(f"p95<{limit_ms:g}ms", origin)


def _efficiency(trial: Measured) -> ProposedSlo | None:
    least, _ = trial.intervals.get("efficiency", (trial.efficiency, trial.efficiency))
    limit = math.floor(100 * least / _RELATIVE_ROOM)
    origin = f"half of the trial's {100 * least:.3g}% (lower end); relative, so it holds anywhere"
    return ProposedSlo(f"efficiency>={limit}%", origin) if limit > 0 else None


def _rps(trial: Measured) -> ProposedSlo | None:
    least, _ = trial.intervals.get("rps", (trial.rps, trial.rps))
    limit = _two_digits(least / _ROOM, math.floor)
    origin = f"a third of the trial's {_shown(least)}/s (lower end)"
    return ProposedSlo(f"rps>={limit:g}", origin) if limit > 0 else None


def _errors(trial: Measured, run_time_s: float) -> ProposedSlo | None:
    independent = trial.rps * run_time_s / max(trial.users, 1)
    limit = next((limit for limit in _ERRORS if limit * independent >= _PROOF), 0.0)
    origin = f"the smallest share that {run_time_s:g} s of such load can prove"
    return ProposedSlo(f"errors<{100 * limit:g}%", origin) if limit else None


def _shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - three digits


def _two_digits(value: float, rounded: Callable[[float], int]) -> float:
    """Return a number rounded to two digits."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return rounded(value / unit) * unit
