"""Settings of the clients of an existing server: headers, and files for TLS. Frozen data, no I/O.

A header's value is a template: ``${NAME}`` stands for the value of an environment variable, which is read
only where a request is made. So no result, report or plan has a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pytest_tfserving.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
HOST = "host"
_EXAMPLE = "Authorization: Bearer ${NAME}"
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# What both HTTP/1.1 and gRPC can carry.
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
# Names whose values are secrets: their parts between hyphens or underscores.
_SECRET_PARTS = {
    *("authorization", "auth", "cookie", "token", "secret", "password", "passwd", "key", "apikey"),
    *("credential", "credentials", "jwt", "session"),
}
# Headers that clients set themselves, or that change what comes back.
_OWN = {
    *("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect"),
    *("keep-alive", "proxy-connection", "range", "te", "trailer", "transfer-encoding", "upgrade"),
}
_OF_GRPC = "grpc-"
_BINARY = "-bin"


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Headers and TLS files of the clients of a server.

    Attributes:
        headers: the name of each header, and the template of its value.
        ca_file: the path of a file with the certificates to trust; empty for those of the system.
        certificate: the path of a file with the client's certificate; empty without one.
        key: the path of a file with the certificate's key; empty if the certificate's file has the key.
    """

    headers: tuple[tuple[str, str], ...] = ()
    ca_file: str = ""
    certificate: str = ""
    key: str = ""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings of plain values, as JSON has them."""
        return cls(**{**values, "headers": tuple((name, template) for name, template in values["headers"])})

    def overridden_by(self, stronger: ClientSettings) -> ClientSettings:
        """Return these settings with those of ``stronger`` in their place; headers are replaced by name."""
        given = {name.lower() for name, _ in stronger.headers}
        kept = tuple(each for each in self.headers if each[0].lower() not in given)
        with_files = stronger if stronger.certificate else self
        return ClientSettings(
            (*kept, *stronger.headers),
            stronger.ca_file or self.ca_file,
            with_files.certificate,
            with_files.key,
        )

    @property
    def variables(self) -> list[str]:
        """The names of the environment variables in the headers."""
        return [name for _, template in self.headers for name in VARIABLE.findall(template)]

    @property
    def has_files(self) -> bool:
        """True if there is a file for TLS."""
        return bool(self.ca_file or self.certificate)

    @property
    def in_words(self) -> str:
        """The headers' names and the kinds of files, without any value; empty if there are none."""
        names = ", ".join(name for name, _ in self.headers)
        files = {"a CA file": self.ca_file, "a client certificate": self.certificate}
        parts = [f"the headers {names}"] if names else []
        return " and ".join(parts + [what for what, path in files.items() if path])


NO_SETTINGS = ClientSettings()


def headers_of(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return checked headers.

    Raises:
        ConfigurationError: for a header that `check_header` refuses, and for two of one name.
    """
    found: dict[str, tuple[str, str]] = {}
    for name, template in pairs:
        check_header(name, template)
        if name.lower() in found:
            raise ConfigurationError(f"header {name} is given twice; keep one.")
        found[name.lower()] = (name, template)
    return tuple(found.values())


def parse_header(text: str) -> tuple[str, str]:
    """Return the name and the template of ``Name: value``.

    Raises:
        ConfigurationError: for another text, which is not shown, and for a header that is refused.
    """
    name, colon, template = text.partition(":")
    if not colon:
        raise ConfigurationError(f"this is not a header; write it as {_EXAMPLE}.")
    check_header(name.strip(), template.strip(" "))
    return name.strip(), template.strip(" ")


def check_header(name: str, template: str) -> None:
    """Refuse a header that cannot be sent, or that has a secret in it; no value is shown.

    Raises:
        ConfigurationError: with the header's name and what is valid.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"the name of a header has a character that no name may have; write a header as {_EXAMPLE}."
        )
    lower = name.lower()
    if lower in _OWN or lower.startswith(_OF_GRPC) or lower.endswith(_BINARY):
        raise ConfigurationError(f"header {name} is set by the clients of this plugin; leave it out.")
    literal = VARIABLE.sub("", template)
    if "${" in literal:
        raise ConfigurationError(f"header {name} has a ${{ that begins no variable; write it as ${{NAME}}.")
    if literal == template and _is_secret(lower, template):
        raise ConfigurationError(
            f"the value of header {name} may be a secret, so it comes from the environment; write it as "
            f"{name}: ${{NAME}}."
        )
    check_value(name, VARIABLE.sub("x", template))


def check_value(name: str, value: str, place: str = "") -> None:
    """Refuse a value that cannot be sent; the value is not shown.

    Raises:
        ConfigurationError: with the header's name and the ``place`` of the value.
    """
    if not _VALUE.fullmatch(value):
        raise ConfigurationError(
            f"the value of header {name}{place} {_problem(value)}; a value has visible ASCII characters, "
            "with spaces between them."
        )


def _problem(value: str) -> str:
    if not value.strip():
        return "is empty"
    if "\r" in value or "\n" in value:
        return "has a line break in it"
    if value != value.strip():
        return "begins or ends with a space"
    return "has a control character in it" if value.isascii() else "has a character in it that is not ASCII"


def _is_secret(name: str, value: str) -> bool:
    """Return whether a header's value is secret by its name, or is an address with more than a place."""
    from pytest_tfserving.text.addresses import may_have_secrets

    parts = set(re.split(r"[-_.]", name))
    return bool(parts & _SECRET_PARTS) or ("//" in value and may_have_secrets(value))
