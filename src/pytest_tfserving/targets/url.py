"""Target ``url``: an existing endpoint is loaded and judged; nothing is deployed."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.client_settings import NO_SETTINGS
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.client import wait_until_available
from pytest_tfserving.targets.common.served_model import rest_paths
from pytest_tfserving.targets.target import Target
from pytest_tfserving.text.addresses import NOT_TAKEN, RIGHT_WAY, may_have_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_tfserving.experiments.client_settings import ClientSettings
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.targets.common.request import DeploymentRequest
    from pytest_tfserving.text.json_value import JsonObject

# An endpoint that exists responds quickly.
_ANSWERS_WITHIN_S = 10.0
_SCHEMES = {scheme: each for each in SERVING_PROTOCOLS.values() for scheme in each.url_schemes}


def parse_url(text: str) -> tuple[Endpoint, str, str]:
    """Return the endpoint, the path in REST and the model of a TF Serving address, of REST or gRPC.

    Raises:
        ConfigurationError: if ``text`` is not such an address, or may contain a secret.
    """
    endpoint, path, model = parse_address(text)
    if not model:
        raise ConfigurationError(_without_model(text))
    return endpoint, path, model


def parse_address(text: str) -> tuple[Endpoint, str, str]:
    """Return what `parse_url` does; of the address of a server, the path and the model are empty.

    Raises:
        ConfigurationError: as `parse_url`.
    """
    examples = _examples()
    if may_have_secrets(text):
        raise ConfigurationError(f"the address {NOT_TAKEN}; {examples}, and {RIGHT_WAY}.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        # A text that is not a port may be a password, so no part of it is shown.
        problem = "this is not an address: its host or its port cannot be read"
        raise ConfigurationError(f"{problem}; {examples}.") from None
    protocol = _SCHEMES.get(parts.scheme)
    match = protocol.url_path.fullmatch(parts.path) if protocol else None
    if not protocol or not parts.hostname or not (match or parts.path in ("", "/")):
        raise ConfigurationError(_without_model(text))
    usual_port, tls = protocol.url_schemes[parts.scheme]
    endpoint = Endpoint(parts.hostname, port or usual_port, tls, protocol.name)
    return (endpoint, f"/v1/models/{match['path']}", match["model"]) if match else (endpoint, "", "")


def _without_model(text: str) -> str:
    """Return that a text is not the address of a model."""
    return f"{text!r} is not the address of a model; {_examples()}."


def _examples() -> str:
    return f"write it as {' or '.join(each.url_example for each in SERVING_PROTOCOLS.values())}"


class UrlTarget(Target):
    """Target ``url``: a server that somebody else has started; nothing is deployed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> str:
        """Return the address that is loaded, in words."""
        checks = "the shapes and options of experiments are not checked there"
        return f"{self._settings.url} (nothing is deployed; {checks})"

    def _client(self, experiment: Experiment) -> ClientSettings:
        """Return the headers and files of an experiment, with those of options in their place."""
        return experiment.client.overridden_by(self._settings.client)

    def refusal(self, experiment: Experiment) -> str:
        """Return why the address is none for an experiment; empty where it is one."""
        endpoint, _, model = parse_address(self._settings.url)
        if bool(model) == bool(experiment.models):
            return self._other_address(experiment, endpoint)
        if endpoint.protocol == experiment.protocol:
            return _client_refusal(replace(endpoint, client=self._client(experiment)))
        example = SERVING_PROTOCOLS[experiment.protocol].url_example
        return (
            f"--tfserving-url: {self._settings.url} is an address of {endpoint.protocol}, and experiment "
            f"{experiment.name!r} is loaded over {experiment.protocol}; write it as {example}, or choose "
            f"experiments whose protocol is {endpoint.protocol}."
        )

    def _other_address(self, experiment: Experiment, endpoint: Endpoint) -> str:
        """Return that an experiment needs the address of a server, or of a model."""
        if not experiment.models:
            return f"--tfserving-url: {_without_model(self._settings.url)}"
        names = ", ".join(experiment.model_names)
        return (
            f"--tfserving-url: {self._settings.url} is the address of one model, and experiment "
            f"{experiment.name!r} has several: {names}; write the address of their server, as {endpoint}."
        )

    def served(self, experiment: Experiment, say: Callable[[str], None]) -> JsonObject:  # noqa: ARG002 - part of Target
        """Return the address, the protocol, and what clients send with each request, without values."""
        known: JsonObject = {
            "server": self._settings.url,
            "model": [*experiment.model_names] if experiment.models else "at the address",
            "protocol": experiment.protocol,
        }
        client = self._client(experiment)
        return {**known, "client": _digest(client)} if client != NO_SETTINGS else known

    @contextmanager
    def deploy(self, order: DeploymentRequest) -> Iterator[Deployment]:
        """Check that the models at the address are AVAILABLE, and yield them as a deployment.

        Raises:
            ConfigurationError: if the address is not of the experiment's protocol, or not that of a model,
                or of a server for several models.
            DeploymentError: if a model is not AVAILABLE within a few seconds.
        """
        if problem := self.refusal(order.experiment):
            raise ConfigurationError(problem)
        address, path, model = parse_address(order.settings.url)
        paths = {model: path} if model else rest_paths(order.experiment)
        client = self._client(order.experiment)
        endpoint = replace(address, client=client)
        sent = f", with {client.in_words}" if client.in_words else ""
        wait_until_available(
            endpoint,
            *paths.values(),
            timeout_s=min(order.settings.ready_timeout_s, _ANSWERS_WITHIN_S),
            failure=lambda: "",
            advice="is --tfserving-url right?",
        )
        yield Deployment(
            experiment=order.experiment,
            label=order.experiment.name,
            paths=paths,
            addresses={endpoint.protocol: (endpoint,)},
            via=f"the address given, {order.settings.url}{sent}",
            is_configured=False,
        )


def _client_refusal(endpoint: Endpoint) -> str:
    """Return why the clients of an endpoint cannot be as they are set; empty if they can."""
    from pytest_tfserving.protocols.client_access import header_values, tls_context

    if endpoint.client.has_files and not endpoint.tls:
        scheme = next(
            each for each, (_, tls) in SERVING_PROTOCOLS[endpoint.protocol].url_schemes.items() if tls
        )
        return (
            f"--tfserving-url: {endpoint} is without TLS, for which files are given; write it as {scheme}://."
        )
    try:
        header_values(endpoint.client)
        tls_context(endpoint)
    except ConfigurationError as error:
        return str(error)
    return ""


def _digest(client: ClientSettings) -> str:
    """Return a digest of what clients send; the values of variables take no part in it."""
    return hashlib.sha256(json.dumps(asdict(client)).encode()).hexdigest()
