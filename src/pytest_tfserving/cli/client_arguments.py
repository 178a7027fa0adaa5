"""The arguments of commands about the clients of an existing server: headers, and files for TLS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.options import parse_client_header

if TYPE_CHECKING:
    import argparse

    from pytest_tfserving.experiments.client_settings import ClientSettings

_FILES = {
    "ca_file": "the certificates to trust, in PEM format (default: the system's)",
    "client_certificate": "the client certificate, in PEM format",
    "client_key": "the key of the client certificate (default: in the certificate's file)",
}


def add_client_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--header",
        action="append",
        type=parse_client_header,
        metavar="NAME:VALUE",
        default=[],
        help="a header of every request, as 'Authorization: Bearer ${TOKEN}' with the value of a variable "
        "of the environment; can be repeated",
    )
    for name, text in _FILES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, metavar="FILE", help=text)


def client_settings(options: argparse.Namespace) -> ClientSettings:
    """Return the settings of the arguments.

    Raises:
        ConfigurationError: for a file that does not exist, and for arguments that do not fit together.
    """
    from pytest_tfserving.experiments.client_settings import ClientSettings, headers_of

    if options.client_key and not options.client_certificate:
        raise ConfigurationError("--client-key needs --client-certificate.")
    paths = [getattr(options, name) for name in _FILES]
    return ClientSettings(
        headers_of(options.header), *(str(path.absolute()) if path else "" for path in paths)
    )


def client_options(options: argparse.Namespace) -> list[str]:
    """Return the arguments as options of pytest."""
    headers = [f"--tfserving-header={name}: {template}" for name, template in options.header]
    given = {name: getattr(options, name) for name in _FILES}
    files = [
        f"--tfserving-{name.replace('_', '-')}={path.absolute()}" for name, path in given.items() if path
    ]
    return headers + files
