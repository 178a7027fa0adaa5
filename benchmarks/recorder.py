"""How exact reported percentiles are, on a server whose latencies are known, beside Locust's own figure.

A server answers each request after a latency it was given, around 1, 10, 105 and 1050 ms; the real load path
(the Locust child, `run`) measures it. For the very same requests, those of the result's window, three
p95 are compared with the reported one:

* what numpy finds in the child's raw records (target: within 0.1 %),
* what the server meant (target: within 1 ms),
* what Locust's own statistics make of the recorded latencies: it rounds to two digits.

Needs Linux with two cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import _common as common
import numpy as np

from pytest_tfserving.load.recorder import read_records

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SEED = 20_150_512
_LATENCIES = 100_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """Latencies around ``centre_ms``, asked for by ``users`` at a time."""

    name: str
    centre_ms: float
    users: int
    run_time_s: float
    tail_ms: float = 0.0

    def latencies_ms(self) -> NDArray[np.float64]:
        """Return the latencies in the order of serving: lognormal, or with a tenth in a second point."""
        rng = np.random.default_rng(_SEED)
        spread = self.centre_ms * rng.lognormal(0.0, 0.02, _LATENCIES)
        if not self.tail_ms:
            return np.asarray(spread)
        tail = self.tail_ms * rng.lognormal(0.0, 0.002, _LATENCIES)
        return np.where(rng.random(_LATENCIES) < 0.1, tail, spread)


def scenarios(seconds: float) -> list[Scenario]:
    return [
        Scenario("around 1 ms", 1.4, 1, seconds),
        Scenario("around 10 ms", 10.05, 4, seconds),
        Scenario("around 105 ms", 101.5, 16, seconds),
        Scenario("around 1050 ms", 1012.0, 48, 2 * seconds),
        Scenario("20 ms, every tenth 104.9 ms", 20.0, 8, seconds, 104.9),
        Scenario("20 ms, every tenth 1049 ms", 20.0, 16, seconds, 1049.0),
    ]


def measured(scenario: Scenario, server_core: int, core: int, folder: Path) -> dict[str, float]:
    """Return the p95 of one scenario, four times."""
    source, told, kept = folder / "latencies", folder / "told", folder / "kept"
    source.write_bytes(scenario.latencies_ms().tobytes())
    port = common.free_port()

    def keep_records(_: object) -> None:
        """Make a second name for the child's file, because the load path removes the file at its end."""
        if not kept.exists():
            os.link(folder / "load" / "records0.f64", kept)

    command = [sys.executable, str(common.HERE / "_known_server.py"), str(port), str(source), str(told)]
    with common.pinned(server_core):
        server = subprocess.Popen(command)
    with common.ending(server):
        common.wait_for_port(port, server)
        plan = common.plan(scenario.users, scenario.run_time_s)
        result = common.measured(plan, common.deployment(port, core), folder / "load", keep_records)
    if result.aborted or result.incomplete or result.total_errors:
        sys.exit(f"{scenario.name}: {result.aborted or result.incomplete or dict(result.errors)}")
    if result.invalid:
        print(f"{scenario.name}: {result.invalid}", file=sys.stderr)

    records = np.array(read_records(kept))
    ended_s = records[:, 0] + records[:, 1] / 1e3
    inside = (ended_s >= result.window.start_s) & (ended_s <= result.window.end_s)
    meant, slept = np.fromfile(told).reshape(-1, 2)[_places(ended_s, inside)].T
    latencies = folder / "recorded"
    latencies.write_bytes(records[inside, 1].tobytes())
    return {
        "requests": int(inside.sum()),
        "reported_ms": result.p95_ms,
        "records_ms": _p95(records[inside, 1]),
        "meant_ms": _p95(meant),
        "slept_ms": _p95(slept),
        "locust_ms": _locust_p95(latencies),
    }


def _places(ended_s: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Where the window's requests stand among the server's: both tell them in the order they ended."""
    order = np.argsort(ended_s, kind="stable")
    return np.flatnonzero(inside[order])


def _p95(values: NDArray[np.float64]) -> float:
    return float(np.percentile(values, 95, method="inverted_cdf"))


def _locust_p95(latencies: Path) -> float:
    command = [sys.executable, str(common.HERE / "_locust_percentile.py"), str(latencies), "0.95"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _off(value: float, truth: float) -> float:
    return 100 * (value / truth - 1)


def main() -> None:
    args = common.arguments(__doc__)
    server_core, core = common.two_cores()
    figures: dict[str, dict[str, float]] = {}
    for scenario in scenarios(3.0 if args.quick else 15.0):
        common.note(scenario.name)
        with common.scratch() as folder:
            figures[scenario.name] = measured(scenario, server_core, core, folder)
    common.note("")
    print("p95 in ms of the same requests, and how far it is off what the server meant\n")
    common.table(
        ["latencies", "requests", "meant", "slept", "raw records", "reported", "off", "Locust", "off"],
        [
            [
                name,
                row["requests"],
                *(f"{row[key]:.2f}" for key in ("meant_ms", "slept_ms", "records_ms", "reported_ms")),
                f"{_off(row['reported_ms'], row['meant_ms']):+.2f} %",
                f"{row['locust_ms']:g}",
                f"{_off(row['locust_ms'], row['meant_ms']):+.2f} %",
            ]
            for name, row in figures.items()
        ],
    )
    rows = figures.values()
    records_off = max(abs(_off(row["reported_ms"], row["records_ms"])) for row in rows)
    meant_off = max(abs(row["reported_ms"] - row["meant_ms"]) for row in rows)
    locust_off = max(abs(_off(row["locust_ms"], row["meant_ms"])) for row in rows)
    print(f"\nLocust's own figure is off by up to {locust_off:.1f} %")
    common.finish(
        args,
        {"scenarios": figures, "locust_off_percent": locust_off},
        [
            common.Target("reported p95 off the child's records, %", records_off, 0.1),
            common.Target("reported p95 off what the server meant, ms", meant_off, 1.0),
        ],
    )


if __name__ == "__main__":
    main()
