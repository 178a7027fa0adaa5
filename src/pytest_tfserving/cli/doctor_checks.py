"""Checks of ``doctor``: each returns what it found, and the command that mends what does not work."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, TFServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pytest_tfserving.settings import Settings
    from pytest_tfserving.targets.kubernetes.cluster import Cluster

# The time for all checks; Python needs a second before them.
_WHOLE_S = 9.0
# The longest time of checks that wait for other programs, and of the measurement after all of these.
_CHECK_S = 4.0
_MEASURED_S = 4.0
# A shorter measurement says too little.
_LEAST_MEASURED_S = 2.0
# The start of the measurement's processes, and the fit of its figures.
_AROUND_MEASUREMENT_S = 1.5
_LEAST_CORES = 2
# A server of a small model with TensorFlow, and the load generator.
_LEAST_MEMORY_GB = 2.0
_MOST_STEAL = 0.01
_GATED_CHANGE = 0.05
# A gate whose run takes longer is not practical.
_PATIENCE_S = 120.0
_CONTEXTS = "kubectl config get-contexts"
# What shows the trouble of a cluster that does not answer.
_MENDS_OF_CLUSTER = {"context": "kubectl cluster-info", "permissions": "kubectl auth can-i --list"}


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check.

    Attributes:
        name: the name of the checked part.
        is_good: whether the part works.
        text: what was found.
        mend: the command that mends the part, or advice if no command does; empty if it works.
    """

    name: str
    is_good: bool
    text: str
    mend: str = ""


def findings(settings: Settings) -> Iterator[Finding]:
    """Yield what each check found; checks that wait for other programs run at the same time."""
    until_s = time.monotonic() + _WHOLE_S
    waiting = [
        _Waiting(lambda: [_engine()], {"engine": _start_engine("restart")}),
        _Waiting(lambda: [_kubectl()], {"kubectl": _install("kubernetes")}),
        _Waiting(lambda: _cluster_findings(settings), _MENDS_OF_CLUSTER),
    ]
    yield from (_cores(), _memory(), _tensorflow())
    for each in waiting:
        yield from each.findings()
    left_s = until_s - time.monotonic() - _AROUND_MEASUREMENT_S
    yield from _noise(min(max(left_s, _LEAST_MEASURED_S), _MEASURED_S))


class _Waiting:
    """Checks in a thread of their own, which are given up after some seconds.

    Args:
        check: returns the findings, one after the other.
        mends: what mends each part that was not found out in time, by the name of the part.
    """

    def __init__(self, check: Callable[[], Iterable[Finding]], mends: Mapping[str, str]) -> None:
        late = f"no answer within {_CHECK_S:g} s"
        self._found = {name: Finding(name, False, late, mend) for name, mend in mends.items()}
        self._check = check
        self._until_s = time.monotonic() + _CHECK_S
        self._thread = threading.Thread(target=self._run, name=f"doctor-{'-'.join(mends)}", daemon=True)
        self._thread.start()

    def findings(self) -> list[Finding]:
        """Return what the checks found."""
        self._thread.join(max(self._until_s - time.monotonic(), 0.0))
        return list(self._found.values())

    def _run(self) -> None:
        for finding in self._check():
            self._found[finding.name] = finding


# --- this machine ---


def _cores() -> Finding:
    from pytest_tfserving.system.processes import available_cores

    count = len(available_cores())
    if count >= _LEAST_CORES:
        return Finding("cores", True, f"{count}: {count - 1} for servers, 1 for the load")
    advice = "measure what runs elsewhere: pytest --tfserving-target=url --tfserving-url=ADDRESS"
    return Finding("cores", False, "1, which a server and the load would share", advice)


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    free_gb, all_gb = memory.available / 2**30, memory.total / 2**30
    text = f"{free_gb:.1f} of {all_gb:.1f} GB are free"
    if free_gb >= _LEAST_MEMORY_GB:
        return Finding("memory", True, text)
    return Finding("memory", False, text, "end what uses most of it: ps -eo pid,rss,comm --sort=-rss | head")


def _tensorflow() -> Finding:
    from pytest_tfserving.models.store import tensorflow_version

    try:
        return Finding("TensorFlow", True, tensorflow_version())
    except ConfigurationError:
        return Finding("TensorFlow", False, "not installed", _install("embedded"))


def _install(extra: str) -> str:
    return f"pip install 'pytest-tfserving[{extra}]'"


# --- engine and cluster ---


def _engine() -> Finding:
    from pytest_tfserving.targets.docker.engine import connect

    try:
        with connect() as engine:
            facts = engine.facts()
    except TFServingError as error:
        mend = _start_engine("start") if find_spec("docker") else _install("docker")
        return Finding("engine", False, _problem(error), mend)
    return Finding("engine", True, f"{facts.name} {facts.version} at {engine}")


def _start_engine(how: str) -> str:
    if sys.platform == "darwin":
        return "open -a Docker"
    if not any(map(shutil.which, ("docker", "podman"))):
        return "install Docker or Podman, as sudo apt-get install docker.io"
    return f"sudo systemctl {how} docker"


def _kubectl() -> Finding:
    from pytest_tfserving.targets.kubernetes.kustomize import kubectl

    try:
        program = kubectl()
        command = [program, "version", "--client", "--output=json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CHECK_S, check=True)
        version = json.loads(done.stdout)["clientVersion"]["gitVersion"]
    except ConfigurationError:
        return Finding("kubectl", False, "not on PATH", _install("kubernetes"))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        return Finding("kubectl", False, f"{program} does not work: {error}", _install("kubernetes"))
    return Finding("kubectl", True, f"{version}, {program}")


def _cluster_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what was found of the context, and of the permissions of its user."""
    look = _CONTEXTS
    try:
        cluster = _cluster(settings)
        look = f"kubectl --context {cluster.context.name} cluster-info"
        version = cluster.get("/version").get("gitVersion", "of an unknown version")
    except TFServingError as error:
        yield Finding("context", False, *_parted(error, look))
        yield Finding("permissions", False, "not known without a cluster", "mend the context first")
        return
    yield Finding("context", True, f"{cluster.context}, Kubernetes {version}")
    try:
        yield _permissions(cluster, settings)
    except TFServingError as error:
        yield Finding("permissions", False, *_parted(error, look))


def _permissions(cluster: Cluster, settings: Settings) -> Finding:
    from pytest_tfserving.targets.kubernetes.permissions import (
        grant_command,
        in_words,
        lacking,
        needed,
        user_name,
    )

    permissions = needed(settings.namespace, load_in_cluster=settings.load_in_cluster)
    missing = lacking(cluster, permissions)
    if not missing:
        return Finding("permissions", True, f"all {len(permissions)} that a run needs")
    text = f"{len(missing)} of {len(permissions)} are missing: {in_words(missing)}"
    return Finding("permissions", False, text, grant_command(user_name(cluster), settings.namespace))


def _cluster(settings: Settings) -> Cluster:
    """Return a client of the cluster that a run would use, which waits for answers as long as a check.

    Raises:
        ConfigurationError: if there is none, or deployments to it are not allowed.
    """
    from pytest_tfserving.targets.kubernetes.cluster import Cluster
    from pytest_tfserving.targets.kubernetes.target import KubernetesTarget

    if find_spec("urllib3") is None:
        raise ConfigurationError(f"the client of clusters is not installed; {_install('kubernetes')}")
    return Cluster(KubernetesTarget(settings).context, _CHECK_S)


def _problem(error: Exception) -> str:
    return str(error).rstrip(".")


def _parted(error: Exception, otherwise: str) -> tuple[str, str]:
    """Return the problem and the remedy in the sentence of an error; ``otherwise`` is for one without."""
    problem, _, remedy = _problem(error).rpartition("; ")
    return (problem, remedy) if problem else (remedy, otherwise)


# --- the noise of this machine ---


def _noise(length_s: float) -> Iterator[Finding]:
    """Measure for some seconds, unless another measurement runs; yield the steal and the time to gate."""
    from pytest_tfserving.system.machine_lock import MachineLock

    def refuse(holder: str) -> None:
        raise _BusyError(holder.partition(": ")[2])

    try:
        with MachineLock().turn("doctor", refuse, length_s):
            yield from _measured(length_s)
    except TFServingError as error:
        wait = Finding(
            "steal", False, f"not measured: {_problem(error)}", "run doctor again when it has ended"
        )
        yield from (wait, replace(wait, name="gate"))


class _BusyError(TFServingError):
    """Error of a machine on which another measurement runs."""


def _measured(length_s: float) -> Iterator[Finding]:
    from pytest_tfserving.calibration.pieces import measure_pieces
    from pytest_tfserving.calibration.wander import P95_NOISE, fit_wander
    from pytest_tfserving.calibration.words import needed_s

    with tempfile.TemporaryDirectory(prefix="pytest-tfserving-doctor-") as folder:
        pieces, _ = measure_pieces(length_s, Path(folder), lambda: None)
    # Servers run on the last core.
    last = pieces[-1]
    yield _steal(last.steal)
    yield _gate(needed_s(fit_wander(last.rows[:, 0], last.rows[:, 1]), _GATED_CHANGE, P95_NOISE))


def _steal(share: float | None) -> Finding:
    if share is None:
        return Finding("steal", True, "this system does not say")
    text = f"the host takes {share:.1%} of the cores"
    if share < _MOST_STEAL:
        return Finding("steal", True, text)
    advice = "use a machine with dedicated cores; pytest-tfserving calibrate shows what the noise costs"
    return Finding("steal", False, text, advice)


def _gate(length_s: float) -> Finding:
    what = "a p95 that is 5 % off its limit"
    if length_s <= _PATIENCE_S:
        return Finding("gate", True, f"runs of about {length_s:.0f} s decide on {what}")
    minutes = f"runs of about {length_s / 60:.0f} min decide"
    advice = "pytest-tfserving calibrate, which names the largest cause"
    took = "no run of half an hour decides" if length_s == math.inf else minutes
    return Finding("gate", False, f"{took} on {what}", advice)
