"""Model-serving performance as test assertions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pytest_tfserving.version import __version__ as __version__

if TYPE_CHECKING:
    from pytest_tfserving.errors import TFServingWarning as TFServingWarning
    from pytest_tfserving.experiment import BatchingParameters as BatchingParameters
    from pytest_tfserving.experiment import Experiment as Experiment
    from pytest_tfserving.experiment import ServingOptions as ServingOptions
    from pytest_tfserving.experiment import Shape as Shape
    from pytest_tfserving.fixtures import Load as Load
    from pytest_tfserving.load.payload import Payload as Payload
    from pytest_tfserving.load.profile import LoadProfile as LoadProfile
    from pytest_tfserving.load.result import Result as Result
    from pytest_tfserving.slo import SloSet as SloSet
    from pytest_tfserving.targets.deployment import Deployment as Deployment

# The modules of the public names, imported on first use: every pytest run and child imports this package.
_PLACES = {
    "BatchingParameters": "experiment",
    "Deployment": "targets.deployment",
    "Experiment": "experiment",
    "Load": "fixtures",
    "LoadProfile": "load.profile",
    "Payload": "load.payload",
    "Result": "load.result",
    "ServingOptions": "experiment",
    "Shape": "experiment",
    "SloSet": "slo",
    "TFServingWarning": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
