"""What kept a test from deciding an SLO: which noise, how much of it, and what would help most."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class NoiseKind(StrEnum):
    """Where noise comes from."""

    MACHINE = "machine"
    SERVER = "server"
    SPEED = "machine or server"
    QUEUE = "queue"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise that a test would need more time for than for any other.

    ``sd`` is the standard deviation of the level, as a fraction, 0 where it is not seen to wander,
    ``memory_s`` how long the level remembers,
    ``in_flight`` how many requests share their fate, ``resolution`` the least distance from a limit, as a
    fraction, that the run could tell. What is not known is NaN.
    """

    kind: NoiseKind
    sd: float = math.nan
    memory_s: float = math.nan
    in_flight: float = 1.0
    resolution: float = math.nan

    @property
    def is_level(self) -> bool:
        """Whether a speed that wanders is what it comes from, rather than how few requests there were."""
        return self.kind not in (NoiseKind.QUEUE, NoiseKind.COUNT)

    @property
    def cause(self) -> str:
        """What it is, a part of a sentence."""
        if self.kind is NoiseKind.QUEUE:
            return f"{self.in_flight:.0f} requests in flight share their fate, and count as one"
        if self.kind is NoiseKind.COUNT:
            return "there were too few requests"
        if not self.sd:
            return f"this run can tell {_percent(self.resolution)} at best"
        what = {
            NoiseKind.MACHINE: "the machine's speed",
            NoiseKind.SERVER: "the server's speed",
        }.get(self.kind, "the speed of the machine or the server")
        wandered = f"{what} wandered by {_percent(self.sd)} (SD) over {max(self.memory_s, 1):.0f} s"
        return f"{wandered}, so this run can tell {_percent(self.resolution)}"

    @property
    def remedy(self) -> str:
        """What would help most besides a longer run; empty when nothing would."""
        if self.kind is NoiseKind.QUEUE:
            return "fewer users"
        if self.kind is NoiseKind.MACHINE:
            return "a machine without other work"
        return ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"
