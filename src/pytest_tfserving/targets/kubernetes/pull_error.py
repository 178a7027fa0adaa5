"""The cause of a failed pull, in the messages that kubelets and container runtimes wrap around it."""

from __future__ import annotations

import re

from pytest_tfserving.text.foreign_text import LONGEST_REASON, one_line

# The reasons of containers that wait for an image whose pull failed.
PULL_REASONS = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed")
# Each layer repeats the image and what it did: kubelet, the protocol between both, containerd.
_LAYERS = re.compile(
    r"(?:Error: |(?:ErrImagePull|ImagePullBackOff): |rpc error: code = \w+ desc = |failed to do request: "
    r"|(?:Back-off pulling|failed to pull(?: and unpack)?|failed to resolve)(?: image| reference)? "
    r'"[^"]*"(?:: |$))+',
    re.IGNORECASE,
)
_CUT = "…"


def pull_cause(message: str) -> str:
    """Return the cause in a message on a failed pull, on one line; empty if the message has none."""
    line = one_line(message, LONGEST_REASON)
    layers = _LAYERS.match(line)
    cause = line[layers.end() :] if layers else line
    return "" if cause in PULL_REASONS else cause


def repeats(message: str, text: str) -> bool:
    """Return whether ``text`` has the cause in a message of the cluster."""
    cause = pull_cause(message).removesuffix(_CUT)
    for reason in PULL_REASONS:
        cause = cause.removeprefix(f"{reason}: ")
    return bool(cause) and cause in text
