"""Which real engines the tests of tests/e2e have, and what happens without them."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import NoReturn

import pytest

# Engines that must be there, separated by commas: docker, kubernetes.
REQUIRED = "TFSERVING_E2E"
# The image that is deployed; k8s/image/Dockerfile makes it.
IMAGE = os.environ.get("TFSERVING_E2E_IMAGE", "pytest-tfserving:dev")
# The context of the cluster to test on; without one the current context is used if it is a local one.
CONTEXT = "TFSERVING_E2E_CONTEXT"
# Another context of that cluster, of a user who may do nothing.
LIMITED_CONTEXT = "TFSERVING_E2E_LIMITED_CONTEXT"
# A command that brings images of the Docker Engine onto every node, as `kind load docker-image`.
LOAD_IMAGE = "TFSERVING_E2E_LOAD_IMAGE"
# A command that takes `stop` or `start` and does that to the cluster's API server.
API_SERVER = "TFSERVING_E2E_API_SERVER"


def missing(engine: str, reason: str) -> NoReturn:
    """Skip for want of ``engine``, or fail if it must be there."""
    if engine in os.environ.get(REQUIRED, "").split(","):
        pytest.fail(f"{REQUIRED} asks for {engine}: {reason}", pytrace=False)
    pytest.skip(f"no {engine} to test with: {reason}")


def limited_context() -> str:
    """The context of a user who may do nothing yet; skip where none is named."""
    return os.environ.get(LIMITED_CONTEXT) or missing("limited", f"{LIMITED_CONTEXT} names no context")


def run_given(variable: str, *arguments: str) -> None:
    """Run the command that an environment variable holds; skip where it holds none."""
    command = os.environ.get(variable)
    if not command:
        pytest.skip(f"{variable} names no command")
    done = subprocess.run([*shlex.split(command), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
