"""The noise that kept a test from deciding an SLO: its kind, its amount, its remedy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class NoiseKind(StrEnum):
    """The source of noise."""

    MACHINE = "machine"
    SERVER = "server"
    SPEED = "machine or server"
    QUEUE = "queue"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise that costs a test the most time. Unknown numbers are NaN.

    Attributes:
        kind: source of the noise.
        sd: standard deviation of the level, as a fraction of the level; 0 if it does not seem to wander.
        memory_s: time in seconds for which the level remembers.
        in_flight: number of requests under way together, which count as one.
        resolution: smallest distance from a limit that the run can detect, as a fraction of the limit.
    """

    kind: NoiseKind
    sd: float = math.nan
    memory_s: float = math.nan
    in_flight: float = 1.0
    resolution: float = math.nan

    @property
    def is_level(self) -> bool:
        """True if the noise is a wandering speed, and not too few independent requests."""
        return self.kind not in (NoiseKind.QUEUE, NoiseKind.COUNT)

    @property
    def cause(self) -> str:
        """The cause of the noise, as a part of a sentence."""
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
        """The change that would help most besides a longer run; empty if there is none."""
        if self.kind is NoiseKind.QUEUE:
            return "fewer users (--tfserving-users)"
        if self.kind is NoiseKind.MACHINE:
            return "a machine without other work"
        return ""


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"
