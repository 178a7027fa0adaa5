"""Certificates made with OpenSSL, for tests that need `openssl`."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A key and its certificate, both PEM."""

    key: str
    certificate: str


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)


def authority(folder: Path, name: str) -> Pair:
    openssl(
        folder,
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}"),
        *("-keyout", f"{name}.key", "-out", f"{name}.pem"),
    )
    return read(folder, name)


def certified(folder: Path, name: str, by: str) -> Pair:
    (folder / f"{name}.ext").write_text(f"subjectAltName=DNS:{name}\n")
    openssl(
        folder,
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
        *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
    )
    openssl(
        folder,
        *("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial"),
        *("-days", "1", "-extfile", f"{name}.ext", "-out", f"{name}.pem"),
    )
    return read(folder, name)


def read(folder: Path, name: str) -> Pair:
    return Pair((folder / f"{name}.key").read_text(), (folder / f"{name}.pem").read_text())
