"""``pytest-tfserving serve``; what the embedded server does is in tests/model_server."""

from __future__ import annotations

from command_line import command


def test_its_help_has_the_flags_of_tensorflow_serving() -> None:
    shown = command("serve", "--help")

    assert shown.returncode == 0
    assert "--rest_api_port" in shown.stdout
    assert "--model_config_file" in shown.stdout


def test_without_a_model_it_says_what_is_needed() -> None:
    done = command("serve", "--rest_api_port=0")

    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == (
        "--model_base_path is needed, the folder with the model's versions, or --model_config_file"
    )
