"""``--tfserving-prices``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import planted_results as planted

if TYPE_CHECKING:
    from harness import Project

TWO = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 20, run_time_s: 2, think_time_s: 0.01, request_timeout_s: 5,
    max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: [1, 2], slo: ["rps>=1"]}
"""


def test_it_prices_the_table_and_the_results(project: Project) -> None:
    planted.instead_of_load(project)
    project.write(TWO)
    (project.pytester.path / "prices.yaml").write_text(
        "{vcpu_hour_usd: 1, gb_hour_usd: 0.5, source: our contract, date: 2026-01-01}"
    )

    run, (first, _) = project.results("--tfserving-prices=prices.yaml", "--tfserving-hours=10")

    assert first["cost"]["month_usd"] == 15
    assert first["cost"]["million_usd"] == pytest.approx(1.5e6 / 3600 / first["metrics"]["rps"])
    run.stdout.fnmatch_lines(
        [
            "*USD for 10 h a month USD a million",
            "1cpu-1gb-1n-interop1 *15.00 *",
            "1cpu-1gb-1n-interop2 *15.00 *",
            "prices: our contract, 2026-01-01",
            "Take 1cpu-1gb-1n-interop* it is the cheapest that meets the SLOs at 15.00 USD for 10 h a month*",
        ]
    )


def test_a_missing_file_is_named(project: Project) -> None:
    run = project.run("--tfserving-prices=nowhere.yaml")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*--tfserving-prices: the price file *nowhere.yaml cannot be read: No such*"])
