"""The contract of a target: a place where experiments run."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.settings import Settings
    from pytest_tfserving.targets.common.ownership import OrphanRule
    from pytest_tfserving.targets.common.request import DeploymentRequest
    from pytest_tfserving.text.json_value import JsonObject


class Target(Protocol):
    """A place where experiments run, for the settings of one session.

    A session has one target. What a target needs again, as a connection to a cluster, it keeps.

    Attributes:
        leaves_objects: whether its objects can outlive the process that made them, so that `sweep` has a use.
    """

    leaves_objects: ClassVar[bool] = False

    def __init__(self, settings: Settings) -> None:
        """Take the settings of a session."""

    def describe(self) -> str:
        """Return in a few words where experiments run, for the head of the session."""
        ...

    def unfit(self, experiment: Experiment) -> str:  # noqa: ARG002 - for other targets
        """Return what the target lacks for an experiment's shape; empty if nothing, or if nobody knows."""
        return ""

    def lacks_for_two(self, experiment: Experiment) -> str:  # noqa: ARG002 - for other targets
        """Return what the target lacks for two servers of an experiment's shape, of which one is idle."""
        return ""

    def refusal(self, experiment: Experiment) -> str:  # noqa: ARG002 - for other targets
        """Return why the target cannot take an experiment, whatever runs there; empty if it can."""
        return ""

    def served(self, experiment: Experiment, say: Callable[[str], None]) -> JsonObject:
        """Return values that identify the server, and the model unless a folder of the machine is served."""
        ...

    def held(self, purpose: str, say: Callable[[str], None]) -> AbstractContextManager[None]:  # noqa: ARG002 - for other targets
        """Hold a lock against two measurements at once, if the target is not on this machine."""
        return nullcontext()

    def deploy(self, order: DeploymentRequest) -> AbstractContextManager[Deployment]:
        """Return a context that deploys an order; all that it made is gone after the context."""
        ...

    def sweep(self, leftovers: OrphanRule, say: Callable[[str], None]) -> None:
        """Delete the objects that ``leftovers`` include, and say so, with a line for each."""
        del leftovers, say
