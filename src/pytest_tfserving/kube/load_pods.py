"""Load from Pods of the cluster: Locust's master and workers as Jobs, told by attach, heard by their logs."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pytest_tfserving.errors import ConfigurationError, DeploymentError, TFServingError
from pytest_tfserving.foreign_text import one_line
from pytest_tfserving.interruption import without_interruption
from pytest_tfserving.kube.attach import StandardInput
from pytest_tfserving.kube.cluster import (
    EVENTS,
    JOBS,
    PODS,
    Cluster,
    NotFoundError,
    PermissionMissingError,
    UnreachableError,
    persistently,
)
from pytest_tfserving.kube.load_manifests import (
    CONTAINER,
    MASTER,
    WORKERS,
    LoadJobs,
    labels,
    locustfile_map,
)
from pytest_tfserving.kube.names import GRPC_PORT, LOAD
from pytest_tfserving.kube.objects import AWAY_S, running, wait_until_gone
from pytest_tfserving.kube.readiness import ended, has_started, pod_doomed
from pytest_tfserving.targets.deployment import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_tfserving.experiment import LoadPods
    from pytest_tfserving.kube.cluster import Object
    from pytest_tfserving.load.place import Hear
    from pytest_tfserving.targets.deployment import Deployment
    from pytest_tfserving.targets.labels import Tags

_LOOK_S = 0.25
_LAST_WORDS = 20
_END_S = 5.0
# Load processes that work say something twice a second.
_QUIET_S = 5.0
_ASK_AGAIN_S = 2.0
_MASTER_PORT = 5557
_MOST_PROCESSES = 64
_LARGEST_LOCUSTFILE = 900_000
# The first versions of Kubernetes that know indexed Jobs without being asked to.
_INDEXED_SINCE = (1, 22)
_NEEDS_US = "the image of load Pods needs pytest-tfserving in it (--tfserving-load-image)"


@dataclass(frozen=True, slots=True)
class PodPlace:
    """The cluster that a deployment is on; see `place.Place`.

    ``inside`` are the addresses of its replicas there, ``image`` what load Pods start, and ``start_s`` how
    long they may take to.
    """

    cluster: Cluster
    namespace: str
    tags: Tags
    inside: tuple[Endpoint, ...]
    image: str
    pods: LoadPods
    start_s: float
    silence_s: float = AWAY_S
    same_clock: bool = False

    def most_processes(self, _: Deployment) -> int:
        """As many as are asked for: the scheduler knows."""
        return _MOST_PROCESSES

    def endpoints(self, deployment: Deployment) -> Sequence[Endpoint]:
        """The replicas' addresses in the cluster."""
        if deployment.experiment.protocol == "grpc":
            return [Endpoint(each.host, GRPC_PORT, protocol="grpc") for each in self.inside]
        return self.inside

    @contextmanager
    def team(
        self, folder: Path, processes: int, locustfile: Path | None, hear: Callable[[int], Hear]
    ) -> Iterator[PodTeam]:
        """Jobs that were created, and are gone with the context."""
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
            raise ConfigurationError(f"{locustfile} is too large to be brought to load Pods: over 900 kB.")
        manifest = locustfile_map(locustfile.name, text, self.tags)
        self.cluster.apply(manifest, self.namespace)

    def _knows_indexed_jobs(self) -> bool:
        version = self.cluster.get("/version")
        numbers = (str(version[name]).rstrip("+") for name in ("major", "minor"))
        return tuple(map(int, numbers)) >= _INDEXED_SINCE

    def _delete(self) -> None:
        """Delete the Jobs and wait for their Pods; the deployment's own end does it again if that fails."""
        with suppress(TFServingError):
            with without_interruption():
                for name in (WORKERS, MASTER):
                    persistently(partial(self.cluster.delete, JOBS, self.namespace, name), AWAY_S)
            wait_until_gone(lambda: running(self.cluster, self._load_pods()))

    def _load_pods(self) -> list[Object]:
        return self.cluster.items(PODS, self.namespace, {LOAD: self.tags.run})


class PodTeam:
    """The Pods of a run of load; see `place.Team`."""

    def __init__(self, place: PodPlace, folder: Path, processes: int, hear: Callable[[int], Hear]) -> None:
        self.workers = [LoadPod(place, folder, WORKERS, index, hear(index)) for index in range(processes)]
        self.master = LoadPod(place, folder, MASTER, 0, hear(processes)) if processes > 1 else None

    def master_address(self) -> tuple[str, int]:
        """The master's Pod."""
        assert self.master is not None
        return self.master.address, _MASTER_PORT

    def end(self) -> None:
        """End what hears the Pods."""
        for process in (*self.workers, *([self.master] if self.master else [])):
            process.end()


class LoadPod:
    """The Pod number ``index`` of a Job, once there is one; see `place.Process`."""

    sink = ""

    def __init__(self, place: PodPlace, folder: Path, job: str, index: int, hear: Hear) -> None:
        self.records = folder / f"records{index}.f64"
        self.ready = threading.Event()
        self.first: dict[str, Any] = {}
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
        self._asked_at = 0.0
        self._lost = ""
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._stdin: StandardInput | None = None
        self._telling = threading.Lock()
        self._done = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def write(self, text: str) -> None:
        """Write one line to it, waiting for an API server that is away; a Pod that is gone needs none."""
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
        """Hear what it says until its end, if that comes soon; a master ends when it is told to."""
        if self._done.is_set():
            return
        if self._is_leading:
            self._tell_to_stop()
        if self._is_leading or self._job == WORKERS:
            self._reader.join(_END_S)
        self._done.set()
        if self._stdin:
            self._tell_to_stop()
            self._stdin.close()
        self._cluster.close()

    def death(self) -> str:
        """How it ended, or why what it says is of no use any more; empty while it runs and is heard."""
        if not self.name:
            return ""
        try:
            fate = self._fate(persistently(self._found, AWAY_S))
        except TFServingError as error:
            return str(error)
        return fate or self._lost

    def _found(self) -> Object | None:
        return self._place.cluster.find(PODS, self._place.namespace, self.name)

    def _fate(self, pod: Object | None) -> str:
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
        """Wait for the container, and know its Pod.

        Raises:
            DeploymentError: when it will never start.
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
        """Hear its lines until its end; over a new connection, the old ones are passed over."""
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
        """Hear what is in the log and comes to it, until its end or the end of the connection."""
        try:
            for line in self._cluster.follow(path, _QUIET_S, container=CONTAINER, follow="true"):
                self._take(line)
                if self._is_over:
                    return
        except PermissionMissingError:
            raise
        except TFServingError:
            return  # away, or not there for now: what has become of the Pod is looked at next

    @property
    def _is_over(self) -> bool:
        """Whether nothing more is to be heard."""
        return self._done.is_set() or self._has_ended or bool(self._lost)

    def _has_heard_all(self, path: str) -> bool:
        """Whether nothing is in the log that was not heard, now that no more can come."""
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
            self._use(event, said)
        elif number > self._heard:
            self._ask_again()

    def _use(self, event: str, said: dict[str, Any]) -> None:
        if event == "records":
            with self.records.open("ab") as file:
                file.write(base64.b64decode(said["data"]))
        elif event in ("ready", "refused"):
            self.first = said
            self.ready.set()
        else:
            self._hear(said)
        self._is_leading = event == "leads"
        self._has_ended = event in ("refused", "end", "led")

    def _ask_again(self) -> None:
        """Have it say again what follows the last line that was heard: a log can lose a part."""
        if self._is_over or time.monotonic() - self._asked_at < _ASK_AGAIN_S:
            return
        self._asked_at = time.monotonic()
        with suppress(TFServingError):
            self._tell(f"again {self._heard + 1}")

    def _refuse(self, text: str) -> None:
        if not self.first:
            self.first = {"event": "refused", "text": text}
