"""The pages for newcomers on this machine, from an empty folder and a fresh venv to the first verdict.

Another process keeps a core busy half the time. Times are printed, and are properties in the JUnit file.
"""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import pytest

from newcomer import Newcomer, Ran, half_busy_core
from server_process import Server
from tutorials import DOCS, steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Report = Callable[[str, object], None]

pytestmark = pytest.mark.needs("long-runs")

LAPTOP, ENDPOINT = DOCS / "tutorial" / "laptop.md", DOCS / "tutorial" / "endpoint.md"
CHECK, INIT = ["pytest-tfserving", "check"], ["pytest-tfserving", "init"]
FIRST_VERDICT_S = 60


def report(say: Report, install_s: float, ran: list[Ran]) -> None:
    """Report the time of the installation, and that of each verdict."""
    say("install_s", round(install_s, 1))
    for each in ran:
        if each.verdict:
            say(f"seconds to {each.verdict} by {each.command}", round(each.after_s, 1))


def test_a_saved_model_on_a_laptop(
    tmp_path: Path, wheel: Path, newcomers: Path, add_property: Report
) -> None:
    began_s = time.monotonic()
    newcomer = Newcomer.with_extras(tmp_path, wheel, "embedded")
    install_s = time.monotonic() - began_s
    shutil.copytree(newcomers / "strings", newcomer.folder / "models" / "mine")
    sections = ("## Look at the model", "## Ask one question", "## Write the tests")

    with half_busy_core():
        ran = newcomer.follow([step for section in sections for step in steps(LAPTOP, section)])

    report(add_property, install_s, ran)
    judged = [each for each in ran if each.verdict]
    assert [each.command.split()[:2] for each in judged] == [*2 * [CHECK], INIT, ["pytest", "perf_tests"]]
    assert [each.verdict for each in judged] == ["PASS", "FAIL", "PASS", "PASS"]
    assert [each.code for each in ran] == [int(each.verdict == "FAIL") for each in ran]
    assert judged[0].after_s < FIRST_VERDICT_S


def test_an_endpoint_that_exists(
    tmp_path: Path, wheel: Path, half_plus_two: Path, add_property: Report
) -> None:
    began_s = time.monotonic()
    newcomer = Newcomer.with_extras(tmp_path, wheel, "grpc")
    install_s = time.monotonic() - began_s
    sections = ("## Ask one question", "## Write the tests")

    with Server("mine", half_plus_two) as server, half_busy_core():
        ran = newcomer.follow(
            [step for section in sections for step in steps(ENDPOINT, section)],
            lambda text: text.replace("127.0.0.1:8501", f"127.0.0.1:{server.port}"),
        )

    report(add_property, install_s, ran)
    judged = [each for each in ran if each.verdict]
    assert [each.verdict for each in judged] == ["PASS", "PASS"]
    assert [each.code for each in ran] == [0] * len(ran)
    assert judged[0].after_s < FIRST_VERDICT_S
    assert all((newcomer.folder / name).exists() for name in ("report.html", "report.xml"))
