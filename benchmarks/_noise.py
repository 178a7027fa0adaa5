"""Simulated servers on machines whose speed wanders: "level + noise", in closed and open loop.

The logarithm of a latency is ``sigma * (sqrt(share) * level + sqrt(1 - share) * noise)`` above that of a
base. The level is a standard Ornstein-Uhlenbeck process that forgets within ``tau_s``; the noise is
independent from request to request. The calls of the in-process baseline have the same level and noise of
their own. The logarithm of the probability of a failure wanders as the level does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.experiments.load_shape import Stage
from pytest_tfserving.statistics.pulses import between_pulses

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pytest_tfserving.experiments.arrivals import ArrivalProcess

    Floats = NDArray[np.float64]

# The level is known at so many seconds.
_GRID_S = 0.05
# Load is on for so long before a run begins, so that as many requests end in its first second as in others.
_BEFORE_S = 2.0
PULSE_EVERY_S = 0.8
# Load goes to one of two servers that take turns for so long.
SLICE_S = 0.1
_CALLS_IN_A_PULSE = 5
_CALL_S = 0.02
ERROR_RATE = 0.01


@dataclass(frozen=True, slots=True)
class Noise:
    """A kind of noise."""

    tau_s: float
    share: float
    sigma: float

    def __str__(self) -> str:
        return f"tau {self.tau_s:g} s, share {100 * self.share:g} %, sigma {self.sigma:g}"


@dataclass(frozen=True, slots=True)
class Server:
    """A server: ``users`` of a closed loop, or 0 for Poisson arrivals, at ``rps`` requests a second.

    It stands still for ``stall_s`` now and then, so often that this hits ``stalled`` of its requests. A stall
    hits all that are in flight. With other ``arrivals`` than Poisson's, requests wait for each other in a
    queue, and the server is busy for ``busy`` of the time.
    """

    users: int = 2
    rps: float = 50.0
    stalled: float = 0.0
    stall_s: float = 0.0
    arrivals: ArrivalProcess | None = None
    busy: float = 0.0

    @property
    def loop(self) -> str:
        if self.arrivals:
            return f"open, {self.arrivals.distribution}"
        return "closed" if self.users else "open"


@dataclass(frozen=True)
class Run:
    """One run: requests in the order they ended, the baseline's pulses, and the level of each request."""

    ended_s: Floats
    latencies_ms: Floats
    failed: NDArray[np.bool_]
    pulses: Floats
    levels: Floats = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, slots=True)
class Truth:
    """What a server does in the long run."""

    p50: float
    p95: float
    p99: float
    mean: float
    rps: float
    efficiency: float
    errors: float
    # The share of requests that succeed within the p95.
    good: float


def runs(random: np.random.Generator, count: int, length_s: float, server: Server, noise: Noise) -> list[Run]:
    """Simulate runs of ``length_s``; they begin when load has been on for a while."""
    until_s = _BEFORE_S + length_s
    level = _levels(random, count, until_s, noise.tau_s)
    requests = _closed if server.users else _queued if server.arrivals else _open
    ended, taken, levels = requests(random, level, until_s, server, noise)
    if server.stalled:
        ended, taken = _with_stalls(random, ended, taken, server)
    order = np.argsort(ended, axis=1)
    ended, taken, levels = (np.take_along_axis(each, order, 1) for each in (ended, taken, levels))
    risk = ERROR_RATE * np.exp(noise.sigma * math.sqrt(noise.share) * levels)
    failed = random.random(ended.shape) < risk
    found = []
    for index in range(count):
        part = slice(*np.searchsorted(ended[index], [_BEFORE_S, until_s]))
        pulses = _pulses(random, level[:, index], until_s, noise)
        ended_s, latencies_ms = ended[index, part] - _BEFORE_S, 1e3 * taken[index, part]
        found.append(Run(ended_s, latencies_ms, failed[index, part], pulses, levels[index, part]))
    return found


def duets(  # noqa: PLR0913, PLR0917 - a pair of servers, their noise, and how they take turns
    random: np.random.Generator, count: int, length_s: float, server: Server, noise: Noise, slower: float
) -> list[tuple[Run, Run]]:
    """Simulate runs of two servers that take turns; the first one takes ``slower`` times as long a request.

    Load goes to one server for `SLICE_S`, then to the other one, in random order. The level goes on without a
    pause, so both servers have nearly the same one. Servers are loaded in a closed loop.
    """
    until_s = _BEFORE_S + length_s
    level = _levels(random, count, 2 * until_s + SLICE_S, noise.tau_s)
    rows = round(SLICE_S / _GRID_S)
    slices = level[: len(level) // (2 * rows) * 2 * rows].reshape(-1, 2, rows, count)
    first = random.random(len(slices)) < 0.5
    sides = []
    for is_first, factor in ((first, slower), (~first, 1.0)):
        own = np.where(is_first[:, None, None], slices[:, 0], slices[:, 1]).reshape(-1, count)
        found = _closed(random, own, until_s, replace(server, rps=server.rps / factor), noise)
        sides.append([_closed_run(*each, until_s) for each in zip(*found[:2], strict=True)])
    return list(zip(*sides, strict=True))


def _closed_run(ended_s: Floats, taken_s: Floats, until_s: float) -> Run:
    """Return a run without failures and without a baseline."""
    order = np.argsort(ended_s)
    order = order[slice(*np.searchsorted(ended_s[order], [_BEFORE_S, until_s]))]
    return Run(ended_s[order] - _BEFORE_S, 1e3 * taken_s[order], np.zeros(len(order), bool), np.empty((4, 0)))


def truth(server: Server, noise: Noise, seed: int) -> Truth:
    """Return what a server does in the long run, from long runs of its own."""
    random = np.random.default_rng([seed, 1])
    seen = [run for _ in range(4) for run in runs(random, 250, 200.0, server, noise)]
    latencies = np.concatenate([run.latencies_ms for run in seen])
    p50, p95, p99 = np.quantile(latencies, [0.5, 0.95, 0.99])
    rps = len(latencies) / (200.0 * len(seen))
    failed = np.concatenate([run.failed for run in seen])
    errors = float(failed.mean())
    baseline = float(np.mean([between_pulses(run.pulses[1] / run.pulses[2]).mean() for run in seen]))
    in_time = float(np.mean(~failed & (latencies <= p95)))
    good = rps * (1 - errors)
    return Truth(p50, p95, p99, float(latencies.mean()), good, good / baseline, errors, in_time)


def base_ms(server: Server, noise: Noise) -> float:
    """Return the latency whose logarithm the level and the noise are added to."""
    if server.users:
        return 1e3 * server.users / server.rps * math.exp(-(noise.sigma**2) / 2)
    return 2e3 / server.rps


def _levels(random: np.random.Generator, count: int, length_s: float, tau_s: float) -> Floats:
    """Return standard levels, shape ``(times, runs)``."""
    level = random.standard_normal((int(length_s / _GRID_S) + 2, count))
    if tau_s:
        kept = math.exp(-_GRID_S / tau_s)
        level[1:] *= math.sqrt(1 - kept**2)
        for at in range(1, len(level)):
            level[at] += kept * level[at - 1]
    return level


def _taken(random: np.random.Generator, noise: Noise, levels: Floats, base_s: float) -> Floats:
    own = random.standard_normal(levels.shape)
    shares = math.sqrt(noise.share), math.sqrt(1 - noise.share)
    return np.asarray(base_s * np.exp(noise.sigma * (shares[0] * levels + shares[1] * own)))


def _at(level: Floats, at_s: Floats, columns: NDArray[np.int64]) -> Floats:
    rows = np.minimum((at_s / _GRID_S).astype(np.int64), len(level) - 1)
    return np.asarray(level[rows, columns])


def _closed(
    random: np.random.Generator, level: Floats, length_s: float, server: Server, noise: Noise
) -> tuple[Floats, Floats, Floats]:
    count = level.shape[1]
    columns = np.repeat(np.arange(count), server.users)
    base_s = server.users / server.rps * math.exp(-(noise.sigma**2) / 2)
    now = random.random(len(columns)) * base_s
    ended, taken, levels = [], [], []
    while (now < length_s).any():
        # Without a memory each request has a level of its own.
        seen = _at(level, now, columns) if noise.tau_s else random.standard_normal(len(now))
        took = _taken(random, noise, seen, base_s)
        now = now + took
        ended.append(now)
        taken.append(took)
        levels.append(seen)
    stacked = (np.stack(each, axis=1).reshape(count, -1) for each in (ended, taken, levels))
    first, second, third = stacked
    return first, second, third


def _open(
    random: np.random.Generator, level: Floats, length_s: float, server: Server, noise: Noise
) -> tuple[Floats, Floats, Floats]:
    count = level.shape[1]
    most = int(server.rps * length_s + 6 * math.sqrt(server.rps * length_s))
    due = np.cumsum(random.exponential(1 / server.rps, (count, most)), axis=1)
    columns = np.broadcast_to(np.arange(count)[:, None], due.shape)
    levels = _at(level, due, columns) if noise.tau_s else random.standard_normal(due.shape)
    taken = _taken(random, noise, levels, 2 / server.rps)
    return due + taken, taken, levels


def _queued(
    random: np.random.Generator, level: Floats, length_s: float, server: Server, noise: Noise
) -> tuple[Floats, Floats, Floats]:
    """Return requests that wait until those before them are done; latencies count from when they are due."""
    stage, process = Stage(0.0, length_s, server.rps, server.rps), server.arrivals
    assert process
    seeds = [int(random.integers(1 << 31)) for _ in range(level.shape[1])]
    rows = [np.fromiter(replace(process, seed=seed).due_times([stage]), float) for seed in seeds]
    # After the run, a request more in each row that is shorter than the longest one.
    due = np.full((len(rows), max(map(len, rows))), length_s + _BEFORE_S)
    for row, times_s in zip(due, rows, strict=True):
        row[: len(times_s)] = times_s
    columns = np.broadcast_to(np.arange(len(rows))[:, None], due.shape)
    levels = _at(level, due, columns) if noise.tau_s else random.standard_normal(due.shape)
    served = _taken(random, noise, levels, server.busy / server.rps * math.exp(-(noise.sigma**2) / 2))
    work = np.cumsum(served, axis=1)
    ended = work + np.maximum.accumulate(due - (work - served), axis=1)
    return ended, ended - due, levels


def _with_stalls(
    random: np.random.Generator, ended: Floats, taken: Floats, server: Server
) -> tuple[Floats, Floats]:
    """Return when requests end and what they take when the server stands still now and then.

    Requests came by a clock that stands still with the server, and stalls are a Poisson process there.
    """
    every_s = -taken.mean() / math.log1p(-server.stalled)
    stalled_ended, stalled_taken = np.empty_like(ended), np.empty_like(taken)
    for index in range(len(ended)):
        last_s = float(ended[index].max())
        stalls_s = np.sort(random.uniform(0, last_s, random.poisson(last_s / every_s)))
        until, before = (np.searchsorted(stalls_s, at) for at in (ended[index], ended[index] - taken[index]))
        stalled_ended[index] = ended[index] + server.stall_s * until
        stalled_taken[index] = taken[index] + server.stall_s * (until - before)
    return stalled_ended, stalled_taken


def _pulses(random: np.random.Generator, level: Floats, until_s: float, noise: Noise) -> Floats:
    """Return each pulse's time, calls, busy seconds and median call in ms."""
    at_s = np.arange(_BEFORE_S + 0.1, until_s, PULSE_EVERY_S)
    shape = (len(at_s), _CALLS_IN_A_PULSE)
    seen = (
        np.repeat(level[(at_s / _GRID_S).astype(np.int64)][:, None], _CALLS_IN_A_PULSE, axis=1)
        if noise.tau_s
        else random.standard_normal(shape)
    )
    calls_s = _taken(random, noise, seen, _CALL_S)
    return np.array(
        [
            at_s - _BEFORE_S,
            np.full(len(at_s), float(_CALLS_IN_A_PULSE)),
            calls_s.sum(axis=1),
            1e3 * np.median(calls_s, axis=1),
        ]
    )
