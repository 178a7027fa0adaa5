"""Plan of one load process, which pytest writes to the process as one line of JSON."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import Literal, Self

from pytest_tfserving.deployment.deployment import Endpoint
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.protocols.answer import ExpectedAnswer


@dataclass(frozen=True, slots=True)
class ProcessPlan:
    """Plan of one load process.

    Attributes:
        role: ``alone``, or with several processes ``worker`` or Locust's ``master``.
        index: the number of the process; the master's follows that of the last worker.
        processes: the number of processes that send requests.
        profile: the load of all processes together.
        endpoints: the replicas.
        path: the path of requests, as ``/v1/models/NAME:predict``.
        body: the bytes that are sent with every request.
        expected: the content of a right response.
        stall_s: a run without any response for this many seconds is stopped.
        records: the path of the file for records; empty if the process writes records into its lines.
        cores: the cores that the process may use; empty for all.
        clock: the path of the clock's file; empty if the process has a clock of its own.
        master: the host and the port of Locust's master; None with a single process.
    """

    role: Literal["alone", "worker", "master"]
    index: int
    processes: int
    profile: LoadProfile
    endpoints: tuple[Endpoint, ...]
    path: str
    body: bytes
    expected: ExpectedAnswer
    stall_s: float
    records: str = ""
    cores: tuple[int, ...] = ()
    clock: str = ""
    master: tuple[str, int] | None = None

    def to_json(self) -> str:
        """Return the plan as one line."""
        return json.dumps({**asdict(self), "body": base64.b64encode(self.body).decode("ascii")})

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Return the plan that `to_json` wrote."""
        values = json.loads(line)
        return cls(
            **{
                **values,
                "profile": LoadProfile(**values["profile"]),
                "endpoints": tuple(Endpoint(**each) for each in values["endpoints"]),
                "body": base64.b64decode(values["body"]),
                "expected": ExpectedAnswer(**values["expected"]),
                "cores": tuple(values["cores"]),
                "master": tuple(values["master"]) if values["master"] else None,
            }
        )
