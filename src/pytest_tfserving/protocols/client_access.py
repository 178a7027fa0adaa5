"""Headers and TLS of the clients of an endpoint: their values, read from the environment and from files."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.client_settings import HOST, VARIABLE, check_value
from pytest_tfserving.text.secrets import hide

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from pytest_tfserving.deployment.deployment import Endpoint
    from pytest_tfserving.experiments.client_settings import ClientSettings


def header_values(settings: ClientSettings) -> list[tuple[str, str]]:
    """Return the headers with their values, which are hidden in texts from then on.

    Raises:
        ConfigurationError: for a variable that is not set, and for a value that cannot be sent.
    """
    hide(settings.variables)
    return [(name, _value(name, template)) for name, template in settings.headers]


def own_headers(endpoint: Endpoint) -> list[tuple[str, str]]:
    """Return the headers of an endpoint's clients with their values, without the host."""
    return [each for each in header_values(endpoint.client) if each[0].lower() != HOST]


def metadata_of(endpoint: Endpoint) -> list[tuple[str, str]]:
    """Return `own_headers` as metadata of gRPC, whose names have small letters."""
    return [(name.lower(), value) for name, value in own_headers(endpoint)]


def host_of(endpoint: Endpoint) -> str:
    """Return the host that requests name: the one of the headers, else the address."""
    found = [value for name, value in header_values(endpoint.client) if name.lower() == HOST]
    return found[0] if found else endpoint.address


def server_name(endpoint: Endpoint) -> str:
    """Return the name that the server's certificate must have: the headers' host, else the address's."""
    host = host_of(endpoint)
    return endpoint.host if host == endpoint.address else _without_port(host)


class OneServer:
    """Part of a context of TLS for one server, whose name it checks whatever name a client gives."""

    name = ""

    def wrap_socket(self, sock: socket.socket, *args: object, **kwargs: object) -> ssl.SSLSocket:
        """Return a TLS socket that checks the name of the server."""
        context: Any = super()
        wrapped: ssl.SSLSocket = context.wrap_socket(sock, *args, **{**kwargs, "server_hostname": self.name})
        return wrapped


class ServerContext(OneServer, ssl.SSLContext):
    """Context of TLS for one server."""


def tls_context(
    endpoint: Endpoint, protocols: Sequence[str] = (), kind: type[ServerContext] = ServerContext
) -> ServerContext | None:
    """Return the context of TLS for an endpoint; None without TLS.

    Args:
        endpoint: the endpoint.
        protocols: the protocols to offer by ALPN.
        kind: the class of the context, `ServerContext` or one like it.

    Raises:
        ConfigurationError: for a file that cannot be used.
    """
    if not endpoint.tls:
        return None
    client = endpoint.client
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.name = server_name(endpoint)
    if client.ca_file:
        _trust(context, client.ca_file)
    else:
        context.load_default_certs()
    if client.certificate:
        _authenticate(context, client)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def content_of(path: str, what: str) -> bytes:
    """Return the content of a file for TLS.

    Raises:
        ConfigurationError: if the file cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the {what} {path} cannot be read: {error.strerror}.") from None


def _value(name: str, template: str) -> str:
    for variable in VARIABLE.findall(template):
        where = f"the environment variable {variable}"
        if (value := os.environ.get(variable)) is None:
            raise ConfigurationError(f"header {name} needs {where}, which is not set.")
        check_value(name, value, f" in {where}")
    return VARIABLE.sub(lambda match: os.environ[match[1]], template)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _trust(context: ssl.SSLContext, path: str) -> None:
    content_of(path, "CA file")
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(f"the CA file {path} has no certificate in PEM format.") from None


def _authenticate(context: ssl.SSLContext, client: ClientSettings) -> None:
    content_of(client.certificate, "client certificate")
    if client.key:
        content_of(client.key, "client key")
    try:
        context.load_cert_chain(client.certificate, client.key or None, _refuse_password)
    except (ssl.SSLError, ValueError):
        key = f"{client.key} is not its key" if client.key else "the file has no key of it"
        raise ConfigurationError(
            f"the client certificate {client.certificate} cannot be used: it is not in PEM format, or {key}."
        ) from None


def _refuse_password() -> str:
    """Refuse a key that needs a password, for which OpenSSL would ask on the terminal."""
    raise ConfigurationError("the client key is encrypted; decrypt it first: no password is asked for.")
