"""How late greenlets run."""

from __future__ import annotations

import pytest

from pytest_tfserving.load.worker.lag_probe import LagProbe


def test_a_lag_is_noted_before_its_greenlet_has_woken_up_from_it() -> None:
    now_s = 0.0
    probe = LagProbe(lambda: now_s)
    now_s = 3.02
    probe.look()

    ((began_s, ended_s, stood_ms),) = probe.take_stops()
    assert (began_s, ended_s) == (0.0, 3.02)
    assert stood_ms == pytest.approx(3000, abs=5)
    probe.look()
    assert probe.take_stops() == []
