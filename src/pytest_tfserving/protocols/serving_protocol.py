"""The contract of a protocol that models are served over, and of its clients and connections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from pytest_tfserving.protocols.reading import MESSAGE_LENGTH, MOST_BYTES

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from google.protobuf.message import Message

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.protocols.arrival_time import LateReading
    from pytest_tfserving.protocols.payload import Payload
    from pytest_tfserving.protocols.transport import ExchangeError
    from pytest_tfserving.text.json_value import JsonValue


# The model in the path of an address, with a version or a label, as TensorFlow Serving's REST API has them.
MODEL_PATTERN = r"(?P<path>(?P<model>[^/:]+)(/(versions/\d+|labels/[^/:]+))?)"


class ModelClient(Protocol):
    """A client of one model at one endpoint, for what is asked before load and after it."""

    def state(self) -> tuple[str, str]:
        """Return `best_state` of the model; if there is no valid status, a text about that."""

    def request(self, payload: Payload) -> bytes:
        """Return the request for ``payload`` as bytes.

        Raises:
            LoadError: when the model's signature is not known.
        """

    def signature_defs(self) -> Mapping[str, Message]:
        """Return the model's ``SignatureDef`` messages by name.

        Raises:
            LoadError: when the server does not tell them.
            ConfigurationError: when a library is missing.
        """

    def predict(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Send ``request``; return the status and the body of the answer.

        Raises:
            LoadError: when no answer comes.
        """


class Bodies(Protocol):
    """The bodies of requests."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> bytes | memoryview: ...


@dataclass(frozen=True, slots=True)
class SentRequests:
    """The requests that the users of a load process send.

    Attributes:
        endpoints: the replicas; users are spread evenly over them.
        paths: the paths of the requests, as ``/v1/models/NAME:predict``.
        bodies: the requests, as `ServingProtocol.framed` returns them.
        timeout_s: the timeout of each request, in seconds.
        shared: the number of connections to each replica that users share, where a protocol can share them;
            0 if each user has its own.
        most_bytes: a larger response is an error.
        path_numbers: the number of the path of each body; empty if there is only one path.
        late: where connections note that responses cannot be read late; None if they are read at once.
    """

    endpoints: Sequence[Endpoint]
    paths: Sequence[str]
    bodies: Bodies
    timeout_s: float
    shared: int = 0
    most_bytes: int = MOST_BYTES
    path_numbers: Sequence[int] = ()
    late: LateReading | None = None


class Receiver(Protocol):
    """The user of a connection that does not wait. Its methods run in the event loop and must not wait."""

    def on_response(self, status: int, content: bytes, waited_s: float) -> None:
        """Take the response to the request under way, which had waited for ``waited_s`` seconds."""

    def on_failure(self, error: ExchangeError) -> None:
        """Take the failure of the request under way."""


class Connection(Protocol):
    """Connection of a user of a load process."""

    def start(self, body: int, receiver: Receiver) -> bool:
        """Send a request without waiting; return False, and send nothing, where that is not possible.

        Args:
            body: the index of the request's body.
            receiver: gets the response.
        """

    def exchange(self, body: int = 0) -> tuple[int, bytes]:
        """Send the request with the body of this index; return the response's status and body.

        Raises:
            ExchangeError: if no whole response comes; its text is the cause.
        """

    def abort(self) -> None:
        """End a waiting `exchange` at once."""


class ServingProtocol(Protocol):
    """A protocol that models are served over.

    Attributes:
        name: as in ``protocol`` of an experiment, and in an `Endpoint`.
        server_port: the port on which a server in a container listens.
        port_flag: the server's flag for its port.
        url_schemes: the usual port of each scheme of addresses, and whether the scheme means TLS.
        url_path: the path of a model's address, with the groups ``path`` and ``model``.
        url_example: an address, for messages.
        is_http: whether clients of a locustfile take a URL as host; otherwise they take ``host:port``.
        success: the status of a successful response.
    """

    name: ClassVar[str]
    server_port: ClassVar[int]
    port_flag: ClassVar[str]
    url_schemes: ClassVar[Mapping[str, tuple[int, bool]]]
    url_path: ClassVar[re.Pattern[str]]
    url_example: ClassVar[str]
    is_http: ClassVar[bool]
    success: ClassVar[int]

    def value(self, body: bytes, key: str) -> JsonValue:
        """Return the value of a successful response under ``predictions`` or ``outputs``.

        Raises:
            LoadError: if there is none. Errors are counted by its text.
        """
        ...

    def failure(self, status: int, body: bytes, most: int = MESSAGE_LENGTH) -> str:
        """Return why a response with another status has failed.

        Errors are counted by this text, so the server's own words are cut after ``most`` characters.
        """
        ...

    def client(self, endpoint: Endpoint, path: str) -> AbstractContextManager[ModelClient]:
        """Return a client of the model at ``path``, which is its path in REST for every protocol."""
        ...

    def framed(self, request: bytes) -> bytes:
        """Return a request of `ModelClient.request` as `connections` send it."""
        ...

    def connections(self, requests: SentRequests) -> Callable[[int], Connection]:
        """Return a function that makes the connection of a load process's user, given the user's number."""
        ...
