"""The baseline's pulses: load stands still meanwhile, and no server is left frozen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np
import psutil
import pytest

from harness import PATIENCE_S, Project, until
from kept_records import keep_records
from pytest_tfserving.deployment.deployment import Deployment, Endpoint
from pytest_tfserving.deployment.pulses import PulseRow
from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import LoadProfile
from pytest_tfserving.load.baseline import MOST_PULSES, Baseline, Stretches
from pytest_tfserving.load.generator import run as runner
from pytest_tfserving.load.generator.generator import LoadGenerator
from pytest_tfserving.protocols.client import wait_until_available
from pytest_tfserving.report.json import result_as_dict, result_from_dict
from pytest_tfserving.statistics.intervals import ratio_interval
from pytest_tfserving.system.processes import ChildProcess, available_cores
from pytest_tfserving.targets.baseline import worker
from pytest_tfserving.targets.baseline.freeze import Processes, can_be_frozen
from pytest_tfserving.targets.baseline.session import (
    BaselinePlan,
    BaselineSession,
    SessionPulses,
    start_sessions,
)
from server_process import Server, free_port, half_plus_two_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pytest_tfserving.load.result import Result
    from pytest_tfserving.targets.baseline.messages import ProcessesSpec

    Floats = NDArray[np.float64]

EXPORT = Path(__file__).parents[2] / "support" / "export_slow_models.py"
LOCUSTFILE = """
from locust import FastHttpUser, task

class OneUser(FastHttpUser):
    @task
    def predict(self):
        self.client.post("/v1/models/half_plus_two:predict", json={"instances": [1.0, 2.0, 5.0]})
"""
PROFILE = LoadProfile("steady", users=1, run_time_s=2, max_lag_ms=2000, max_cpu_wait=1, early_stop=False)


class Bench:
    """A server that is busy twice as long for a request as the baseline of two replicas is for a call."""

    def __init__(self, models: Path, folder: Path, stack: ExitStack) -> None:
        core, *others = available_cores()
        self.load_cores = frozenset(others or [core])
        port = free_port()
        self.endpoint = Endpoint("127.0.0.1", port)
        server = Server("half_plus_two", models / "twice")
        flags = [*server.command[:3], f"--rest_api_port={port}", *server.command[4:]]
        self.server = ChildProcess(flags, folder / "server.log", [core])
        stack.callback(self.server.stop)
        requests = folder / "requests"
        requests.write_bytes(b"".join(half_plus_two_plan(PROFILE).requests.parts()))
        plan = BaselinePlan(models / "once" / "1", requests, ServingOptions(1, 1), (core,), (core,))
        self.sessions = start_sessions([plan], folder)
        for session in self.sessions:
            stack.callback(session.close)
            session.wait_until_ready(60)
        wait_until_available(
            self.endpoint, "/v1/models/half_plus_two", timeout_s=60, failure=lambda: "", advice=""
        )
        self.folder = folder

    def pulses(self, sessions: list[BaselineSession] | None = None) -> SessionPulses:
        """The pulses of a run of load."""
        servers = Processes([-group for group in self.server.groups()])
        return SessionPulses(sessions or self.sessions, servers, self.folder / "clock")

    def run(
        self,
        profile: LoadProfile,
        monkeypatch: pytest.MonkeyPatch,
        sessions: list[BaselineSession] | None = None,
        locustfile: Path | None = None,
    ) -> tuple[Result, Floats, Floats]:
        """Put load on the server: the result, the records, and the pulses."""
        records = keep_records(monkeypatch)
        experiment = Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "half_plus_two", "json", profile)
        deployment = Deployment(
            experiment,
            "e",
            {"half_plus_two": "/v1/models/half_plus_two"},
            {"rest": (self.endpoint,)},
            "",
            generator_cores=self.load_cores,
        )
        pulses = self.pulses(sessions)
        plan = replace(half_plus_two_plan(profile), clock=pulses.clock)
        with LoadGenerator(self.folder / "load", locustfile=locustfile) as child:
            child.wait_until_ready()
            result, _ = runner.run(child, plan, deployment, lambda _: None, pulses=pulses)
        assert result.errors == {}
        return result, np.concatenate(records), np.array(pulses.rows)


@pytest.fixture(scope="session")
def models(shared: Path) -> Path:
    """The models, written once for all processes of a run."""
    folder = shared / "slow"
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / "long").exists():
            subprocess.run([sys.executable, str(EXPORT), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def bench(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(models, tmp_path_factory.mktemp("bench"), stack)


def of_those_hit(records: Floats, values_ms: Floats, pulses: Floats) -> tuple[Floats, Floats]:
    """The values of requests that were under way at a pulse, or followed by one, and of all others."""
    pulses_s = pulses[:, PulseRow._fields.index("at_s")]
    ends_s = records[:, 0] + values_ms / 1e3
    hit = ((records[:, 0] <= pulses_s[:, None]) & (pulses_s[:, None] <= ends_s)).any(axis=0)
    return values_ms[hit], values_ms[~hit]


def shortest_ms(pulses: Floats) -> float:
    """How long the shortest pulse was."""
    return 1e3 * float(pulses[:, PulseRow._fields.index("busy_s")].min())


def test_all_replicas_take_part_in_a_pulse(bench: Bench, pair: list[BaselineSession]) -> None:
    follower, server = processes_of(bench, pair[1])
    used_s = follower.cpu_times().user
    with bench.pulses(pair) as pulses:
        until(lambda: len(pulses.rows) >= 2, "some pulses")
        until(lambda: follower.cpu_times().user > used_s, "the follower's calls")

    assert pulses.failure() == ""
    assert all(row.calls >= len(pair) for row in pulses.rows)
    assert not frozen(server)


def test_requests_under_way_take_neither_longer_nor_shorter(
    bench: Bench, long: list[BaselineSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pulse takes far longer than a request, so that every one under way would show it."""
    profile = replace(PROFILE, users=2, run_time_s=3)
    _, records, pulses = bench.run(profile, monkeypatch, long)
    hit_ms, others_ms = of_those_hit(records, records[:, 1], pulses)

    assert hit_ms.min() < shortest_ms(pulses)
    # What the server did in a pulse would be missing from them.
    assert hit_ms.min() > others_ms.min() / 2


def test_think_time_stands_still(
    bench: Bench, long: list[BaselineSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = replace(PROFILE, think_time_s=0.15)
    _, records, pulses = bench.run(profile, monkeypatch, long)
    gaps_ms = np.diff(records[:, 0]) * 1e3
    hit_ms, _ = of_those_hit(records[:-1], gaps_ms, pulses)

    assert gaps_ms.min() >= 150
    assert hit_ms.min() < 150 + shortest_ms(pulses)


def test_users_of_a_locustfile_stand_still_too(
    bench: Bench, long: list[BaselineSession], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locust measures on the system's clock: what it says is put on the load clock."""
    (tmp_path / "locustfile.py").write_text(LOCUSTFILE, encoding="utf-8")
    _, records, pulses = bench.run(PROFILE, monkeypatch, long, tmp_path / "locustfile.py")
    hit_ms, others_ms = of_those_hit(records, records[:, 1], pulses)

    assert hit_ms.min() < shortest_ms(pulses)
    assert hit_ms.min() > others_ms.min() / 2


def test_the_schedule_of_an_open_loop_stands_still(
    bench: Bench, long: list[BaselineSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = replace(PROFILE, users=0, rate=10, arrivals="constant")
    _, records, pulses = bench.run(profile, monkeypatch, long)
    due_s = np.sort(records[:, 0] - records[:, 3] / 1e3)  # slow requests are recorded after later ones

    assert len(pulses)
    assert len(records) <= 10 * profile.run_time_s + 1
    np.testing.assert_allclose(np.diff(due_s), 0.1, atol=1e-6)


def test_a_server_that_takes_twice_the_time_has_half_the_efficiency(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a little less, since it does more than the baseline's work twice."""
    result, _, pulses = bench.run(replace(PROFILE, users=2, run_time_s=4), monkeypatch)

    assert len(pulses) >= 3
    low, high = result.intervals["efficiency"]
    assert low <= result.efficiency <= high
    assert low < 0.6
    assert high > 0.15


def frozen(process: psutil.Process) -> bool:
    """Whether a process is stopped."""
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.NoSuchProcess:
        return False


def stopped_in_a_pulse(leader: psutil.Process, server: psutil.Process) -> bool:
    """Stop the process that makes the pulses in the middle of one, if there is one just now."""
    if not frozen(server):
        return False
    leader.suspend()
    until(lambda: frozen(leader), "the leader's stop")
    if frozen(server):
        return True
    leader.resume()
    return False


def is_running(process: psutil.Process) -> bool:
    """Whether a process is there and not only waits to be reaped."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def processes_of(bench: Bench, session: BaselineSession) -> tuple[psutil.Process, psutil.Process]:
    """The process of a session, and the server's."""
    (group,) = bench.server.groups()
    return psutil.Process(session._process.pid), psutil.Process(group)


@pytest.fixture(scope="module")
def long(
    bench: Bench, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[BaselineSession]]:
    """A baseline whose calls are long."""
    core = available_cores()[0]
    plan = BaselinePlan(
        models / "long" / "1", bench.folder / "requests", ServingOptions(1, 1), (core,), (core,)
    )
    sessions = start_sessions([plan], tmp_path_factory.mktemp("long"))
    sessions[0].wait_until_ready(60)
    yield sessions
    sessions[0].close()


@pytest.fixture
def pair(bench: Bench, models: Path, tmp_path: Path) -> Iterator[list[BaselineSession]]:
    """A leader and a follower of their own, which may be killed."""
    core = available_cores()[0]
    plan = BaselinePlan(
        models / "once" / "1", bench.folder / "requests", ServingOptions(1, 1), (core,), (core,)
    )
    sessions = start_sessions([plan, plan], tmp_path)
    for session in sessions:
        session.wait_until_ready(60)
    yield sessions
    for session in sessions:
        session.close()


@pytest.mark.parametrize("killed", [0, 1], ids=["leader", "follower"])
def test_when_a_process_of_the_baseline_is_killed_the_server_goes_on(
    bench: Bench, pair: list[BaselineSession], killed: int
) -> None:
    leader, server = processes_of(bench, pair[0])
    with bench.pulses(pair) as pulses:
        until(lambda: stopped_in_a_pulse(leader, server), "a pulse")
        processes_of(bench, pair[killed])[0].kill()
        if killed:
            leader.resume()
        until(pulses.failure, "the failure")

        assert pulses.failure().startswith("a process of the baseline ended during the load")
        until(lambda: not frozen(server), "the server's thaw")
        until(lambda: not pulses.clock.stands, "the clock's going on")


def test_a_frozen_server_can_be_stopped(tmp_path: Path) -> None:
    sleeper = ChildProcess([sys.executable, "-c", "__import__('time').sleep(600)"], tmp_path / "log")
    until(sleeper.groups, "a process")
    (group,) = sleeper.groups()
    os.killpg(group, signal.SIGSTOP)
    sleeper.stop()

    assert not psutil.pid_exists(group)


class Refusing:
    """What an engine says that cannot pause."""

    def freeze(self) -> None:
        raise DeploymentError("cannot pause rootless containers")

    def thaw(self) -> None:
        """Nothing was stopped."""

    def spec(self) -> ProcessesSpec:
        return {"pids": []}


def test_there_is_no_baseline_of_a_server_that_cannot_be_frozen() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    assert not can_be_frozen(Refusing())
    assert can_be_frozen(Processes([gone.pid]))


BARE = """
defaults: {{model: "{model}", payload: request.json, profile: long}}
profiles:
  long: {{users: 1, run_time_s: 60, early_stop: false, max_lag_ms: 2000, max_cpu_wait: 1}}
experiments: [{{shape: 1cpu-1gb-1n, inter_op: 1, slo: ["efficiency>=0.0001%"]}}]
"""


class Frozen:
    """A run of pytest whose server is frozen in a pulse that does not end: its baseline is stopped, too."""

    def __init__(self, project: Project, models: Path) -> None:
        pids = project.pytester.path / "pids"
        project.behave(pid_file=str(pids))
        project.write(BARE.format(model=models / "once"))
        self.run = psutil.Popen(
            [*(sys.executable, "-m", "pytest", "-p", "no:locust"), f"--tfserving-server={project.server}"],
            cwd=project.pytester.path,
            stdout=subprocess.PIPE,
        )
        until(lambda: pids.exists() and pids.read_text(encoding="utf-8"), "a server")
        server = psutil.Process(int(pids.read_text(encoding="utf-8").split()[0]))
        until(lambda: frozen(server), "a pulse")
        self.family = self.run.children(recursive=True)
        (self.baseline,) = [
            each for each in self.family if "pytest_tfserving.targets.baseline.worker" in each.cmdline()
        ]
        until(lambda: stopped_in_a_pulse(self.baseline, server), "a pulse")

    def has_ended(self) -> bool:
        """Whether no process of it is left."""
        return not any(is_running(each) for each in self.family)


def test_when_pytest_and_the_baseline_are_killed_no_frozen_server_stays(
    project: Project, models: Path
) -> None:
    """The watcher ends it, as it does whenever pytest is gone."""
    it = Frozen(project, models)
    it.run.kill()
    it.baseline.kill()
    it.run.communicate()

    until(it.has_ended, "the end of all processes")


def test_an_interrupted_run_ends_with_its_pulse(project: Project, models: Path) -> None:
    it = Frozen(project, models)
    it.run.send_signal(signal.SIGINT)
    it.baseline.resume()
    output, _ = it.run.communicate(timeout=PATIENCE_S)

    assert "the run was interrupted" in output.decode()
    until(it.has_ended, "the end of all processes")


def test_of_very_many_pulses_neighbours_are_joined() -> None:
    """Of three and three: 10, 20 and 30 calls a second are 20."""
    pulses = [PulseRow(0.8 * number, 1 + number % 3, 0.1, 5.0) for number in range(3 * MOST_PULSES)]
    found = Baseline.of(pulses)

    assert found is not None
    assert len(found.at_s) <= MOST_PULSES
    assert found.mean_rps == pytest.approx(20)
    assert found.mean_latency_ms == pytest.approx(5)
    assert Baseline.of([]) is None


@pytest.mark.parametrize("pulses", [0, 1, 2])
def test_few_pulses_in_the_window_have_no_interval(pulses: int) -> None:
    rows = [PulseRow(1.0 + number, 10, 0.1, 5.0) for number in range(pulses)]
    stretches = Stretches(rows, 0.5, 9.5)
    stretches.add(np.arange(1.0, 9.0, 0.01))

    assert stretches.interval(1.0, noise_memory_s=1.0) is None


def test_the_interval_lies_around_the_figure_of_the_whole_window() -> None:
    """A server that serves no request before the first pulse has a lower figure than its stretches."""
    rows = [PulseRow(5.0 + number, 100, 1.0, 5.0) for number in range(4)]
    stretches = Stretches(rows, 0.0, 8.0)
    stretches.add(np.arange(5.0, 8.0, 0.02))

    low, high = stretches.interval(150 / 8 / 100, noise_memory_s=1.0) or (0.0, 0.0)

    assert low <= 150 / 8 / 100 <= high < 0.25


def test_results_of_before_there_were_pulses_can_be_read() -> None:
    from harness import RESULT

    values = result_as_dict(RESULT)
    values["baseline"] = {"rps": [100.0, 150.0], "latency_ms": [8.0, 10.0]}

    found = result_from_dict(values)

    assert 100 / 150 < found.efficiency < 100 / 100


def test_the_interval_of_the_efficiency_leaves_out_what_both_have_in_common() -> None:
    random = np.random.default_rng(1)
    speed = np.exp(0.3 * np.repeat(random.standard_normal(8), 10))  # of a machine that wanders
    counts = random.poisson(80 * speed).astype(float)
    paired = ratio_interval(counts, 100 * speed, 1.0, 10.0)
    unpaired = ratio_interval(counts, np.full(80, 100.0), 1.0, 10.0)

    assert paired is not None
    assert unpaired is not None
    assert paired[0] < 0.8 < paired[1]
    assert paired[1] - paired[0] < (unpaired[1] - unpaired[0]) / 2


@pytest.mark.parametrize("kinds", [1, 3])
def test_each_kind_is_called_however_long_it_takes(monkeypatch: pytest.MonkeyPatch, kinds: int) -> None:
    monkeypatch.setattr(worker, "_ANSWERS_S", -1)

    assert len(worker.first_answers(lambda _: b"{}", 10, kinds)) == kinds


def test_kinds_that_take_too_long_are_left_out_but_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_KINDS_S", -1)

    assert worker.first_answers(lambda _: b"{}", 10, 3) == [{}]
