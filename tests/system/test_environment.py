"""Environment variables are changed inside a context only."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_tfserving.system.environment import changed_environment

if TYPE_CHECKING:
    import pytest


def test_variables_are_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "before")
    monkeypatch.setenv("GONE", "before")
    monkeypatch.delenv("NEW", raising=False)
    before = dict(os.environ)

    with suppress(SystemError), changed_environment({"KEPT": "now", "GONE": None, "NEW": "now"}):
        inside = os.environ["KEPT"], os.environ["NEW"], "GONE" in os.environ
        raise SystemError

    assert inside == ("now", "now", False)
    assert dict(os.environ) == before
