"""Target ``url``: an existing endpoint is loaded and judged; nothing is deployed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.protocols import SERVING_PROTOCOLS
from pytest_tfserving.protocols.client import wait_until_available
from pytest_tfserving.targets.target import Target
from pytest_tfserving.text.addresses import NOT_TAKEN, RIGHT_WAY, may_have_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    examples = f"write it as {' or '.join(each.url_example for each in SERVING_PROTOCOLS.values())}"
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
    if not protocol or not parts.hostname or not match:
        raise ConfigurationError(f"{text!r} is not the address of a model; {examples}.")
    usual_port, tls = protocol.url_schemes[parts.scheme]
    endpoint = Endpoint(parts.hostname, port or usual_port, tls, protocol.name)
    return endpoint, f"/v1/models/{match['path']}", match["model"]


class UrlTarget(Target):
    """Target ``url``: a server that somebody else has started; nothing is deployed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> str:
        """Return the address that is loaded, in words."""
        checks = "the shapes and options of experiments are not checked there"
        return f"{self._settings.url} (nothing is deployed; {checks})"

    def refusal(self, experiment: Experiment) -> str:
        """Return why the address is none for an experiment; empty where it is one."""
        endpoint, _, _ = parse_url(self._settings.url)
        if endpoint.protocol == experiment.protocol:
            return ""
        example = SERVING_PROTOCOLS[experiment.protocol].url_example
        return (
            f"--tfserving-url: {self._settings.url} is an address of {endpoint.protocol}, and experiment "
            f"{experiment.name!r} is loaded over {experiment.protocol}; write it as {example}, or choose "
            f"experiments whose protocol is {endpoint.protocol}."
        )

    def served(self, experiment: Experiment, say: Callable[[str], None]) -> JsonObject:  # noqa: ARG002 - part of Target
        """Return the address and the protocol; nothing else is known."""
        return {"server": self._settings.url, "model": "at the address", "protocol": experiment.protocol}

    @contextmanager
    def deploy(self, order: DeploymentRequest) -> Iterator[Deployment]:
        """Check that the model at the address is AVAILABLE, and yield it as a deployment.

        Raises:
            ConfigurationError: if the address is not of the experiment's protocol.
            DeploymentError: if the model is not AVAILABLE within a few seconds.
        """
        if problem := self.refusal(order.experiment):
            raise ConfigurationError(problem)
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
            addresses={endpoint.protocol: (endpoint,)},
            via=f"the address given, {order.settings.url}",
        )
