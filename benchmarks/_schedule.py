"""How late an open loop and the replay of a trace send requests, at shares of a core's capacity."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import _common as common

from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.experiments.trace import ReplaySchedule, Trace, replay_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.load.generator.generator import LoadPlan
    from pytest_tfserving.load.result import Result

# The rate at which the CPU of a request is measured, which the generator has to spare.
_CALM_RPS = 1000.0
# The shares of the rate that would take the whole core, each with the most ms that the p99 may be late.
SHARES = {0.5: 0.5, 0.8: 2.0}
_SPEED = 10.0
# A generator that lost a larger share of its core is as late as others made it.
_MOST_LOST = 0.01


class LateSends:
    """Open loops and replays on one core, to a server that answers at once."""

    def __init__(self, deployment: Deployment, folder: Path, length_s: float) -> None:
        self._deployment = deployment
        self._folder = folder
        self._length_s = length_s
        self.figures: list[dict[str, Any]] = []

    def measure(self) -> Iterator[common.Target]:
        """Print how late each load was sent; yield the targets of those that had a core to themselves."""
        calm = self._measured(self._open(_CALM_RPS))
        capacity = _CALM_RPS / calm.generator.cpu
        print(f"\nan open loop can do {capacity:,.0f}/s, from its CPU at {_CALM_RPS:g}/s")
        rows: list[list[object]] = []
        targets = []
        for share, limit_ms in SHARES.items():
            for kind, plan in (
                ("open loop", self._open(share * capacity)),
                (f"replay, {_SPEED:g} x", self._replay(share * capacity)),
            ):
                result, name = self._measured(plan), f"{kind} at {share:.0%}"
                found, lost = result.arrivals, result.generator.wait + result.generator.steal
                assert found
                delays_ms = [found.delay_p50_ms, found.delay_p99_ms, found.delay_max_ms]
                rows.append([name, found.due_rps, found.sent_rps, *delays_ms, 100 * lost])
                if lost > _MOST_LOST:
                    print(f"{name}: the machine was too busy to judge")
                else:
                    text = f"{name} of the capacity: p99 of the send delay, ms"
                    targets.append(common.Target(text, found.delay_p99_ms, limit_ms))
        common.table(["load", "due/s", "sent/s", "late p50 ms", "p99 ms", "max ms", "core lost %"], rows)
        self.figures = [{"capacity_rps": capacity}, *({"load": row[0], "figures": row[1:]} for row in rows)]
        yield from targets

    def _open(self, rate: float) -> LoadPlan:
        """Return the plan of a Poisson process."""
        profile = LoadProfile("benchmark", rate=rate, run_time_s=self._length_s, early_stop=False)
        return replace(common.plan(1, self._length_s), profile=profile)

    def _replay(self, rate: float) -> LoadPlan:
        """Return the plan of a recorded Poisson process, which is replayed faster than it came."""
        length_s = self._length_s * _SPEED
        recorded = LoadProfile("recorded", rate=rate / _SPEED, run_time_s=length_s, seed=2)
        times_s = array("d", recorded.due_times())
        trace = Trace("recorded", "", "", len(times_s), length_s, rate / _SPEED)
        profile = LoadProfile(
            "benchmark", run_time_s=self._length_s, replay=trace, speed=_SPEED, early_stop=False
        )
        schedule = replay_schedule(
            times_s, length_s, speed=_SPEED, run_time_s=self._length_s, cut=profile.cut, seed=profile.seed
        )
        only_body = ReplaySchedule(schedule.due_s, array("Q", [0]) * len(schedule.due_s))
        return replace(common.plan(1, self._length_s), profile=profile, schedule=only_body)

    def _measured(self, plan: LoadPlan) -> Result:
        plan = replace(plan, profile=replace(plan.profile, max_failure_ratio=1.0))
        return common.measured(plan, self._deployment, self._folder / "late", lambda _: None)
