"""The command ``pytest-tfserving``."""

from __future__ import annotations

from command_line import command


def test_help_names_the_commands() -> None:
    shown = command("--help")

    assert shown.returncode == 0
    assert "serve" in shown.stdout
    assert "export-model" in shown.stdout
