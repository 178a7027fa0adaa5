"""The requests of an experiment, by the value of its ``payload``, or of that of each of its models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, nearest
from pytest_tfserving.experiments.payload_choice import FilePayload, GeneratedPayload
from pytest_tfserving.experiments.payload_paths import is_set_path
from pytest_tfserving.protocols.payload import default_payload
from pytest_tfserving.protocols.payload_files import set_of
from pytest_tfserving.protocols.payload_set import PayloadSet, SetEntry, with_kind_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_tfserving.experiments.model_mix import MixedModel
    from pytest_tfserving.protocols.payload import Payload


def requests_of(
    model: str, payload: str | FilePayload | GeneratedPayload, version_path: Callable[[], Path]
) -> Payload | PayloadSet:
    """Return the requests that an experiment sends.

    Args:
        model: the name of a bundled model, or the path of another model.
        payload: the experiment's payload.
        version_path: returns the folder of the model's version; called for generated requests only.

    Raises:
        ConfigurationError: if the requests cannot be read or generated, or are not known.
    """
    if isinstance(payload, GeneratedPayload):
        from pytest_tfserving.protocols.payload_generator import generated_set

        return generated_set(payload, version_path())
    if isinstance(payload, FilePayload):
        return _weighted(set_of(Path(payload.path), payload.signature), payload)
    return set_of(Path(payload)) if is_set_path(payload) else default_payload(model, payload)


def mixed_requests(models: Sequence[MixedModel], version_path: Callable[[str], Path]) -> PayloadSet:
    """Return the requests that an experiment sends to several models, by the models' weights.

    The kind of a request is the name of its model, or ``MODEL/KIND`` if the model's requests have kinds.

    Args:
        models: the models.
        version_path: returns the folder of a model's version, given the model's name; called for generated
            requests only.

    Raises:
        ConfigurationError: as `requests_of`, with the name of the model.
    """
    return PayloadSet(entry for each in models for entry in _of_model(each, version_path))


def _of_model(mixed: MixedModel, version_path: Callable[[str], Path]) -> Iterator[SetEntry]:
    """Yield the requests of a model, whose weights together are the model's."""
    try:
        found = PayloadSet.of(requests_of(mixed.model, mixed.payload, lambda: version_path(mixed.name)))
    except ConfigurationError as error:
        raise ConfigurationError(f"model {mixed.name!r}: {error}") from None
    several, total = len(set(found.kinds)) > 1, sum(entry.weight for entry in found)
    for entry in found:
        kind = f"{mixed.name}/{entry.kind}" if several else mixed.name
        yield replace(entry, kind=kind, weight=entry.weight / total * mixed.weight, model=mixed.name)


def _weighted(found: PayloadSet, payload: FilePayload) -> PayloadSet:
    """Return a set with the weights of kinds that the payload names."""
    known = list(dict.fromkeys(found.kinds))
    if unknown := next((kind for kind in payload.weights if kind not in known), ""):
        raise ConfigurationError(f"the payload {payload} has no kind {unknown!r}; {nearest(unknown, known)}.")
    return with_kind_weights(found, payload.weights) if payload.weights else found
