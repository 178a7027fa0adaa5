"""Alternation of load between two deployments on the same cores: one is loaded while the other stands still.

Slices come in pairs, one of each deployment in random order, so that whatever changes the machine's speed for
longer than a slice changes the speed of both (duet benchmarking: Bulej et al., ICPE 2020). For the deployment
that stands still no time passes: its servers and its load generator are frozen, and its load clock stands.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from pytest_tfserving.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_tfserving.deployment.deployment import Freezer
    from pytest_tfserving.deployment.load_clock import LoadClock

# The shortest slice. Short ones cancel more of the machine's wander; each costs a switch of the caches.
SLICE_S = 0.1
# Freezing takes at most this share of a slice.
_FREEZING_SHARE = 0.05
_LONGEST_SLICE_S = 2.0
# Slices of servers that cannot be frozen: at least this long, and many times as long as a request.
_WITHOUT_FREEZING_S = 1.0
_REQUESTS_IN_A_SLICE = 40
# The same for servers that wait: a change of the wait is shown too small by 1/40 of it.
_WAITS_IN_A_SLICE = 20
# A pair's slices are longer or shorter than usual by up to this share, so that requests do not always fit
# equally well into a slice.
_JITTER = 0.25
_LOOK_S = 0.01
_SHORTEST_WAIT_S = 2e-4


@dataclass(frozen=True)
class RunningOn:
    """Servers that cannot be frozen: they finish their requests after the end of a slice.

    Slices are so long that these requests are few.

    Attributes:
        warm_s: the time of a warm request in seconds.
    """

    warm_s: float

    def freeze(self) -> None:
        """Do nothing."""

    def thaw(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Side:
    """A deployment under load, as the alternation sees it.

    Attributes:
        clock: the load clock.
        servers: the servers' freezer.
        generator: the load generator's freezer.
        waits_s: the seconds for which a server waits in a request. Timers, and other services, go on while a
            server is frozen, so that a wait that a slice cuts is measured too short. Slices are so long that
            these requests are few.
    """

    clock: LoadClock
    servers: Freezer
    generator: Freezer
    waits_s: float = 0.0

    def freeze(self) -> None:
        """Stop the servers, the load generator and the clock."""
        self.servers.freeze()
        self.generator.freeze()
        self.clock.stop()

    def thaw(self) -> None:
        """Let the clock, the load generator and the servers go on."""
        if self.clock.stands:
            self.clock.go_on()
        self.generator.thaw()
        self.servers.thaw()


class Alternation:
    """Alternation of two runs of load inside of the context, from when both have begun until one is over.

    Args:
        sides: the two deployments.
        seed: the seed of the random order.

    Attributes:
        slice_s: the mean length of a slice in seconds.
    """

    def __init__(self, sides: tuple[Side, Side], seed: int = 0) -> None:
        self.slice_s = SLICE_S
        self._sides = sides
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure = ""

    def __enter__(self) -> Self:
        self.slice_s = _slice_s(self._sides)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let both deployments go on, together, so that both runs can end."""
        self._over.set()
        self._thread.join()

    def failure(self) -> str:
        """Return why load does not alternate, in a sentence; empty while it does."""
        return self._failure

    def _run(self) -> None:
        try:
            if self._have_begun():
                self._alternate()
        except (DeploymentError, OSError) as error:
            self._failure = f"load cannot alternate between the two servers: {error}"
        finally:
            for side in self._sides:
                with suppress(DeploymentError, OSError):
                    side.thaw()

    def _have_begun(self) -> bool:
        """Wait until both loads have begun; return whether they have."""
        while not all(side.clock.has_begun for side in self._sides):
            if self._over.wait(_LOOK_S):
                return False
        return True

    def _alternate(self) -> None:
        running, other = self._sides
        other.freeze()
        until_s = 0.0
        while not self._over.is_set():
            until_s += self.slice_s * self._chance.uniform(1 - _JITTER, 1 + _JITTER)
            order = (running, other) if self._chance.random() < 0.5 else (other, running)  # noqa: PLR2004 - fair
            for side in order:
                if side is not running:
                    running.freeze()
                    side.thaw()
                    running, other = side, running
                self._wait(side.clock.now_s, until_s)

    def _wait(self, now_s: Callable[[], float], until_s: float) -> None:
        while (left_s := until_s - now_s()) > 0 and not self._over.is_set():
            time.sleep(max(min(left_s, _LOOK_S), _SHORTEST_WAIT_S))


def _slice_s(sides: Sequence[Side]) -> float:
    """Return the length of a slice for servers that wait, take some time to freeze, or cannot be frozen."""
    if running_on := [side.servers.warm_s for side in sides if isinstance(side.servers, RunningOn)]:
        return max(_WITHOUT_FREEZING_S, *(_REQUESTS_IN_A_SLICE * warm_s for warm_s in running_on))
    began = time.perf_counter()
    for side in sides:
        with suppress(DeploymentError):
            side.servers.freeze()
        side.servers.thaw()
    taken_s = time.perf_counter() - began
    by_freezing_s = min(max(SLICE_S, taken_s / _FREEZING_SHARE), _LONGEST_SLICE_S)
    return max(by_freezing_s, *(_WAITS_IN_A_SLICE * side.waits_s for side in sides))
