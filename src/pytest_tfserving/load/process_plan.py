"""Plan of one load process, which pytest writes to the process as one line of JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pytest_tfserving.deployment.deployment import Endpoint
from pytest_tfserving.experiments.client_settings import ClientSettings
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.experiments.trace import ReplaySchedule
from pytest_tfserving.protocols.answer import ExpectedAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """Plan of one load process.

    Attributes:
        role: ``alone``, or with several processes ``worker`` or Locust's ``master``.
        index: the number of the process; the master's follows that of the last worker.
        processes: the number of processes that send requests.
        profile: the load of all processes together.
        endpoints: the replicas.
        paths: the paths of requests, as ``/v1/models/NAME:predict``, by `PreparedRequests.path_numbers`.
        expected: the content of a right response, by the index of the request's body, where it is known.
        most_bytes: a larger response is an error.
        stall_s: a run without any response for this many seconds is stopped.
        requests: the path of the file with the `PreparedRequests`; empty if they come in lines.
        records: the path of the file for records; empty if the process writes records into its lines.
        cores: the cores that the process may use; empty for all.
        clock: the path of the clock's file; empty if the process has a clock of its own.
        master: the host and the port of Locust's master; None with a single process.
        schedule: the requests of a trace that is replayed, and when they are due; None without one.
    """

    role: Literal["alone", "worker", "master"]
    index: int
    processes: int
    profile: LoadProfile
    endpoints: tuple[Endpoint, ...]
    paths: tuple[str, ...]
    expected: Mapping[int, ExpectedAnswer]
    most_bytes: int
    stall_s: float
    requests: str = ""
    records: str = ""
    cores: tuple[int, ...] = ()
    clock: str = ""
    master: tuple[str, int] | None = None
    schedule: ReplaySchedule | None = None

    def to_json(self) -> str:
        """Return the plan as one line."""
        values = asdict(replace(self, schedule=None))
        return json.dumps({**values, "schedule": self.schedule.as_text() if self.schedule else None})

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Return the plan that `to_json` wrote."""
        values = json.loads(line)
        return cls(
            **{
                **values,
                "profile": LoadProfile.from_fields(values["profile"]),
                "endpoints": tuple(map(_endpoint, values["endpoints"])),
                "paths": tuple(values["paths"]),
                "expected": {int(body): ExpectedAnswer(**each) for body, each in values["expected"].items()},
                "cores": tuple(values["cores"]),
                "master": tuple(values["master"]) if values["master"] else None,
                "schedule": ReplaySchedule.from_text(values["schedule"]) if values["schedule"] else None,
            }
        )


def _endpoint(values: dict[str, Any]) -> Endpoint:
    return Endpoint(**{**values, "client": ClientSettings.of(values["client"])})
