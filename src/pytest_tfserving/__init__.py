"""Model-serving performance as test assertions."""

from importlib import import_module
from typing import TYPE_CHECKING

from pytest_tfserving.version import __version__ as __version__

if TYPE_CHECKING:
    from pytest_tfserving.deployment.deployment import Deployment as Deployment
    from pytest_tfserving.errors import TFServingWarning as TFServingWarning
    from pytest_tfserving.experiments.experiment import BatchingParameters as BatchingParameters
    from pytest_tfserving.experiments.experiment import Experiment as Experiment
    from pytest_tfserving.experiments.experiment import ServingOptions as ServingOptions
    from pytest_tfserving.experiments.experiment import Shape as Shape
    from pytest_tfserving.experiments.load_profile import LoadProfile as LoadProfile
    from pytest_tfserving.load.result import Result as Result
    from pytest_tfserving.plugin.load_fixture import Load as Load
    from pytest_tfserving.protocols.payload import Payload as Payload
    from pytest_tfserving.slo.language import SloSet as SloSet

# Imported when they are asked for: every pytest run and every child process imports this package.
_EXPORTS = {
    "BatchingParameters": "experiments.experiment",
    "Deployment": "deployment.deployment",
    "Experiment": "experiments.experiment",
    "Load": "plugin.load_fixture",
    "LoadProfile": "experiments.load_profile",
    "Payload": "protocols.payload",
    "Result": "load.result",
    "ServingOptions": "experiments.experiment",
    "Shape": "experiments.experiment",
    "SloSet": "slo.language",
    "TFServingWarning": "errors",
}


def __getattr__(name: str) -> object:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
