"""The fixtures ``experiment``, ``serving`` and ``load``, and fixtures for users to override."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.failures import plain_failures
from pytest_tfserving.plugin.ownership import experiment_of
from pytest_tfserving.plugin.session_start import session_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.plugin.load_fixture import Load
    from pytest_tfserving.protocols.payload import Payload
    from pytest_tfserving.protocols.payload_set import PayloadSet
    from pytest_tfserving.settings import Settings

_ASKED_TOO_LATE = (
    "Tests are given experiments when they are collected, and this one asked for the fixture 'experiment' "
    "while it ran; name 'experiment' among the arguments of the test function, or in its usefixtures. "
    "The methods of a unittest.TestCase cannot have experiments."
)


@pytest.fixture(scope="session")
def experiment(request: pytest.FixtureRequest) -> Experiment:
    """Return the experiment of this test; tests are parametrised by the experiments file.

    Raises:
        pytest.fail.Exception: for a test that was collected without an experiment, and if the parameter is
            not an experiment of this plugin.
    """
    with plain_failures():
        if not hasattr(request, "param"):
            raise ConfigurationError(_ASKED_TOO_LATE)
        return _checked(request.param)


def _checked(experiment: object) -> Experiment:
    """Return ``experiment`` if it is one of this plugin.

    Raises:
        ConfigurationError: for the value of someone else's fixture.
    """
    from pytest_tfserving.experiments.experiment import Experiment

    if isinstance(experiment, Experiment):
        return experiment
    raise ConfigurationError(
        f"The fixture 'experiment' of this test gives {experiment!r}, which is no Experiment of "
        "pytest-tfserving: a fixture or a parameter of that name has taken the place of ours; rename it."
    )


@pytest.fixture(scope="session")
def serving_model(experiment: Experiment, pytestconfig: pytest.Config) -> Path | dict[str, Path]:
    """Return the SavedModel base folder to serve; override this fixture to serve your own model.

    Of several models it is the folder of each, by the model's name.
    """
    with plain_failures():
        found = {each.name: _folder(each.model, pytestconfig) for each in _checked(experiment).served_models}
        return found if experiment.models else next(iter(found.values()))


def _folder(model: str, config: pytest.Config) -> Path:
    """Return the base folder of a model; a model of this package is exported."""
    from pytest_tfserving.models.store import exported

    return Path(model) if "/" in model else exported(model, session_of(config).progress)


@pytest.fixture(scope="session")
def request_payload(experiment: Experiment, request: pytest.FixtureRequest) -> Payload | PayloadSet:
    """Return the requests that load sends; override this fixture for a model of your own."""
    from pytest_tfserving.plugin.several_models import folders_of
    from pytest_tfserving.protocols.payload_source import mixed_requests, requests_of
    from pytest_tfserving.targets.common.served_model import latest_version

    def version_path(name: str) -> Path:
        return latest_version(folders_of(experiment, request.getfixturevalue("serving_model"))[name])

    with plain_failures():
        if _checked(experiment).models:
            return mixed_requests(experiment.models, version_path)
        (only,) = experiment.served_models
        return requests_of(only.model, only.payload, lambda: version_path(only.name))


@pytest.fixture(scope="session")
def serving_namespace(pytestconfig: pytest.Config) -> str:
    """Return the Kubernetes namespace to deploy into, empty for a new one; override it to choose by code."""
    return session_of(pytestconfig).settings.namespace


@pytest.fixture(scope="session")
def serving(
    experiment: Experiment, serving_namespace: str, request: pytest.FixtureRequest
) -> Iterator[Deployment]:
    """Start the experiment's deployment once for all its tests; end it before the next one starts."""
    from pytest_tfserving.plugin.against import refuse_two_without_room, with_baseline_server
    from pytest_tfserving.plugin.identity import ServedModels
    from pytest_tfserving.plugin.several_models import folders_of, refusal
    from pytest_tfserving.protocols.payload_set import PayloadSet
    from pytest_tfserving.system.signals import ended_by_signals
    from pytest_tfserving.targets.common.request import DeploymentRequest

    with plain_failures():
        _checked(experiment)
    perf = session_of(request.config)
    perf.begin(experiment, request.session.items)
    folder = Path(tempfile.mkdtemp(prefix="deployment-", dir=perf.folder))
    hook = (perf.item or request.session).ihook.pytest_tfserving_manifests
    models = ServedModels(lambda: folders_of(experiment, request.getfixturevalue("serving_model")))
    order = DeploymentRequest(
        experiment=experiment,
        settings=perf.settings,
        model_paths=models.read,
        payloads=lambda: PayloadSet.of(request.getfixturevalue("request_payload")),
        folder=folder,
        progress=perf.progress,
        note=perf.log.add_note,
        failed=lambda: experiment in perf.failed,
        bare=_needs_bare_session(perf.settings, experiment, request.session.items),
        namespace=serving_namespace,
        adjust=lambda manifests: hook(config=request.config, experiment=experiment, manifests=manifests),
    )
    with ExitStack() as stack:
        with plain_failures():
            stack.enter_context(perf.turn(experiment.name))
        stack.enter_context(ended_by_signals())
        with plain_failures():
            if problem := refusal(experiment, experiment.slo, perf.settings.against):
                raise ConfigurationError(problem)
            refuse_two_without_room(experiment, perf)
            alone = stack.enter_context(perf.target.deploy(order))
            item = perf.item or next(iter(request.session.items), None)
            deployment = stack.enter_context(with_baseline_server(alone, order, perf, item))
        stack.enter_context(perf.running(experiment, deployment, models))
        yield deployment
        perf.progress(f"{experiment.name}: stopping")
    perf.progress.close()


def _needs_bare_session(settings: Settings, experiment: Experiment, items: list[pytest.Item]) -> bool:
    """Return whether the in-process baseline is of use.

    Its responses are compared with those of the embedded server. Another server needs it only for an SLO that
    is relative to it, load that alternates with that of a baseline server has no time for it, and it has a
    single model.
    """
    if experiment.models:
        return False
    from pytest_tfserving.plugin import marks

    if settings.against or not settings.server:
        return not settings.against
    marked = (slo for item in items if experiment_of(item) for slo in marks.slos(item))
    return any(slo.relative for slo in (*experiment.slo, *marked))


@pytest.fixture
def load(request: pytest.FixtureRequest, experiment: Experiment) -> Iterator[Load]:
    """Give the test a `Load`, to call for putting load on the deployment and getting a `Result`."""
    from pytest_tfserving.plugin.load_fixture import Load

    with plain_failures():
        given = Load(request, _checked(experiment))
    yield given
    given.warn_of_unchecked()
