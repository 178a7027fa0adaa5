"""Targets on shares of seeded runs, and what chance makes of a share in few runs."""

from __future__ import annotations

import _common as common

# In so many runs a share is known well enough to be held to its target as it is.
MANY_RUNS = 1000
# What is allowed is exceeded by chance with this probability, in any of all cells.
_LEVEL = 0.05


def at_most(text: str, seen: float, share: float, runs: int, cells: int) -> common.Target:
    """Return the target that the highest share seen in a cell is at most ``share``; see `within_chance`."""
    if runs < MANY_RUNS:
        return within_chance(text, seen, share, runs, cells)
    return common.Target(f"{text}, %", 100 * seen, 100 * share)


def within_chance(text: str, seen: float, share: float, runs: int, cells: int = 1) -> common.Target:
    """Return the target that the highest share seen in a cell is one that chance makes of ``share``."""
    test = f"binomial test of {100 * share:g} % in {runs:,} runs"
    return common.Target(f"{text}, % ({test})", 100 * seen, 100 * most_by_chance(runs, share, cells))


def most_by_chance(runs: int, share: float, cells: int = 1) -> float:
    """Return the highest share of so many runs that chance makes of ``share`` in any of the cells.

    A one-sided binomial test a cell, with Bonferroni's correction.
    """
    hits, probability = 0, (1 - share) ** runs
    below = probability
    while 1 - below > _LEVEL / cells:
        hits += 1
        probability *= (runs - hits + 1) / hits * share / (1 - share)
        below += probability
    return hits / runs
