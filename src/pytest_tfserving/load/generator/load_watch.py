"""Comparison of the load reached with the load requested, during the whole run. No I/O."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from pytest_tfserving.experiments.load_shape import Stage, level_at
from pytest_tfserving.load.run_record import RATE, USERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_tfserving.deployment.load_messages import Asked, LateRow, MergedMessage, Part
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.load.result import Window

# Locust evaluates its load shape once a second, and load processes report twice a second.
_FOLLOW_S = 1.5
_GRACE_S = 2.0
_MOMENT_S = 0.3
# Load processes may take this long to connect. Nothing is measured before all users run.
_START_S = 10.0
# A load process that stands still for longer makes the run INVALID.
_LONGEST_HICCUP_MS = 1000.0
_MASTER = "the load generator's master"
# Latest changes of the requested level that are kept. With one change a second that is ten minutes.
_MOST_CHANGES = 600
# The events of lines that Locust's master says.
OF_THE_MASTER = ("leads", "led")
# A level that takes longer to spawn than this share of its stage is not reached.
_SPAWNED_BY = 0.5


class AskedLevel:
    """The requested level of load over a run, and the level that can be reached by a given time.

    Users start at the spawn rate, so a level that rises is reached some time later.
    """

    def __init__(self) -> None:
        self._asked: deque[Stage] = deque(maxlen=_MOST_CHANGES)
        self._reachable: deque[Stage] = deque(maxlen=2 * _MOST_CHANGES)

    def ask(self, stage: Stage, spawn_rate: float) -> None:
        """Request the level of ``stage`` from the stage's start on, with ``spawn_rate`` in users a second."""
        before = self.reachable_at(stage.start_s)
        _end(self._asked, stage.start_s)
        _end(self._reachable, stage.start_s)
        self._asked.append(stage)
        rise = stage.first - before
        spawned_s = rise / spawn_rate if rise > 0 and spawn_rate > 0 else 0.0
        spawned_s = min(spawned_s, _SPAWNED_BY * (stage.end_s - stage.start_s))
        if spawned_s > 0:
            middle_s = stage.start_s + spawned_s
            self._reachable.append(Stage(stage.start_s, middle_s, before, stage.first))
            stage = Stage(middle_s, stage.end_s, stage.level(middle_s), stage.last)
        self._reachable.append(stage)

    def at(self, at_s: float) -> float:
        """Return the requested level at ``at_s``; 0 as long as no level was requested."""
        return level_at(tuple(self._asked), at_s) if self._asked else 0.0

    def reachable_at(self, at_s: float) -> float:
        """Return the level that can be reached by ``at_s``."""
        return level_at(tuple(self._reachable), at_s) if self._reachable else 0.0

    def least(self, from_s: float, until_s: float) -> float:
        """Return the lowest reachable level between two times; 0 if ``from_s`` is before the first stage."""
        if not self._reachable or from_s < self._reachable[0].start_s:
            return 0.0
        return min(_ends(self._reachable, from_s, until_s))

    def most(self, from_s: float, until_s: float) -> float:
        """Return the highest level requested between two times."""
        return max(_ends(self._asked, from_s, until_s), default=0.0)


def _end(stages: deque[Stage], end_s: float) -> None:
    """Cut off ``stages`` at ``end_s``, where another stage begins."""
    while stages and stages[-1].start_s >= end_s:
        stages.pop()
    if stages and stages[-1].end_s > end_s:
        last = stages.pop()
        stages.append(Stage(last.start_s, end_s, last.first, last.level(end_s)))


def _ends(stages: Sequence[Stage], from_s: float, until_s: float) -> list[float]:
    """Return the levels at both ends of the part of each stage that lies between two times."""
    inside = [each for each in stages if each.start_s <= until_s and each.end_s > from_s]
    return [
        level
        for each in inside
        for level in (each.level(max(from_s, each.start_s)), each.level(min(until_s, each.end_s)))
    ]


class LoadWatch:
    """Watcher that finds time in which the load was not as the profile, or a locustfile's shape, requests.

    Args:
        profile: the requested load.
        processes: the number of load processes that send requests.
        silence_s: a load process that reports nothing for this many seconds is lost.
        own_shape: a locustfile's shape sets the level, not the profile.

    Attributes:
        cause: a sentence that says why load was not as requested; empty while it is.
        loaded_until_s: the second of the run from which load was not as requested; infinite while it is.
        unit: the unit of levels, `USERS` or `RATE`.
        steady_since_s: the second from which load has the level that is judged; NaN before.
    """

    def __init__(
        self, profile: LoadProfile, processes: int = 1, silence_s: float = 60.0, *, own_shape: bool = False
    ) -> None:
        self.cause = ""
        self.loaded_until_s = math.inf
        self.unit = RATE if profile.is_open else USERS
        self.steady_since_s = math.nan if profile.has_plateau and not own_shape else 0.0
        self._profile = profile
        self._processes = processes
        self._silence_s = silence_s
        self._own_shape = own_shape
        self._is_flat = (profile.is_constant or profile.is_open) and not own_shape
        self._lag_s = profile.max_lag_ms / 1e3
        self._longest_stop_s = max(_LONGEST_HICCUP_MS, profile.max_lag_ms) / 1e3
        self._asked = AskedLevel()
        self._running: dict[int, tuple[float, int]] = dict.fromkeys(range(processes), (0.0, 0))
        self._good_until_s = 0.0
        self._highest = 0
        self._few_since_s = self._many_since_s = math.inf
        self._was_reached = False
        self._settled_s = math.nan
        self._ended_s = math.inf
        # A single process has no master.
        self._led_until_s = 0.0 if processes > 1 else math.inf
        self._reached_s: dict[float, float] = {}
        self._stops: list[tuple[float, float]] = []
        for stage in () if own_shape else _stages(profile, processes):
            self._asked.ask(stage, math.inf if profile.is_open else profile.spawn_rate)

    def asked_at(self, at_s: float) -> float:
        """Return the requested level: requests a second in an open loop, else users at the spawn rate."""
        if self._profile.is_open:
            return level_at(self._profile.stages, at_s)
        return float(math.ceil(self._asked.reachable_at(at_s)))

    def reached_s(self, stage: Stage) -> float:
        """Return the second at which a stage of the profile reached its level; NaN if it never did."""
        return stage.start_s if self._profile.is_open else self._reached_s.get(stage.start_s, math.nan)

    def stood_s(self, window: Window) -> float:
        """Return for how many seconds of a window load processes stood still, summed over all of them."""
        return sum(stood_ms for ended_s, stood_ms in self._stops if ended_s >= window.start_s) / 1e3

    def hear(self, message: MergedMessage) -> None:
        """Process one message of the load processes, or of Locust's master."""
        match message["event"]:
            case "asked":
                self._ask(message)
            case "part":
                self._compare(message)
            case "settled":
                self._settled_s = message["at_s"]
            case "tick":
                self._stop_processes(message["stops"])
            case "end":
                self._ended_s = message["at_s"]
                self._stop_processes(message["stops"])
            case "leads" | "led":
                self._led_until_s = message["at_s"]
                self._stop(_MASTER, message["stops"])

    def end(self, at_s: float) -> None:
        """Check at the end of the run that load reached the requested level, and that the master led."""
        if at_s - self._led_until_s > self._longest_stop_s:
            silent = f"{_MASTER} said nothing from {self._led_until_s:.1f} s into the load on"
            self._find(silent, self._led_until_s)
        reached = self._reached
        follow_s = 0.0 if self._is_flat else _FOLLOW_S + self._lag_s
        least = math.ceil(self._asked.least(at_s - follow_s, at_s))
        most = math.ceil(self._asked.most(at_s - self._leave_s, at_s))
        if reached < least or (reached < self._highest and not self._may_fall(at_s)):
            self._find(f"only {self._of_asked(reached, at_s)} when it was over", self._good_until_s)
        elif reached > most:
            self._find(f"{self._of_asked(reached, at_s)} when it was over", self._good_until_s)

    def _ask(self, asked: Asked) -> None:
        at_s, run_time_s = asked["at_s"], self._profile.run_time_s
        self._asked.ask(Stage(at_s, math.inf, asked["users"], asked["users"]), asked["spawn_rate"])
        if asked["failed"]:
            self._find(f"the locustfile's shape failed {at_s:.1f} s into the load: {asked['failed']}", at_s)
        elif not asked["users"] and not asked["spawn_rate"] and at_s < run_time_s:
            self._find(_ended_itself(at_s, run_time_s), at_s)

    def _compare(self, part: Part) -> None:
        at_s = part["at_s"]
        self._running[part["process"]] = (at_s, part["running"])
        reached = self._reached
        if part["ended_itself"] and at_s < self._profile.run_time_s:
            self._find(_ended_itself(at_s, self._profile.run_time_s), self._good_until_s)
        elif wrong := self._wrong(reached, at_s):
            self._find(f"{wrong} {at_s:.1f} s into the load", self._good_until_s)
        elif reached >= math.ceil(self._asked.least(at_s - _FOLLOW_S, at_s)):
            self._good_until_s = at_s
        self._note_stage(reached, at_s)
        if reached >= math.ceil(self._asked.at(at_s)):
            self._was_reached = True
            if math.isnan(self.steady_since_s) and at_s >= self._profile.judged_from_s:
                self.steady_since_s = at_s
        self._look_for_silence(at_s)

    def _note_stage(self, reached: int, at_s: float) -> None:
        stage = next((each for each in self._profile.stages if each.start_s <= at_s < each.end_s), None)
        if stage and reached == math.ceil(stage.level(at_s)):
            self._reached_s.setdefault(stage.start_s, at_s)

    def _wrong(self, reached: int, at_s: float) -> str:
        """Return what is wrong with the level reached, if it has been wrong for a moment; else an empty text.

        Locust's master and the workers report over different pipes, so the parent may read a new level
        before it reads the request for this level.
        """
        may_fall = self._may_fall(at_s)
        self._highest = reached if may_fall else max(self._highest, reached)
        is_few = reached < max(self._highest, self._least(at_s))
        is_many = reached > math.ceil(self._asked.most(at_s - self._leave_s, at_s))
        self._few_since_s = min(self._few_since_s, at_s) if is_few else math.inf
        self._many_since_s = min(self._many_since_s, at_s) if is_many else math.inf
        if at_s - self._few_since_s > _MOMENT_S:
            why = "users that quit by themselves or were lost are not replaced"
            lost = f" ({why})" if reached < self._highest else ""
            return f"only {self._of_asked(reached, at_s)}{lost}"
        return self._of_asked(reached, at_s) if at_s - self._many_since_s > _GRACE_S else ""

    def _least(self, at_s: float) -> int:
        """Return how many users must run by now, with time to follow the requested level."""
        grace_s = _START_S if self._is_flat and not self._was_reached else _GRACE_S
        return math.ceil(self._asked.least(at_s - grace_s - self._lag_s, at_s))

    def _may_fall(self, at_s: float) -> bool:
        return self._asked.most(at_s - self._leave_s, at_s) > self._asked.at(at_s)

    def _look_for_silence(self, at_s: float) -> None:
        for process, (heard_at_s, _) in self._running.items():
            if at_s - heard_at_s > self._silence_s:
                which = f"load process {process + 1} of {self._processes}"
                self._find(f"{which} said nothing for {self._silence_s:g} s", heard_at_s)
        if at_s - self._led_until_s > self._silence_s:
            self._find(f"{_MASTER} said nothing for {self._silence_s:g} s", self._led_until_s)

    def _stop_processes(self, stops: Iterable[LateRow]) -> None:
        """Note that processes which send requests stood still."""
        self._stops += [(ended_s, stood_ms) for _, ended_s, stood_ms in stops]
        self._stop("the load generator", stops)

    def _stop(self, who: str, stops: Iterable[LateRow]) -> None:
        """Note that a process stood still; a long stop in measured time makes the run INVALID."""
        for began_s, ended_s, stood_ms in stops:
            is_measured = ended_s > self._settled_s if self._is_flat else ended_s > 0
            if is_measured and began_s < self._ended_s and stood_ms >= 1e3 * self._longest_stop_s:
                stood = f"{who} stood still for {stood_ms / 1e3:.1f} s"
                why = "it was stopped, or its machine was, or its locustfile computed without a pause"
                self._find(f"{stood}, {began_s:.1f} s into the load: {why}", began_s)

    def _find(self, cause: str, loaded_until_s: float) -> None:
        if not self.cause:
            self.cause, self.loaded_until_s = cause, max(loaded_until_s, 0.0)

    @property
    def _reached(self) -> int:
        return sum(running for _, running in self._running.values())

    @property
    def _leave_s(self) -> float:
        """Longest time in seconds until a surplus user is gone: it still gets its response, and pauses."""
        profile = self._profile
        pause_s = max(profile.think_time_s, profile.pace_s)
        return _GRACE_S + self._lag_s + profile.request_timeout_s + pause_s

    def _of_asked(self, reached: int, at_s: float) -> str:
        what = "senders of requests" if self._profile.is_open else "users"
        return f"{reached} of the {math.ceil(self._asked.at(at_s))} {what} asked for ran"


def _stages(profile: LoadProfile, processes: int) -> Sequence[Stage]:
    """Return the stages that a profile requests of Locust: users, or in an open loop one sender a process."""
    if profile.is_open:
        return (Stage(0.0, math.inf, processes, processes),)
    if profile.is_constant:
        return (Stage(0.0, math.inf, profile.users, profile.users),)
    return profile.stages


def _ended_itself(at_s: float, run_time_s: float) -> str:
    return (
        f"the load ended by itself {at_s:.1f} s into its run time of {run_time_s:g} s: "
        "its locustfile's shape was over, or something in it called stop or quit"
    )
