"""The evidence on an SLO over the time of a run, as reports draw it."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class EvidencePath:
    """The evidence on an SLO at each look of its sequential test.

    Evidence is a natural logarithm: of how many times as well the data fit a server that holds the SLO as one
    that breaks it, or the other way round. Each look replaces the evidence of the look before.

    Attributes:
        needed: the evidence that proves the SLO, or that the SLO cannot hold; ``-log(alpha)``.
        at_s: the time of each look, in seconds since the run's start.
        holds: the evidence that the SLO holds, at each look.
        fails: the evidence that the SLO does not hold, at each look.
    """

    needed: float
    at_s: tuple[float, ...] = ()
    holds: tuple[float, ...] = ()
    fails: tuple[float, ...] = ()

    def plus(self, at_s: float, holds: float, fails: float) -> EvidencePath:
        """Return the path with one more look."""
        return replace(
            self,
            at_s=(*self.at_s, round(at_s, 2)),
            holds=(*self.holds, round(holds, 2)),
            fails=(*self.fails, round(fails, 2)),
        )
