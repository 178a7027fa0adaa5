"""One user of a server, whose requests are sent, judged and recorded as those of any load."""

from __future__ import annotations

import time
from array import array
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gevent

from pytest_tfserving.deployment.deployment import Endpoint
from pytest_tfserving.load.recorder import FIELDS, Recorder
from pytest_tfserving.load.worker.users.sender import AnswerJudge, RequestSender
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.answer import ExpectedAnswer
from pytest_tfserving.protocols.serving_protocol import RepeatedRequest

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
        loop: Any = SimpleNamespace(
            recorder=self._recorder, judge=AnswerJudge(expected), now_s=time.perf_counter, sent=0
        )
        endpoint = Endpoint("127.0.0.1", server.port, protocol=server.protocol)
        request = RepeatedRequest([endpoint], "/v1/models/half:predict", b"{}", 20.0, 0, MOST_BYTES)
        self._connection: Any = SERVING_PROTOCOLS[server.protocol].connections(request)(0)
        self._requester = RequestSender(loop, self._connection)

    def send(self) -> str:
        """Send one request; return the cause that was recorded for it, empty for a right answer."""
        late = gevent.spawn(self._give_up_on_silence, self._server.misbehaved)
        try:
            self._requester.send()
        finally:
            late.kill()
        self._recorder.flush()
        values, self._kept.values = self._kept.values, array("d")
        assert len(values) == FIELDS, "one request, one record"
        return self._causes[int(values[2])]

    def _give_up_on_silence(self, misbehaved: int) -> None:
        while self._server.misbehaved == misbehaved:
            gevent.sleep(0.01)
        gevent.sleep(self._timeout_s)
        self._requester.give_up("no response in time")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
