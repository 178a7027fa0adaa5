"""Which requests are answered on the event loop, and which ones in a thread."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from pytest_tfserving.model_server.core import Labels, ServerCore
from pytest_tfserving.model_server.http import Response
from pytest_tfserving.model_server.http_requests import Head, Request
from pytest_tfserving.model_server.inference import Inference
from pytest_tfserving.model_server.manager import LoadOptions, Manager
from pytest_tfserving.model_server.metrics import Metrics
from pytest_tfserving.model_server.request_log import RequestLogOptions, RequestLogs
from pytest_tfserving.model_server.rest import RestApi, RestOptions
from pytest_tfserving.model_server.servable import Runnable, Signature, TensorSpec
from pytest_tfserving.model_server.source import FileSystemSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pytest_tfserving.model_server.manager import Loaded


class Recording(Inference):
    """Inference that records the timeouts."""

    def __init__(self) -> None:
        super().__init__(Metrics())
        self.timeouts_ms: list[int | None] = []

    def predict(  # noqa: PLR0913 - as in `Inference`
        self,
        model: Loaded,
        signature_name: str,
        inputs: Mapping[str, NDArray[np.generic]],
        timeout_ms: int | None = None,
        outputs: Sequence[str] = (),
        *,
        inline: bool = False,
    ) -> dict[str, NDArray[np.generic]]:
        self.timeouts_ms.append(timeout_ms)
        return super().predict(model, signature_name, inputs, timeout_ms, outputs, inline=inline)


@pytest.fixture
def core(tmp_path: Path) -> Iterator[ServerCore]:
    """A core with the models ``m``, which doubles numbers, and ``ones``, which answers with many; at once."""
    logs = RequestLogs(RequestLogOptions(), Metrics())
    models = {"m": Double, "ones": Ones}
    manager = Manager(lambda name, *_: models[name](), LoadOptions())
    core = ServerCore(
        manager, FileSystemSource(manager.aspire), Labels(manager, unavailable_allowed=False), logs
    )
    try:
        for name in models:
            manager.aspire(name, {1: tmp_path})
        assert manager.settled(models, 60)
        yield core
    finally:
        manager.stop()


def predicted(
    core: ServerCore, body: bytes, model: str = "m", inference: Inference | None = None
) -> tuple[bool, bytes]:
    """Return whether a request for a prediction was answered on the event loop, and the answer's body."""
    return asyncio.run(_answer(core, inference, ("POST", f"/v1/models/{model}:predict"), body))


async def _answer(
    core: ServerCore, inference: Inference | None, line: tuple[str, str], body: bytes
) -> tuple[bool, bytes]:
    options = RestOptions(1000, 0, 1, cors=False, metrics_path="/metrics")
    with ThreadPoolExecutor(1) as pool:
        api = RestApi(core, inference or Inference(Metrics()), Metrics(), pool, options)
        answer = api.handle(Request(Head(*line, (), is_old=False, is_proxied=False), body))
        on_loop = isinstance(answer, Response)
        return on_loop, (answer if isinstance(answer, Response) else await answer).body


def test_no_timeout_on_the_event_loop(core: ServerCore) -> None:
    inference = Recording()

    answers = [predicted(core, b'{"instances": [1.5]}', inference=inference) for _ in range(30)]

    body = b'{\n    "predictions": [3.0\n    ]\n}'
    assert answers == [(False, body)] * 20 + [(True, body)] * 10
    assert inference.timeouts_ms == [1000] * 20 + [None] * 10


@pytest.mark.parametrize("model", ["m", "unknown"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": ' + b"[" * 3000,
        b'{"instances": ' + b'{"":' * 1010,
        b'{"instances": [' + b"1.5, " * 80 + b"Inf]}",
    ],
    ids=["arrays", "objects", "a word at the end"],
)
def test_what_python_cannot_read_is_not_read_on_the_event_loop(
    core: ServerCore, body: bytes, model: str
) -> None:
    for _ in range(30):
        predicted(core, b'{"instances": [1.5]}')

    on_loop, answer = predicted(core, body, model)

    assert not on_loop
    assert b"error" in answer or b"Infinity" in answer


def test_large_answers_are_not_written_on_the_event_loop(core: ServerCore) -> None:
    answers = [predicted(core, b'{"instances": [10000.0]}', "ones") for _ in range(30)]

    assert not any(on_loop for on_loop, _ in answers)
    assert all(body.count(b"1.0") == 10_000 for _, body in answers)


def test_one_large_answer_sends_a_signature_back_to_threads(core: ServerCore) -> None:
    def is_on_loop(size: bytes) -> bool:
        return predicted(core, b'{"instances": [%b]}' % size, "ones")[0]

    assert [is_on_loop(b"1.0") for _ in range(25)] == [False] * 20 + [True] * 5
    assert is_on_loop(b"10000.0")
    assert [is_on_loop(b"1.0") for _ in range(45)] == [False] * 40 + [True] * 5


@pytest.mark.parametrize("path", ["/v1/models/m/metadata", "/metrics"])
def test_large_reports_are_not_made_on_the_event_loop(core: ServerCore, path: str) -> None:
    on_loop, _ = asyncio.run(_answer(core, None, ("GET", path), b""))

    assert not on_loop


def test_a_status_is_answered_on_the_event_loop(core: ServerCore) -> None:
    on_loop, body = asyncio.run(_answer(core, None, ("GET", "/v1/models/m"), b""))

    assert on_loop
    assert b"AVAILABLE" in body


class Double(Runnable):
    """A model that doubles numbers at once."""

    may_wait = False

    def __init__(self) -> None:
        spec = {"x": TensorSpec("x:0", 1, None)}
        self.signatures = {"serving_default": Signature(spec, {"y": TensorSpec("y:0", 1, None)})}
        self.signature_defs = {}

    def run_tensors(
        self, feeds: Mapping[str, NDArray[Any]], *_: object, **__: object
    ) -> dict[str, NDArray[np.generic]]:
        return {"y:0": feeds["x:0"] * 2}

    def close(self) -> None:
        pass


class Ones(Double):
    """A model that answers with as many ones as the input says."""

    def run_tensors(
        self, feeds: Mapping[str, NDArray[Any]], *_: object, **__: object
    ) -> dict[str, NDArray[np.generic]]:
        return {"y:0": np.ones(int(feeds["x:0"][0]), np.float32)}
