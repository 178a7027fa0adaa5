"""One user of a server, whose requests are sent, judged and recorded as those of any load."""

from __future__ import annotations

import time
from array import array
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event

from pytest_tfserving.deployment.deployment import Endpoint
from pytest_tfserving.deployment.load_clock import LoadClock
from pytest_tfserving.load.recorder import FIELDS, Recorder
from pytest_tfserving.load.worker.users.answer_judge import AnswerJudge
from pytest_tfserving.load.worker.users.sender import RequestSender
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.answer import AnswerForm, ExpectedAnswer
from pytest_tfserving.protocols.serving_protocol import SentRequests

if TYPE_CHECKING:
    from servers.odd_server import OddServer

MOST_BYTES = 1 << 20


class Kept:
    """A sink that keeps records in memory."""

    def __init__(self) -> None:
        self.values = array("d")

    def write(self, data: array[float], /) -> None:
        """Keep them."""
        self.values.frombytes(bytes(data))

    def close(self) -> None:
        """Nothing is left to be done."""


class RecordedUser:
    """Sends one request after another; right answers look like those of half_plus_two.

    The time of a request runs from the moment when the server misbehaves: a right answer may take long on a
    busy machine.
    """

    def __init__(self, server: OddServer, timeout_s: float = 1.0) -> None:
        self._server, self._timeout_s = server, timeout_s
        self._kept, self._causes = Kept(), {0: ""}
        self._recorder = Recorder(self._kept, self._causes.__setitem__)
        expected = ExpectedAnswer("predictions", [3], protocol=server.protocol, kinds=["numbers"])
        judge = AnswerJudge(server.protocol, [AnswerForm()], {0: expected})
        loop: Any = SimpleNamespace(
            recorder=self._recorder, judge=judge, now_s=time.perf_counter, clock=LoadClock(), sent=0
        )
        endpoint = Endpoint("127.0.0.1", server.port, protocol=server.protocol)
        protocol = SERVING_PROTOCOLS[server.protocol]
        bodies = [protocol.framed(b"{}")]
        requests = SentRequests([endpoint], ["/v1/models/half:predict"], bodies, 20.0, 0, MOST_BYTES)
        self._connection: Any = protocol.connections(requests)(0)
        self._requester = RequestSender(loop, self._connection)

    def send(self) -> str:
        """Send one request; return the cause that was recorded for it, empty for a right answer."""
        late = gevent.spawn(self._give_up_on_silence, self._server.misbehaved)
        try:
            self._send()
        finally:
            late.kill()
        self._recorder.flush()
        values, self._kept.values = self._kept.values, array("d")
        assert len(values) == FIELDS, "one request, one record"
        return self._causes[int(values[2])]

    def _send(self) -> None:
        """Send without waiting, as users do who do not pause, once the connection is open."""
        done = Event()
        if self._requester.start(0, lambda _: done.set()):
            done.wait()
        else:
            self._requester.send(0)

    def _give_up_on_silence(self, misbehaved: int) -> None:
        while self._server.misbehaved == misbehaved:
            gevent.sleep(0.01)
        gevent.sleep(self._timeout_s)
        self._requester.give_up("no response in time")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
