"""Headers and TLS of the clients of a locustfile's users, for the addresses of the target alone.

A redirect, or a request to another address, gets neither: the headers may have secrets in them.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from locust import clients
from locust.contrib import fasthttp
from requests.structures import CaseInsensitiveDict
from requests.utils import default_headers

from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.client_access import ServerContext, header_values, tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from geventhttpclient.useragent import CompatRequest
    from requests import PreparedRequest, Response

    from pytest_tfserving.deployment.deployment import Endpoint

    Headers = list[tuple[str, str]]


def use_settings(endpoints: Mapping[str, Endpoint]) -> None:
    """Make Locust's HTTP clients use the settings of endpoints, given by their addresses as URLs.

    A user's own header of the same name is kept.
    """
    own = {url: each for url, each in endpoints.items() if SERVING_PROTOCOLS[each.protocol].is_http}
    if not any(each.client.headers or each.client.has_files for each in own.values()):
        return
    _use_in_requests(own)
    _use_in_fast_clients({_origin(url): header_values(each.client) for url, each in own.items()})
    first = next(iter(own.values()))
    if first.tls:
        fasthttp.FastHttpUser.insecure = False
        fasthttp.FastHttpUser.ssl_context_factory = functools.partial(_context, first)


def _use_in_requests(endpoints: Mapping[str, Endpoint]) -> None:
    begin = clients.HttpSession.__init__

    @functools.wraps(begin)
    def begin_with_settings(session: clients.HttpSession, *args: object, **kwargs: object) -> None:
        begin(session, *args, **kwargs)
        for url, endpoint in endpoints.items():
            session.mount(f"{url}/", _Adapter(endpoint))

    clients.HttpSession.__init__ = begin_with_settings


class _Adapter(clients.LocustHttpAdapter):
    """Sender of the requests of a `requests` session to one endpoint."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._headers = header_values(endpoint.client)
        self._context = tls_context(endpoint)
        super().__init__(pool_manager=None)

    def build_connection_pool_key_attributes(
        self, *args: object, **kwargs: object
    ) -> tuple[dict[str, object], dict[str, object]]:
        """Make connections with the context of TLS."""
        host, pool = super().build_connection_pool_key_attributes(*args, **kwargs)
        return host, {**pool, "ssl_context": self._context} if self._context else pool

    def send(self, request: PreparedRequest, *args: object, **kwargs: object) -> Response:
        """Send a request with the headers that the user did not set."""
        usual = default_headers()
        own = {name: value for name, value in request.headers.items() if value != usual.get(name)}
        before, request.headers = request.headers, CaseInsensitiveDict({**request.headers})
        request.headers.update([each for each in self._headers if each[0] not in CaseInsensitiveDict(own)])
        try:
            response: Response = super().send(request, *args, **kwargs)
        finally:
            request.headers = before  # a redirect takes them from here
        return response


def _use_in_fast_clients(headers: Mapping[tuple[str, str, int | None], Headers]) -> None:
    send = fasthttp.LocustUserAgent._urlopen  # noqa: SLF001 - a redirect calls nothing else

    @functools.wraps(send)
    def send_with_headers(agent: fasthttp.LocustUserAgent, request: CompatRequest) -> object:
        url = request.url_split
        with _added(headers.get((url.scheme, url.host, url.port), []), request):
            return send(agent, request)

    fasthttp.LocustUserAgent._urlopen = send_with_headers  # noqa: SLF001 - as above


@contextmanager
def _added(headers: Headers, request: CompatRequest) -> Iterator[None]:
    """Add headers that the user did not set, and take them away again, before a redirect elsewhere."""
    missing = [(name, value) for name, value in headers if name not in request.headers]
    for name, value in missing:
        request.headers[name] = value
    try:
        yield
    finally:
        for name, _ in missing:
            request.headers.discard(name)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


def _context(endpoint: Endpoint, **_: object) -> ServerContext | None:
    """Return a new context, which a client may change."""
    return tls_context(endpoint)
