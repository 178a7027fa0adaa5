"""The settings that a run of pytest would have in the current folder, without a run of pytest.

Pytest's own `Config` finds and reads the ini file, so that the rules are those of the installed version: the
order of files, the folders above, ``addopts``, native values of TOML. No other plugin and no conftest is
imported, and no plugin is required: a command works in a project whose tests cannot be collected.
"""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.options import OPTIONS
from pytest_tfserving.plugin.settings_reader import read_settings
from pytest_tfserving.system.environment import changed_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfserving.plugin.options import Option
    from pytest_tfserving.settings import Settings

# The package is imported already, too late for pytest to rewrite its assertions.
_ARGUMENTS = ("--noconftest", "--assert=plain", "--capture=no", "-o", "required_plugins=", "-p", "tfserving")
_NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": None}


def project_settings(given: Mapping[str, str]) -> Settings:
    """Return the settings of the current folder's project; ``given`` has values as on the command line.

    Args:
        given: texts by the names of options without prefix, as ``{"target": "docker"}``.

    Raises:
        ConfigurationError: when the ini file cannot be read, and for a value that does not fit.
    """
    try:
        values = {
            option.dest: _value(option, given[option.name]) for option in OPTIONS if option.name in given
        }
        return read_settings(_config({**_in_addopts(_config({})), **values}))
    except (pytest.UsageError, argparse.ArgumentTypeError) as error:
        raise ConfigurationError(str(error)) from None


def _value(option: Option, text: str) -> object:
    value = option.of_text(text)
    return [value] if option.repeatable else value


def _config(options: Mapping[str, object]) -> pytest.Config:
    """Return pytest's configuration of the current folder with the values of ``options``."""
    with changed_environment(_NO_PLUGINS):
        return pytest.Config.fromdictargs(options, [*_ARGUMENTS])


def _in_addopts(config: pytest.Config) -> dict[str, object]:
    """Return the values of this plugin's options that ``addopts`` and PYTEST_ADDOPTS set.

    Raises:
        pytest.UsageError: for a value that does not fit.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in OPTIONS:
        parser.add_argument(option.flag, dest=option.dest, **option.declaration)
    arguments: Sequence[str] = config.getini("addopts")
    try:
        found, _ = parser.parse_known_args([*arguments, *shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))])
    except (argparse.ArgumentError, ValueError) as error:
        raise pytest.UsageError(f"addopts: {str(error).removesuffix('.')}.") from None
    return {name: value for name, value in vars(found).items() if value is not None}
