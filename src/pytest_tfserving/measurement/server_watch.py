"""Observation of a deployment while it is loaded, in a thread of its own."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from pytest_tfserving.server_side.cpu import CpuHistory
from pytest_tfserving.server_side.observed import ServerSide, cores_by_second, observed
from pytest_tfserving.server_side.prometheus import growth, model_load_s, read_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.deployment.load_clock import LoadClock
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.system.resource_usage import ResourceUsage

_EVERY_S = 0.5
# A cluster that does not respond must not delay the end of the run.
_LAST_LOOK_S = 3.0


class ServerWatch:
    """Watcher of a deployment inside the context; `seen` then adds the observations to a result.

    All times are those of the load's ``clock``.

    Attributes:
        cpu: the CPU readings of the replicas so far.
    """

    def __init__(self, deployment: Deployment, clock: LoadClock) -> None:
        self.cpu = CpuHistory()
        self._deployment = deployment
        self._clock = clock
        self._samples: list[tuple[float, ResourceUsage]] = []
        self._metrics: Mapping[str, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._before = read_metrics(self._deployment)
        self._happened_before = len(self._deployment.incidents())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(_LAST_LOOK_S)
        if self._before is not None:
            self._metrics = growth(self._before, read_metrics(self._deployment))

    def seen(self, result: Result) -> Result:
        """Return ``result`` with the server's side, and with the cores in use in its series."""
        origin_s = self._clock.origin_s
        samples = [(at_s - origin_s, usage) for at_s, usage in list(self._samples)]
        window = result.window
        cores = cores_by_second(samples)
        series = [
            {**row, "server_cpu": cores[int(row["at_s"])]} if int(row["at_s"]) in cores else row
            for row in result.series
        ]
        server = observed(samples, window.start_s, window.end_s, self._metrics)
        if server:
            server = replace(server, idle_cores=self.cpu.idle_cores, model_load_s=model_load_s(self._before))
        if incidents := tuple(self._deployment.incidents()[self._happened_before :]):
            server = replace(server or ServerSide(), incidents=incidents)
        return replace(result, server=server, series=series)

    def _look(self) -> None:
        is_last = False
        while (usage := self._deployment.usage()) is not None:
            self._samples.append((self._clock.reading_s(), usage))
            self.cpu.add(usage, self._clock.reading_at_s)
            if is_last:
                return
            is_last = self._done.wait(_EVERY_S)
