"""Contexts: the clusters that a run may use, read once, so that later changes of a kubeconfig do nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.text.addresses import without_secrets
from pytest_tfserving.text.option_names import ALLOWED_INI

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_tfserving.text.json_value import JsonObject, JsonValue

LOCAL_CONTEXTS = ("kind-*", "minikube", "k3d-*", "docker-desktop")
# Keys of clusters and users whose values name files, relative to the kubeconfig.
_FILES = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


class NamedContext(TypedDict):
    """A context of a kubeconfig, with its name."""

    name: str
    context: JsonObject


class NamedCluster(TypedDict):
    """A cluster of a kubeconfig, with its name."""

    name: str
    cluster: JsonObject


class NamedUser(TypedDict):
    """A user of a kubeconfig, with its name."""

    name: str
    user: JsonObject


Kubeconfig = TypedDict(
    "Kubeconfig",
    {
        "apiVersion": str,
        "kind": str,
        "current-context": str,
        "contexts": list[NamedContext],
        "clusters": list[NamedCluster],
        "users": list[NamedUser],
    },
)


@dataclass(frozen=True, slots=True)
class Context:
    """A cluster, and the user for it.

    Attributes:
        name: the name of the context.
        server: the address of the API server.
        kubeconfig: a kubeconfig with only this context. It has secrets, and is never shown.
    """

    name: str
    server: str
    kubeconfig: Kubeconfig = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name} at {without_secrets(self.server)}"


def kubeconfig_paths(option: Path | None) -> list[Path]:
    """Return the kubeconfig files: the option's, else those of ``KUBECONFIG``, else ``~/.kube/config``."""
    if option:
        return [option]
    listed = os.environ.get("KUBECONFIG", "")
    return [Path(each) for each in listed.split(os.pathsep) if each] or [Path.home() / ".kube" / "config"]


def current_context(paths: Sequence[Path]) -> str:
    """Return the name of the current context; empty without one, or if a file cannot be read."""
    try:
        configs = [_read(path) for path in paths if path.is_file()]
    except ConfigurationError:
        return ""
    return next((str(each["current-context"]) for each in configs if each.get("current-context")), "")


def pinned(paths: Sequence[Path], name: str, allowed: Sequence[str]) -> Context:
    """Return the context ``name``, or the current context, with only its own cluster and user.

    Args:
        paths: the kubeconfig files.
        name: the name of the context; empty for the current context.
        allowed: patterns of contexts that may be deployed to, besides local ones.

    Raises:
        ConfigurationError: if there is no such context, or deployments to it are not allowed.
    """
    configs = [(path, _read(path)) for path in paths if path.is_file()]
    where = ", ".join(map(str, paths))
    if not configs:
        raise ConfigurationError(
            f"no kubeconfig at {where}; name one with --tfserving-kubeconfig, or export KUBECONFIG=FILE."
        )
    contexts = _named(configs, "contexts", "context")
    name = name or next(
        (str(each["current-context"]) for _, each in configs if each.get("current-context")), ""
    )
    if not name:
        raise ConfigurationError(
            f"{where} has no current context (its contexts: {', '.join(contexts) or 'none'}); choose one "
            "with --tfserving-context, or kubectl config use-context NAME."
        )
    if name not in contexts:
        raise ConfigurationError(f"no context {name!r} in {where}; {nearest(name, list(contexts))}.")
    check_allowed(name, allowed)
    context = contexts[name]
    cluster = _part(
        _named(configs, "clusters", "cluster"), context.get("cluster"), f"context {name!r}", where
    )
    users = _named(configs, "users", "user")
    user = _part(users, context["user"], f"context {name!r}", where) if context.get("user") else {}
    return Context(name, str(cluster.get("server", "")), _minified(name, context, cluster, user))


def check_allowed(name: str, allowed: Sequence[str]) -> None:
    """Check that a context is local or listed in ``allowed``.

    Raises:
        ConfigurationError: if it is not. The message names the ini value that would allow the context.
    """
    if not any(fnmatchcase(name, pattern) for pattern in (*LOCAL_CONTEXTS, *allowed)):
        raise ConfigurationError(
            f"context {name!r} may not be deployed to: it is neither a local one "
            f"({', '.join(LOCAL_CONTEXTS)}) nor listed in the ini value {ALLOWED_INI}; to allow it, add "
            f"-o {ALLOWED_INI}={name} to the command, or this line to pytest.ini: {ALLOWED_INI} = {name}"
        )


def _read(path: Path) -> JsonObject:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path} is not a kubeconfig: {str(error).splitlines()[0]}.") from None
    if not isinstance(config, dict):
        raise ConfigurationError(f"{path} is not a kubeconfig: it is not a mapping.")
    return config


def _named(configs: Sequence[tuple[Path, JsonObject]], plural: str, singular: str) -> dict[str, JsonObject]:
    """Return the entries of a list by name; of entries with the same name the first counts, as in kubectl."""
    found: dict[str, JsonObject] = {}
    for path, config in configs:
        entries = config.get(plural)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and "name" in entry:
                values = entry.get(singular)
                own = _absolute(values, path.parent) if isinstance(values, dict) else {}
                found.setdefault(str(entry["name"]), own)
    return found


def _absolute(values: JsonObject, folder: Path) -> JsonObject:
    made = dict(values)
    for key in _FILES:
        if made.get(key):
            made[key] = str((folder / str(made[key])).absolute())
    plugin = made.get("exec")
    if isinstance(plugin, dict) and "/" in str(plugin.get("command", "")):
        made["exec"] = {**plugin, "command": str((folder / str(plugin["command"])).absolute())}
    return made


def _part(entries: Mapping[str, JsonObject], name: JsonValue, of: str, where: str) -> JsonObject:
    if not isinstance(name, str) or name not in entries:
        raise ConfigurationError(f"{of} in {where} refers to {name!r}, which is not there.")
    return entries[name]


def _minified(name: str, context: JsonObject, cluster: JsonObject, user: JsonObject) -> Kubeconfig:
    own: JsonObject = {**context, "cluster": name, "user": name}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "contexts": [{"name": name, "context": own}],
        "clusters": [{"name": name, "cluster": dict(cluster)}],
        "users": [{"name": name, "user": dict(user)}],
    }
