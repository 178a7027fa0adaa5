"""What names and paths can do to the log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from grpc_client import Client, serving
from harness import until
from pytest_tfserving.model_server.log import log
from server_process import Server

if TYPE_CHECKING:
    from pathlib import Path

FORGED = "\r\n2026-01-01 00:00:00 error: forged \x1b[2J\x07 \u202e \u2028x"
ESCAPED = r"\r\n2026-01-01 00:00:00 error: forged \x1b[2J\x07 \u202e \u2028x"


def assert_only_own_lines(text: str) -> None:
    """Whether each line is one of the server's, or one of TensorFlow's."""
    for line in text.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+: |WARNING: |[IWE]\d{4} \d|\d{4}-.*\] ", line), (
            line
        )
        assert line.isprintable()
        assert not line.startswith("2026-01-01 00:00:00")


@pytest.mark.parametrize("path", ["/nowhere" + FORGED, "/nowhere\0"], ids=["controls", "NUL"])
def test_a_configuration_over_grpc(models: Path, path: str) -> None:
    with Server("a", models / "half_plus_two") as server, Client(f"127.0.0.1:{server.grpc_port}") as client:
        request = serving("ReloadConfigRequest")()
        request.config.model_config_list.config.add(
            name=f"m{FORGED}", base_path=path, model_platform="tensorflow"
        )
        client.failure("HandleReloadConfigRequest", request, timeout_s=2)
        until(lambda: "Could not find base path" in server.log(), "a word in the log")

        assert f"for servable m{ESCAPED}: " in server.log()
        assert "Traceback" not in server.log()
        assert_only_own_lines(server.log())


def test_a_configuration_file(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "models.txt"
    name = FORGED.encode("unicode_escape").decode().replace("\\u202e", "").replace("\\u2028", "")
    file.write_text(
        f'model_config_list {{ config {{ name: "a{name}" model_platform: "tensorflow" '
        f'base_path: "{models / "half_plus_two"}" }} }}'
    )
    with Server("a", None, f"--model_config_file={file}") as server:
        assert r"a\r\n2026-01-01 00:00:00 error: forged \x1b[2J\x07" in server.log()
        assert "version 1 is AVAILABLE" in server.log()
        assert_only_own_lines(server.log())


def test_a_model_that_does_not_load(tmp_path: Path) -> None:
    base = tmp_path / f"base{FORGED}"
    (base / "1").mkdir(parents=True)
    with Server("a", base, ready=False) as server:
        until(lambda: server.process.poll() is not None, "the end")

        assert rf"base{ESCAPED}/1" in server.log()
        assert "Traceback" not in server.log()
        assert_only_own_lines(server.log())


def test_the_lines_of_a_traceback_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        int(FORGED)
    except ValueError:
        log("error", "a request failed", exc_info=True)

    first, *others = capsys.readouterr().err.splitlines()
    assert first.endswith(" error: a request failed")
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    assert len(others) > 2
