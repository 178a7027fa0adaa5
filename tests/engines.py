"""Which real engines the tests of tests/e2e have, and what happens without them."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

# Engines that must be there, separated by commas: docker, kubernetes.
REQUIRED = "TFSERVING_E2E"
# The image that is deployed; k8s/image/Dockerfile makes it.
IMAGE = os.environ.get("TFSERVING_E2E_IMAGE", "pytest-tfserving:dev")


def missing(engine: str, reason: str) -> NoReturn:
    """Skip for want of ``engine``, or fail if it must be there."""
    if engine in os.environ.get(REQUIRED, "").split(","):
        pytest.fail(f"{REQUIRED} asks for {engine}: {reason}", pytrace=False)
    pytest.skip(f"no {engine} to test with: {reason}")
