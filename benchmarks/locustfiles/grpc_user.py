"""The same predict request from a plain Locust user with a stub of gRPC's official library."""

# mypy: disable-error-code="misc,untyped-decorator,no-untyped-call"

import time

import grpc
import grpc.experimental.gevent as grpc_gevent
from locust import User, task
from locust.env import Environment

from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.tensor_proto import fill_proto

grpc_gevent.init_gevent()
import numpy as np  # noqa: E402 - after the library was made ready

REQUEST = message("tensorflow.serving.PredictRequest")()
REQUEST.model_spec.name = "half_plus_two"
fill_proto(REQUEST.inputs["x"], np.array([1.0, 2.0, 5.0], np.float32), as_content=True)


class Predict(User):
    """Sends, waits for the answer, and sends again, on a channel of its own."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(self.host.removeprefix("http://"), options)
        self.stub = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=message("tensorflow.serving.PredictRequest").SerializeToString,
            response_deserializer=message("tensorflow.serving.PredictResponse").FromString,
        )

    @task
    def predict(self) -> None:
        """One request, told to Locust as its own users tell theirs."""
        start, error = time.perf_counter(), None
        try:
            self.stub(REQUEST, timeout=30)
        except grpc.RpcError as problem:
            error = problem
        self.environment.events.request.fire(
            request_type="grpc",
            name="Predict",
            response_time=(time.perf_counter() - start) * 1e3,
            response_length=0,
            exception=error,
        )
