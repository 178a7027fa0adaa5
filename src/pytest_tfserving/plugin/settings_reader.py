"""The reading of settings: each option from the command line, else the ini file, else its default."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments import DEFAULT_IMAGE
from pytest_tfserving.experiments.client_settings import ClientSettings, headers_of
from pytest_tfserving.plugin.options import AGAINST, OPTIONS, Option, as_toml
from pytest_tfserving.settings import Against, LoadOverrides, Settings
from pytest_tfserving.statistics.noise_memory import NoiseMemory
from pytest_tfserving.text.addresses import without_secrets
from pytest_tfserving.text.option_names import ALLOWED_INI, PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping

# The targets that an option has a meaning for; all others have one everywhere.
_TARGETS_OF = {
    "server": ("local",),
    "url": ("url",),
    "header": ("url",),
    "ca-file": ("url",),
    "client-certificate": ("url",),
    "client-key": ("url",),
    "image": ("docker", "kubernetes"),
    "keep": ("docker", "kubernetes"),
    "update-slos": ("local", "docker", "kubernetes"),
    "kubeconfig": ("kubernetes",),
    "context": ("kubernetes",),
    "namespace": ("kubernetes",),
    "access": ("kubernetes",),
    "base": ("kubernetes",),
    "load-in-cluster": ("kubernetes",),
    "load-image": ("kubernetes",),
}
_LOAD_FIELDS = {
    "users": "users",
    "rate": "rate",
    "spawn-rate": "spawn_rate",
    "run-time": "run_time_s",
    "early-stop": "early_stop",
    "max-cpu-wait": "max_cpu_wait",
    "max-lag-ms": "max_lag_ms",
}


def read_settings(config: pytest.Config) -> Settings:
    """Read the settings of a pytest configuration.

    Raises:
        pytest.UsageError: for an ini value that does not fit, and for options that contradict each other.
    """
    cli = {option.name: config.getoption(option.dest) for option in OPTIONS}
    ini = {option.name: _ini_value(config, option) for option in OPTIONS}
    values = _strongest(cli, ini)
    _check_conflicts(values["target"], cli, ini)
    _check_compared(values)
    files = _Files(config, cli, values)
    path, written = files.path, files.written
    settings = Settings(
        **_existing_server(values, files),
        target=values["target"],
        server=values["server"] or "",
        image=values["image"] or DEFAULT_IMAGE,
        against=_against(values),
        keep=values["keep"],
        kubeconfig=path("kubeconfig"),
        contexts=tuple(values["context"] or ()),
        allowed_contexts=_allowed_contexts(config),
        namespace=values["namespace"] or "",
        access=values["access"],
        base=path("base"),
        experiments=path("experiments"),
        ready_timeout_s=values["ready-timeout"],
        unfit=values["unfit"],
        inconclusive=values["inconclusive"],
        unjudged=values["unjudged"],
        nothing_judged=values["nothing-judged"] or ("fail" if _is_ci() else "pass"),
        alpha=values["alpha"],
        noise_memory=_noise_memory(cli, ini),
        load_processes=values["load-processes"],
        locustfile=files.read("locustfile"),
        load_in_cluster=values["load-in-cluster"],
        load_image=values["load-image"] or "",
        json=written("json"),
        html=written("html"),
        markdown=written("markdown"),
        prices=path("prices"),
        hours=values["hours"],
        ui=values["ui"] or "",
        cli_load=_overrides(cli),
        ini_load=_overrides(ini),
        **_history(values, files),
    )
    _check_prices(settings)
    return settings


@dataclass(frozen=True)
class _Files:
    """Files that options name, relative to where pytest was called, those of the ini file to the rootdir."""

    config: pytest.Config
    cli: Mapping[str, object]
    values: Mapping[str, Any]

    def path(self, name: str) -> Path | None:
        """Return the path that option ``name`` has, None without one."""
        base = self.config.invocation_params.dir if self.cli[name] else self.config.rootpath
        return base / self.values[name] if self.values[name] else None

    def read(self, name: str) -> Path | None:
        """Return the path of a file that is read.

        Raises:
            pytest.UsageError: when there is no such file.
        """
        if (found := self.path(name)) and not found.is_file():
            raise pytest.UsageError(f"--{PREFIX}-{name}: there is no file {found}.")
        return found

    def run(self, name: str) -> str | Path:
        """Return the stored run of option ``name``: the path of a file, or a name; empty without one."""
        from pytest_tfserving.report.stored_runs import is_path

        text = self.values[name] or ""
        return self.path(name) or "" if is_path(text) else text

    def written(self, name: str) -> Path | None:
        """Return the path of a file that is written at the end.

        Raises:
            pytest.UsageError: when the file cannot be written.
        """
        _check_writable(f"--{PREFIX}-{name}", target := self.path(name))
        return target


def _existing_server(values: Mapping[str, Any], files: _Files) -> dict[str, Any]:
    """Return the settings about target ``url``.

    Raises:
        pytest.UsageError: for two headers of one name, and for a key without a certificate.
    """
    if values["client-key"] and not values["client-certificate"]:
        raise pytest.UsageError(f"--{PREFIX}-client-key needs --{PREFIX}-client-certificate.")
    paths = [files.read(name) for name in ("ca-file", "client-certificate", "client-key")]
    try:
        headers = headers_of(values["header"] or ())
    except ConfigurationError as error:
        raise pytest.UsageError(f"--{PREFIX}-header: {error}") from None
    client = ClientSettings(headers, *(str(path) if path else "" for path in paths))
    return {"url": values["url"] or "", "client": client}


def _history(values: Mapping[str, Any], files: _Files) -> dict[str, Any]:
    """Return the settings about stored runs."""
    return {
        "save": values["save"] or "",
        "compare": files.run("compare"),
        "compare_fail": tuple(values["compare-fail"] or ()),
        "compare_force": values["compare-force"],
        "update_slos": values["update-slos"],
    }


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def _strongest(cli: Mapping[str, object], ini: Mapping[str, object]) -> dict[str, Any]:
    """Return each option's value: the command line's, else the ini file's, else the default."""
    return {
        option.name: next(
            (value for value in (cli[option.name], ini[option.name]) if value is not None), option.default
        )
        for option in OPTIONS
    }


def _ini_value(config: pytest.Config, option: Option) -> object:
    value = _raw_ini(config, option.dest)
    is_taken_back = value in ("", []) and _is_overridden(config, option.dest)
    if value is None or is_taken_back:
        return None
    try:
        return option.of_ini(value)
    except argparse.ArgumentTypeError as error:
        raise _ini_error(config, option.dest, str(error)) from None


def _allowed_contexts(config: pytest.Config) -> tuple[str, ...]:
    value = _raw_ini(config, ALLOWED_INI)
    listed = value.splitlines() if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise _ini_error(
            config, ALLOWED_INI, f"{without_secrets(as_toml(value))} is not a list of texts in quotes."
        )
    return tuple(stripped for each in listed if (stripped := each.strip()))


def _raw_ini(config: pytest.Config, name: str) -> object:
    """Return a value of the ini file: a text, a list of texts, or since pytest 9 any value of TOML."""
    try:
        return config.getini(name)
    except (TypeError, pytest.UsageError):
        # A native value of TOML, of another type than the one declared.
        import tomllib

        assert config.inipath
        document = tomllib.loads(config.inipath.read_text(encoding="utf-8"))
        tables = document.get("tool", {}).get("pytest", {}), document.get("pytest", {})
        return next(table[name] for table in tables if name in table)


def _ini_error(config: pytest.Config, name: str, text: str) -> pytest.UsageError:
    place = "-o" if _is_overridden(config, name) else config.inipath
    return pytest.UsageError(f"{name} in {place}: {text}")


def _is_overridden(config: pytest.Config, name: str) -> bool:
    return any(each.partition("=")[0] == name for each in config.getoption("override_ini") or ())


def _overrides(values: Mapping[str, Any]) -> LoadOverrides:
    fields = {part: values[name] for name, part in _LOAD_FIELDS.items() if values[name] is not None}
    return LoadOverrides(values["profile"], fields)


def _noise_memory(cli: Mapping[str, Any], ini: Mapping[str, Any]) -> NoiseMemory | None:
    """Return the noise memory that an option sets, with the option's place; None without one."""
    name = "noise-memory"
    for given, place in ((cli, f"--{PREFIX}-{name}"), (ini, f"{PREFIX}_noise_memory in the ini file")):
        if given[name] is not None:
            return NoiseMemory(given[name], f"from {place}", place)
    return None


def _against(values: Mapping[str, Any]) -> Against | None:
    """Return the baseline server; None without one.

    Raises:
        pytest.UsageError: for several ones, and for one that does not fit the target or the place of load.
    """
    flag, given, target = f"--{PREFIX}-against", values["against"] or [], values["target"]
    if not given:
        return None
    if len(given) > 1:
        both = " and ".join(map(str, given))
        raise pytest.UsageError(f"{flag}: there is one baseline server at most, not {both}.")
    if values["load-in-cluster"]:
        raise pytest.UsageError(
            f"{flag}: load from Pods cannot alternate between two servers; leave --{PREFIX}-load-in-cluster "
            "out, or the baseline server."
        )
    against: Against = given[0]
    if target not in AGAINST[against.kind]:
        valid = ", ".join(f"{kind}:..." for kind, targets in AGAINST.items() if target in targets)
        raise pytest.UsageError(f"{flag}: {against} does not go with target {target!r}; valid: {valid}.")
    if against.kind == "url":
        _check_url(against.value, flag)
    if against.kind == "model" and not Path(against.value).is_dir():
        raise pytest.UsageError(f"{flag}: there is no folder {against.value}.")
    return against


def _check_prices(settings: Settings) -> None:
    """Check before the run that the price list can be read.

    Raises:
        pytest.UsageError: when it cannot be read.
    """
    if settings.prices is None:
        return
    try:
        settings.pricing()
    except ConfigurationError as error:
        raise pytest.UsageError(f"--tfserving-prices: {error}") from None


def _check_writable(flag: str, path: Path | None) -> None:
    """Check before the run that a file can be written.

    Raises:
        pytest.UsageError: when it cannot be written.
    """
    if path is None:
        return
    folder = next(parent for parent in path.parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        problem = "is a folder" if path.is_dir() else f"cannot be written: {folder} is not a writable folder"
        raise pytest.UsageError(f"{flag}: {path} {problem}.")


def _check_conflicts(target: str, cli: Mapping[str, Any], ini: Mapping[str, Any]) -> None:
    """Refuse an option that ``target`` does not use.

    An option in the ini file is ignored while the command line chooses another target.

    Raises:
        pytest.UsageError: for such an option, for an address that does not fit, and for users and a rate.
    """
    for name, targets in _TARGETS_OF.items():
        given = cli[name] if cli[name] is not None or cli["target"] else ini[name]
        # A flag that is off does not count as given.
        if given not in (None, False) and target not in targets:
            valid = " or ".join(f"--{PREFIX}-target={each}" for each in targets)
            raise pytest.UsageError(f"--{PREFIX}-{name} goes with {valid}, not with target {target!r}.")
    if target == "url":
        _check_url(cli["url"] or ini["url"])
    for given, spelt in ((cli, "--tfserving-{}"), (ini, "tfserving_{} in the ini file")):
        _check_loop(given, spelt)


def _check_compared(values: Mapping[str, object]) -> None:
    for name in ("compare-fail", "compare-force"):
        if values[name] and not values["compare"]:
            raise pytest.UsageError(f"--{PREFIX}-{name} needs --{PREFIX}-compare, the run to compare with.")


def _check_loop(given: Mapping[str, object], spelt: str) -> None:
    if given["rate"] is not None and given["users"] is not None:
        rate, users = spelt.format("rate"), spelt.format("users")
        raise pytest.UsageError(f"{rate} makes an open loop, {users} makes a closed one; drop one of them.")


def _check_url(url: str | None, flag: str = f"--{PREFIX}-url") -> None:
    from pytest_tfserving.protocols import REST
    from pytest_tfserving.targets.url import parse_address

    if not url:
        raise pytest.UsageError(f"--tfserving-target=url needs --tfserving-url {REST.url_example}.")
    try:
        parse_address(url)
    except ConfigurationError as error:
        raise pytest.UsageError(f"{flag}: {error}") from None
