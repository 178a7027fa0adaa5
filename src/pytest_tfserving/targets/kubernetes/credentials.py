"""Credentials of a context's user, kept in memory: a file with a key would outlive a killed run."""

from __future__ import annotations

import base64
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_tfserving.errors import ConfigurationError, missing_extra
from pytest_tfserving.text.addresses import without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from kubernetes.client import Configuration

    from pytest_tfserving.targets.kubernetes.context import Context, Kubeconfig
    from pytest_tfserving.text.json_value import JsonObject

# Keys whose values the official client writes to files; if a run is killed, these files stay.
_FILES_OF_CLUSTER = ("certificate-authority", "certificate-authority-data")
_FILES_OF_USER = (
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "exec",
)
# A login is renewed this long before it expires, as in the official client.
_BEFORE_ITS_END = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Client certificate and key for TLS, both as PEM."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)

    def load(self, tls: ssl.SSLContext) -> None:
        """Load certificate and key into ``tls``, by temporary files without a name: Python needs paths."""
        with tempfile.TemporaryFile() as certificate, tempfile.TemporaryFile() as key:
            for file, content in ((certificate, self.certificate), (key, self.key)):
                file.write(content)
                file.flush()
                file.seek(0)
            # Without a password, OpenSSL would prompt for the password of an encrypted key on the terminal.
            paths = [f"/dev/fd/{file.fileno()}" for file in (certificate, key)]
            tls.load_cert_chain(paths[0], paths[1], password="")


class _LoginPlugin(Protocol):
    def run(self) -> object:
        """Run the plug-in; return its answer."""


class Credentials:
    """Address, TLS options and login of a context.

    Raises:
        ConfigurationError: if the context cannot be used.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        (cluster,), (user,) = context.kubeconfig["clusters"], context.kubeconfig["users"]
        self._cluster = cluster["cluster"]
        self._official = _configuration(context)
        self._plugin = None if self._official.api_key else self._plugin_of(user["user"])
        self._authorization: dict[str, str] = {}
        self._ends_at: datetime | None = None
        self._certificate = self._read_certificate(user["user"])
        if self._plugin:
            self._log_in()

    @property
    def host(self) -> str:
        """Address of the API server."""
        return str(self._official.host).rstrip("/")

    @property
    def server_name(self) -> str:
        """Name in the API server's certificate; empty if it is the host's name."""
        return str(getattr(self._official, "tls_server_name", None) or "")

    @property
    def proxy(self) -> str:
        """Proxy to the API server; empty without one."""
        return str(getattr(self._official, "proxy", None) or "")

    @property
    def is_verified(self) -> bool:
        """True if the API server's certificate is verified."""
        return bool(self._official.verify_ssl)

    def authorization(self) -> dict[str, str]:
        """Return the authorization header; log in again by the plug-in if the login expires soon."""
        if self._plugin and self._ends_at and datetime.now(UTC) > self._ends_at - _BEFORE_ITS_END:
            self._log_in()
        bearer = self._official.auth_settings().get("BearerToken")
        token = bearer["value"] if bearer else None
        return {"Authorization": token} if token else self._authorization

    def tls(self) -> ssl.SSLContext | None:
        """Return a new TLS context, None without TLS.

        Raises:
            ConfigurationError: if the certificates cannot be used.
        """
        from urllib3.util import create_urllib3_context

        if not self.host.startswith("https"):
            return None
        made = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if self.is_verified else ssl.CERT_NONE)
        try:
            if authority := self._read(self._cluster, "certificate-authority"):
                made.load_verify_locations(cadata=authority.decode("ascii", "ignore"))
            else:
                made.load_default_certs()
            if self._certificate:
                self._certificate.load(made)
        except (OSError, ValueError) as error:
            raise self.unusable(f"its certificates cannot be loaded: {error}") from None
        return made

    def _plugin_of(self, user: JsonObject) -> JsonObject | None:
        """Return the login plug-in of a user, None without one.

        Raises:
            ConfigurationError: if its settings are not a mapping.
        """
        plugin = user.get("exec")
        if plugin and not isinstance(plugin, dict):
            raise self.unusable("its exec is not a mapping")
        return plugin if isinstance(plugin, dict) else None

    def _read_certificate(self, user: JsonObject) -> ClientCertificate | None:
        certificate, key = (self._read(user, name) for name in ("client-certificate", "client-key"))
        return ClientCertificate(certificate, key or certificate) if certificate else None

    def _read(self, values: JsonObject, name: str) -> bytes | None:
        """Return the value of a kubeconfig's key, from its data or from the file that it names; None without.

        Raises:
            ConfigurationError: if the data or the file cannot be read.
        """
        data, path = values.get(f"{name}-data"), values.get(name)
        try:
            if data:
                return base64.b64decode(_encoded(data))
            return Path(str(path)).read_bytes() if path else None
        except OSError as error:
            raise self.unusable(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError):
            raise self.unusable(f"its {name}-data is not base64") from None

    def _log_in(self) -> None:
        """Get credentials from the plug-in; without new ones, keep the old ones.

        Raises:
            ConfigurationError: if there are neither new nor old credentials.
        """
        status = self._asked()
        if token := status.get("token"):
            self._authorization = {"Authorization": f"Bearer {token}"}
        elif status.get("clientCertificateData") and status.get("clientKeyData"):
            pair = (str(status[name]).encode() for name in ("clientCertificateData", "clientKeyData"))
            self._certificate = ClientCertificate(*pair)
        elif not (self._authorization or self._certificate):
            assert self._plugin
            raise self.unusable(
                f"its plug-in {self._plugin.get('command')!r} gave no credentials; run it to see why"
            )
        self._ends_at = _moment(status.get("expirationTimestamp")) or self._ends_at

    def _asked(self) -> Mapping[str, object]:
        from kubernetes.config.exec_provider import ExecProvider
        from kubernetes.config.kube_config import ConfigNode

        # Neither has types.
        make: Callable[..., _LoginPlugin] = ExecProvider
        node: Callable[..., object] = ConfigNode
        try:
            status = make(node("exec", self._plugin), "", node("cluster", self._cluster)).run()
        except Exception:  # noqa: BLE001 - a plug-in, or a missing one, can raise anything
            return {}
        return status if isinstance(status, dict) else {}

    def unusable(self, why: str) -> ConfigurationError:
        """Return the error for a context that cannot be used."""
        return _unusable(self._context, why)


def _unusable(context: Context, why: str) -> ConfigurationError:
    return ConfigurationError(f"context {context.name!r} cannot be used: {without_secrets(why)}.")


def _encoded(data: object) -> str | bytes:
    if not isinstance(data, str | bytes):
        raise TypeError(data)
    return data


def _configuration(context: Context) -> Configuration:
    """Return the official client's configuration of a context, without the parts that it writes to files."""
    try:
        from kubernetes.client import Configuration
        from kubernetes.config import load_kube_config_from_dict
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "kubernetes", "the target kubernetes") from None
    configuration = Configuration()
    load: Callable[..., object] = load_kube_config_from_dict  # it has no types
    try:
        load(_without_files(context.kubeconfig), client_configuration=configuration, persist_config=False)
    except Exception as error:  # noqa: BLE001 - an authentication plug-in can raise anything
        raise _unusable(context, str(error)) from None
    return configuration


def _without_files(kubeconfig: Kubeconfig) -> Kubeconfig:
    (cluster,), (user,) = kubeconfig["clusters"], kubeconfig["users"]
    return {
        **kubeconfig,
        "clusters": [{"name": cluster["name"], "cluster": _without(cluster["cluster"], _FILES_OF_CLUSTER)}],
        "users": [{"name": user["name"], "user": _without(user["user"], _FILES_OF_USER)}],
    }


def _without(values: JsonObject, names: Collection[str]) -> JsonObject:
    return {key: value for key, value in values.items() if key not in names}


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
