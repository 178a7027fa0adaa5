"""Load from Pods of the cluster: load processes in Jobs, with orders by attach and lines by logs."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, DeploymentError, TFServingError
from pytest_tfserving.system.signals import without_interruption
from pytest_tfserving.targets.kubernetes.attach import StandardInput
from pytest_tfserving.targets.kubernetes.cluster import (
    EVENTS,
    JOBS,
    PODS,
    Cluster,
    NotFoundError,
    PermissionMissingError,
    UnreachableError,
    persistently,
)
from pytest_tfserving.targets.kubernetes.lifecycle import AWAY_S, running, wait_until_gone
from pytest_tfserving.targets.kubernetes.load_manifests import (
    CONTAINER,
    MASTER,
    WORKERS,
    LoadJobs,
    labels,
    locustfile_map,
)
from pytest_tfserving.targets.kubernetes.names import LOAD
from pytest_tfserving.targets.kubernetes.readiness import ended, has_started, pod_doomed
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pytest_tfserving.deployment.deployment import Deployment, Endpoint
    from pytest_tfserving.deployment.generator_host import OnEvent
    from pytest_tfserving.deployment.load_messages import FirstMessage, ProcessMessage, Records
    from pytest_tfserving.experiments.experiment import LoadPods
    from pytest_tfserving.targets.common.ownership import OwnershipLabels
    from pytest_tfserving.targets.kubernetes.objects import Pod

_LOOK_S = 0.25
_LAST_WORDS = 20
_END_S = 5.0
# A load process that works writes a line twice a second.
_QUIET_S = 5.0
_ASK_AGAIN_S = 2.0
_MASTER_PORT = 5557
_MOST_PROCESSES = 64
_LARGEST_LOCUSTFILE = 900_000
# First version of Kubernetes that has indexed Jobs by default.
_INDEXED_SINCE = (1, 22)
_NEEDS_US = "the image of load Pods needs pytest-tfserving in it (--tfserving-load-image)"


@dataclass(frozen=True, slots=True)
class PodHost:
    """The cluster of a deployment as a host of load processes; see `GeneratorHost`.

    Attributes:
        cluster: the cluster.
        namespace: the namespace of the deployment.
        tags: the labels of the deployment's objects.
        inside: the addresses of the replicas inside the cluster, by protocol.
        image: the image of load Pods.
        pods: the resources and the nodes of load Pods.
        start_s: the seconds that load Pods may take to start.
        silence_s: the seconds that load Pods may be silent.
        same_clock: False, because Pods have other clocks than this machine.
    """

    cluster: Cluster
    namespace: str
    tags: OwnershipLabels
    inside: Mapping[str, Sequence[Endpoint]]
    image: str
    pods: LoadPods
    start_s: float
    silence_s: float = AWAY_S
    same_clock: bool = False

    def most_processes(self, _: Deployment) -> int:
        """Return a fixed limit; the cluster's scheduler decides whether Pods fit."""
        return _MOST_PROCESSES

    def endpoints(self, deployment: Deployment) -> Sequence[Endpoint]:
        """Return the addresses of the replicas inside the cluster."""
        return self.inside[deployment.experiment.protocol]

    @contextmanager
    def team(
        self, folder: Path, processes: int, locustfile: Path | None, hear: Callable[[int], OnEvent]
    ) -> Iterator[PodTeam]:
        """Create Jobs, and delete them when the context is left.

        Raises:
            ConfigurationError: if the locustfile is too large.
        """
        jobs = LoadJobs(
            image=self.image,
            workers=processes,
            pods=self.pods,
            indexed=self._knows_indexed_jobs(),
            locustfile=locustfile.name if locustfile else "",
        )
        found: PodTeam | None = None
        try:
            if locustfile:
                self._bring(locustfile)
            for manifest in jobs.manifests(self.tags):
                self.cluster.apply(manifest, self.namespace)
            found = PodTeam(self, folder, processes, hear)
            yield found
        finally:
            if found:
                found.end()
            self._delete()

    def _bring(self, locustfile: Path) -> None:
        text = locustfile.read_text(encoding="utf-8")
        if len(text) > _LARGEST_LOCUSTFILE:
            raise ConfigurationError(f"{locustfile} is too large to be copied to load Pods: over 900 kB.")
        manifest = locustfile_map(locustfile.name, text, self.tags)
        self.cluster.apply(manifest, self.namespace)

    def _knows_indexed_jobs(self) -> bool:
        version = self.cluster.get("/version")
        numbers = (str(version[name]).rstrip("+") for name in ("major", "minor"))
        return tuple(map(int, numbers)) >= _INDEXED_SINCE

    def _delete(self) -> None:
        """Delete the Jobs and wait for their Pods; if this fails, the end of the deployment does it again."""
        with suppress(TFServingError):
            with without_interruption():
                for name in (WORKERS, MASTER):
                    persistently(partial(self.cluster.delete, JOBS, self.namespace, name), AWAY_S)
            wait_until_gone(lambda: running(self.cluster, self._load_pods()))

    def _load_pods(self) -> list[Pod]:
        return self.cluster.items(PODS, self.namespace, {LOAD: self.tags.run})


class PodTeam:
    """The Pods of a run of load; see `WorkerPool`."""

    def __init__(self, place: PodHost, folder: Path, processes: int, hear: Callable[[int], OnEvent]) -> None:
        self.workers = [LoadPod(place, folder, WORKERS, index, hear(index)) for index in range(processes)]
        self.master = LoadPod(place, folder, MASTER, 0, hear(processes)) if processes > 1 else None

    def master_address(self) -> tuple[str, int]:
        """Return the address of the master's Pod, and its port."""
        assert self.master is not None
        return self.master.address, _MASTER_PORT

    def end(self) -> None:
        """End the readers of the Pods' lines."""
        for process in (*self.workers, *([self.master] if self.master else [])):
            process.end()


class LoadPod:
    """The load process in Pod number ``index`` of a Job; see `LoadProcess`."""

    sink = ""

    def __init__(self, place: PodHost, folder: Path, job: str, index: int, hear: OnEvent) -> None:
        self.records = folder / f"records{index}.f64"
        self.ready = threading.Event()
        self.first: FirstMessage | None = None
        self.name = ""
        self.address = ""
        self._place = place
        self._cluster = Cluster(place.cluster.context)  # its own connections: logs are followed for long
        self._job = job
        self._index = index
        self._hear = hear
        self._heard = 0
        self._has_ended = False
        self._is_leading = False
        self._is_loading = False
        self._asked_at = 0.0
        self._lost = ""
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._stdin: StandardInput | None = None
        self._telling = threading.Lock()
        self._done = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def write(self, text: str) -> None:
        """Write one line to the process, and retry while the API server is unreachable.

        Nothing is written if the Pod is gone.

        Raises:
            UnreachableError: if the API server stays unreachable.
        """
        if self._stdin is not None and not self._done.is_set():
            persistently(lambda: self._tell(text), AWAY_S)

    def _tell_to_stop(self) -> None:
        with suppress(TFServingError):
            self._tell("stop")

    def _tell(self, text: str) -> None:
        assert self._stdin is not None
        try:
            with self._telling:
                self._stdin.write(f"{text}\n".encode())
        except UnreachableError:
            if not self._fate(self._found()):
                raise

    def end(self) -> None:
        """End the process; read the lines of a worker that loads until its end, for a few seconds at most."""
        if self._done.is_set():
            return
        if self._is_leading:
            self._tell_to_stop()
        if self._is_leading or self._is_loading:
            self._reader.join(_END_S)
        self._done.set()
        if self._stdin:
            self._tell_to_stop()
            self._stdin.close()
        self._cluster.close()

    def death(self) -> str:
        """Return how the process ended, or why its lines are lost; empty while it runs."""
        if not self.name:
            return ""
        try:
            fate = self._fate(persistently(self._found, AWAY_S))
        except TFServingError as error:
            return str(error)
        return fate or self._lost

    def _found(self) -> Pod | None:
        return self._place.cluster.find(PODS, self._place.namespace, self.name)

    def _fate(self, pod: Pod | None) -> str:
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return f"the load Pod {self.name} was lost"
        if how := ended(pod):
            last = next((f": {words}" for words in reversed(self._words) if words), "")
            return f"the load Pod {self.name} {how}{last}"
        return ""

    # --- hearing ---

    def _read(self) -> None:
        try:
            self._wait_for_its_start()
            self._follow()
        except TFServingError as error:
            self._refuse(str(error))
        self.ready.set()
        self._hear(None)

    def _wait_for_its_start(self) -> None:
        """Wait until the container runs, and keep the name of its Pod.

        Raises:
            DeploymentError: if the container can never start, or does not start in time.
        """
        place, deadline = self._place, time.monotonic() + self._place.start_s
        selector = labels(self._job, place.tags)
        while not self._done.wait(_LOOK_S):
            pods = persistently(lambda: self._cluster.items(PODS, place.namespace, selector), AWAY_S)
            pods.sort(key=lambda each: each["metadata"]["name"])
            pod = pods[self._index] if len(pods) > self._index else None
            if pod and has_started(pod):
                meta, status = pod["metadata"], pod["status"]
                self.address = status.get("podIP", "")
                self._stdin = StandardInput(self._cluster, place.namespace, meta["name"], CONTAINER)
                self.name = meta["name"]
                return
            events = self._cluster.items(EVENTS, place.namespace)
            if pod and (found := pod_doomed(pod, events)):
                raise DeploymentError(f"no load from the cluster: {found.reason}; {_NEEDS_US}")
            if time.monotonic() > deadline:
                text = f"no load from the cluster: its Pods did not start in {place.start_s:g} s"
                raise DeploymentError(text)

    def _follow(self) -> None:
        """Read the process's lines until its end, over new connections if necessary; skip repeated lines."""
        path = f"{PODS.path(self._place.namespace, self.name)}/log"
        while not self._is_over:
            self._hear_log(path)
            with suppress(UnreachableError):
                pod = self._cluster.find(PODS, self._place.namespace, self.name)
                if self._fate(pod) and (pod is None or self._has_heard_all(path)):
                    break
            self._ask_again()
            self._done.wait(_LOOK_S)
        if not self.first:
            self._refuse(f"no load from the cluster: {self.death()}; {_NEEDS_US}")

    def _hear_log(self, path: str) -> None:
        """Read the log from its start, until the end of the process or of the connection."""
        try:
            for line in self._cluster.follow(path, _QUIET_S, container=CONTAINER, follow="true"):
                self._take(line)
                if self._is_over:
                    return
        except PermissionMissingError:
            raise
        except TFServingError:
            return  # the log is not readable now; the caller checks the Pod next

    @property
    def _is_over(self) -> bool:
        """True if no more lines will be used."""
        return self._done.is_set() or self._has_ended or bool(self._lost)

    def _has_heard_all(self, path: str) -> bool:
        """Read the whole log of a Pod that has ended; return False if the API server is unreachable."""
        try:
            for line in self._cluster.text(path, container=CONTAINER).splitlines():
                self._take(line)
        except NotFoundError:
            return True
        except UnreachableError:
            return False
        return True

    def _take(self, line: str) -> None:
        try:
            said = json.loads(line)
            number, event = said["n"], said["event"]
        except (ValueError, TypeError, KeyError, RecursionError):
            self._words.append(one_line(line))
            return
        if event == "forgotten":
            self._lost = f"lines of the load Pod {self.name} were lost with a part of its log"
        elif number == self._heard + 1:
            self._heard = number
            self._use(said)
        elif number > self._heard:
            self._ask_again()

    def _use(self, message: FirstMessage | ProcessMessage | Records) -> None:
        match message["event"]:
            case "records":
                with self.records.open("ab") as file:
                    file.write(base64.b64decode(message["data"]))
            case "ready" | "refused":
                self.first = message
                self.ready.set()
            case _:
                self._hear(message)
        self._is_leading = message["event"] == "leads"
        self._is_loading = self._is_loading or message["event"] == "tick"
        self._has_ended = message["event"] in ("refused", "end", "led")

    def _ask_again(self) -> None:
        """Ask the process to repeat the lines after the last one read, because a log can lose lines."""
        if self._is_over or time.monotonic() - self._asked_at < _ASK_AGAIN_S:
            return
        self._asked_at = time.monotonic()
        with suppress(TFServingError):
            self._tell(f"again {self._heard + 1}")

    def _refuse(self, text: str) -> None:
        if not self.first:
            self.first = {"event": "refused", "text": text, "details": ""}
