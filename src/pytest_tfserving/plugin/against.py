"""The baseline server that ``--tfserving-against`` names, deployed beside each experiment."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, DeploymentError, TFServingError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.plugin.session import PerfSession
    from pytest_tfserving.settings import Against, Settings
    from pytest_tfserving.slo.language import Slo
    from pytest_tfserving.targets.common.request import DeploymentRequest

# The changes that are allowed if no SLO names any.
_DEFAULT_CHANGES = ("p95<=+5%", "cpu_per_request<=+5%", "rps>=-5%")


def with_changes(slos: tuple[Slo, ...], settings: Settings) -> tuple[Slo, ...]:
    """Return ``slos``, with those on changes against the baseline server that hold if none are named."""
    from pytest_tfserving.slo.language import parse_slos

    if settings.against is None or any(slo.against for slo in slos):
        return slos
    texts = [each for each in _DEFAULT_CHANGES if settings.target != "url" or not each.startswith("cpu")]
    return (*slos, *parse_slos(texts))


def refuse_two_without_room(experiment: Experiment, perf: PerfSession) -> None:
    """Raise a ConfigurationError if a baseline server does not fit on the target beside an experiment."""
    against, target = perf.settings.against, perf.target
    if against is None or target.unfit(experiment):
        return
    if problem := target.lacks_for_two(experiment):
        raise ConfigurationError(f"--tfserving-against={against}: both servers have to fit: {problem}.")


@contextmanager
def with_baseline_server(
    deployment: Deployment, order: DeploymentRequest, perf: PerfSession, item: pytest.Item | None
) -> Iterator[Deployment]:
    """Start the baseline server beside a deployment if there is one, and end it afterwards.

    Yields:
        The deployment, with its baseline server.

    Raises:
        ConfigurationError: if both servers cannot be compared.
        DeploymentError: if the baseline server does not start.
    """
    from pytest_tfserving.deployment.deployment import BaselineServer
    from pytest_tfserving.targets import target_of

    against = perf.settings.against
    if against is None or deployment.unfit:
        yield deployment
        return
    other = replace(_order(order, against, perf, item), nodes=deployment.nodes)
    target = target_of(other.settings)
    order.progress(f"{order.experiment.name}: starting the baseline server {against}")
    with ExitStack() as stack:
        try:
            found = stack.enter_context(target.deploy(other))
        except TFServingError as error:
            raise _not_to_blame(against, error) from None
        yield replace(deployment, against=BaselineServer(str(against), found, against.kind != "model"))


def _order(
    order: DeploymentRequest, against: Against, perf: PerfSession, item: pytest.Item | None
) -> DeploymentRequest:
    """Return the request for the baseline server, which differs from the candidate's in one thing."""
    folder = order.folder / "against"
    folder.mkdir(exist_ok=True)
    other = replace(order, settings=against.applied(order.settings), folder=folder, bare=False)
    if against.kind == "model":
        (name,) = order.experiment.model_names
        return replace(other, model_paths=lambda: {name: Path(against.value)})
    if against.kind == "experiment":
        experiments = perf.experiments(item) if item else []
        return replace(other, experiment=_other_experiment(order.experiment, against, experiments))
    return other


def _other_experiment(
    candidate: Experiment, against: Against, experiments: Iterable[Experiment]
) -> Experiment:
    known = {each.name: each for each in experiments}
    found = known.get(against.value)
    if found is None:
        raise ConfigurationError(
            f"--tfserving-against={against}: {against.value!r} is not an experiment; "
            f"{nearest(against.value, list(known))}."
        )
    if found.shape != candidate.shape:
        raise ConfigurationError(
            f"--tfserving-against={against}: both servers take turns on the same cores, and "
            f"{found.name!r} has another shape; choose one of shape {candidate.shape.name}, or select tests "
            "with -k."
        )
    if (candidate.models or found.models) and {*found.model_names} != {*candidate.model_names}:
        raise ConfigurationError(
            f"--tfserving-against={against}: both servers get the same requests, and {found.name!r} has "
            f"other models, {', '.join(found.model_names)}, than {candidate.name!r}, "
            f"{', '.join(candidate.model_names)}; choose one with the same models."
        )
    return found


def _not_to_blame(against: Against, error: TFServingError) -> DeploymentError:
    found = DeploymentError(
        f"the baseline server {against} did not start, and the candidate is not to blame: {error}"
    )
    for note in getattr(error, "__notes__", ()):
        found.add_note(note)
    return found
