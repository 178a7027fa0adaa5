"""The target ``url``: an endpoint that exists already is loaded and judged; nothing is deployed."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.probe import wait_until_available
from pytest_tfserving.targets.deployment import Deployment, Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.experiment import Experiment
    from pytest_tfserving.options import Settings
    from pytest_tfserving.targets.order import Order

# What exists already answers at once, or is not there.
_ANSWERS_WITHIN_S = 10.0
EXAMPLE = "http://host:8501/v1/models/NAME"
_PATH = re.compile(r"(?P<path>/v1/models/(?P<model>[^/:]+)(/(versions/\d+|labels/[^/:]+))?)(:predict|/)?")


def parse_url(text: str) -> tuple[Endpoint, str, str]:
    """The endpoint, the path and the model of a TF Serving REST address.

    Raises:
        ConfigurationError: for anything else.
    """
    try:
        parts = urlsplit(text)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not an address: {error}; write it as {EXAMPLE}.") from None
    match = _PATH.fullmatch(parts.path)
    if parts.scheme not in ("http", "https") or not parts.hostname or not match:
        raise ConfigurationError(f"{text!r} is not the address of a model; write it as {EXAMPLE}.")
    return Endpoint(parts.hostname, port, parts.scheme == "https"), match["path"], match["model"]


def describe(settings: Settings) -> str:
    """The address that is loaded."""
    return (
        f"{settings.url} (nothing is deployed; the shapes and options of experiments are not checked there)"
    )


def unfit(settings: Settings, experiment: Experiment) -> str:  # noqa: ARG001 - every target has this function
    """Nothing: the shape behind an address is whatever it is."""
    return ""


@contextmanager
def deploy(order: Order) -> Iterator[Deployment]:
    """Check that the model at the address is AVAILABLE and yield it as a deployment."""
    endpoint, path, model = parse_url(order.settings.url)
    wait_until_available(
        endpoint,
        path,
        timeout_s=min(order.settings.ready_timeout_s, _ANSWERS_WITHIN_S),
        failure=lambda: "",
        advice="is --tfserving-url right?",
    )
    yield Deployment(
        experiment=order.experiment,
        label=f"{model} at {endpoint.host}:{endpoint.port}",
        model=model,
        path=path,
        endpoints=(endpoint,),
        reached=f"the address given, {endpoint}{path}",
    )
