"""The embedded server is not slower than the baseline server; the limits are those of a gate without SLOs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_tfserving import Load


def test_not_slower(load: Load) -> None:
    load().check()
