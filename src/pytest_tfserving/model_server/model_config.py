"""Configuration of the models to serve: their names, folders, versions and labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.status import invalid

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from google.protobuf.message import Message

PLATFORM = "tensorflow"
_TENSORFLOW_TYPE = 1


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """The choice of versions to serve: the ``latest`` few, ``specific`` ones, or all if neither is set."""

    latest: int = 1
    specific: frozenset[int] = frozenset()

    def chosen(self, found: Sequence[int]) -> frozenset[int]:
        """Return the versions to serve among those found."""
        if self.specific:
            return self.specific & set(found)
        return frozenset(sorted(found)[-self.latest :] if self.latest else found)


@dataclass(frozen=True, slots=True)
class RequestLogging:
    """The requests of a model to log: a share of them, in files whose paths begin with ``prefix``.

    ``collector`` is the kind of log, by the name that the configuration uses.
    """

    prefix: str
    sampling_rate: float
    collector: str = ""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The configuration of one model; ``logging`` is None if it says nothing about request logging."""

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = field(default_factory=dict)
    logging: RequestLogging | None = None


def is_empty(proto: Message) -> bool:
    """Return whether a ``ModelServerConfig`` says nothing, not even that no model is to be served."""
    return proto.WhichOneof("config") is None


def models_of(proto: Message, served: Collection[str] = ()) -> tuple[ModelConfig, ...]:
    """Return the models of a ``ModelServerConfig``; ``served`` names the models of the one in effect.

    Raises:
        ServingError: when a model is listed twice, or cannot be served.
    """
    if proto.WhichOneof("config") == "custom_model_config":
        raise invalid("This server has no custom_model_config, only model_config_list")
    models = [_model(config, served) for config in proto.model_config_list.config]
    seen: set[str] = set()
    for model in models:
        if model.name in seen:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
    return tuple(models)


def _model(proto: Message, served: Collection[str]) -> ModelConfig:
    _check_platform(proto, served)
    base_path = proto.base_path.removeprefix("file://")
    if "://" in base_path and not base_path.startswith("/"):
        raise invalid(
            f"Model {proto.name} has the base_path {proto.base_path}, and this server reads only the file "
            "system of its machine"
        )
    if not base_path.startswith("/"):
        raise invalid(
            f"Expected model {proto.name} to have an absolute path or URI; got base_path()={proto.base_path}"
        )
    return ModelConfig(
        proto.name,
        Path(base_path),
        _policy(proto.model_version_policy),
        dict(proto.version_labels),
        _logging(proto.logging_config) if proto.HasField("logging_config") else None,
    )


def _check_platform(proto: Message, served: Collection[str]) -> None:
    if proto.model_type and proto.model_platform:
        raise invalid(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform."
        )
    if not proto.model_type and not proto.model_platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform."
        )
    if proto.model_type not in (0, _TENSORFLOW_TYPE):
        raise invalid(f"ModelServerConfig::model_type {proto.model_type} not supported.")
    if proto.model_platform in ("", PLATFORM):
        return
    if proto.name in served:
        raise invalid(
            f"Illegal to change a model's platform. For model {proto.name} platform was {PLATFORM} and new "
            f"platform requested is {proto.model_platform}"
        )
    raise invalid(f"Model {proto.name} requests unsupported platform {proto.model_platform}")


def _logging(proto: Message) -> RequestLogging:
    collector = proto.log_collector_config
    return RequestLogging(collector.filename_prefix, proto.sampling_config.sampling_rate, collector.type)


def _policy(proto: Message) -> VersionPolicy:
    choice = proto.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy(latest=0)
    if choice == "specific" and proto.specific.versions:
        return VersionPolicy(specific=frozenset(proto.specific.versions))
    if choice == "specific":
        return VersionPolicy(specific=frozenset({-1}))
    return VersionPolicy(latest=max(proto.latest.num_versions, 1))
