"""A locustfile finds what it would find under ``locust -f``, with the target as its host."""

from __future__ import annotations

import json
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from harness import EXPERIMENTS
from locust_runs import BEGIN, answers, run_locustfile
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.load.generator.generator import LoadGenerator

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project

LOCUST = tuple(map(int, version("locust").split(".")[:2]))
# Every event of a run is noted, and written where SEEN says when Locust quits.
SEEN = """
import json, os, sys
from pathlib import Path
from helpers.names import DONE_NAME

print("a line on standard output")
seen, facts, sent = [], {}, []
for name in ("init", "test_start", "spawning_complete", "test_stopping", "test_stop", "quitting"):
    getattr(events, name).add_listener(lambda name=name, **_: seen.append(name))

@events.init_command_line_parser.add_listener
def add_options(parser):
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--model", default="half", env_var="LOCUST_MODEL")

@events.init.add_listener
def note(environment, runner, **_):
    options = environment.parsed_options
    facts.update(
        host=environment.host,
        rows=options.rows,
        model=options.model,
        options=[options.host, options.num_users, options.spawn_rate, options.run_time, options.headless],
        runner=runner is environment.runner,
        users=[each is Client for each in environment.user_classes],
        web_ui=environment.web_ui,
        argv=sys.argv[0],
    )

@events.request.add_listener
def on_request(name, exception, **_):
    sent.append(name)

@events.user_error.add_listener
def on_user_error(exception, **_):
    seen.append(repr(exception))

@events.quit.add_listener
def write(exit_code, **_):
    content = {"seen": seen, "exit_code": exit_code, "sent": sorted(set(sent)), **facts}
    Path(os.environ["SEEN"]).write_text(json.dumps(content))

class Client(FastHttpUser):
    host = "http://192.0.2.1:9"
    wait_time = constant(0.01)

    def on_start(self):
        seen.append("on_start")
        self.calls = 0

    def on_stop(self):
        seen.append("on_stop")

    @tag("good")
    @task
    def predict(self):
        self.calls += 1
        self.client.post(PATH, json=BODY, name=DONE_NAME)
        if self.calls == 5:
            raise ValueError("the fifth")
        if self.calls == 10:
            self.client.post(DONE, json=BODY)
            gevent.sleep(60)

    @tag("bad")
    @task(1000)
    def never(self):
        raise AssertionError("left out by its tag")
"""
NOT_HTTP = """
import time

class Client(User):
    wait_time = constant(0.05)
    calls = 0

    def fire(self, **how):
        what = {"request_type": "grpc", "name": "predict", "response_length": 0, "exception": None}
        self.environment.events.request.fire(**{**what, "response_time": 12.5, **how})

    @task
    def predict(self):
        Client.calls += 1
        if Client.calls == 1:
            self.fire()
            self.fire(start_time=time.time() - 0.0125)
            self.fire(start_time="now")
            self.fire(start_time=time.perf_counter())
            self.fire(exception="unavailable")
            self.fire(exception=KeyError())
            self.fire(response_time=None)
            self.fire(response_time=-1)
            self.fire(response_time=float("nan"))
            with self.environment.events.request.measure("grpc", "measured"):
                pass
            with self.environment.events.request.measure("grpc", "measured"):
                raise ValueError("measured")
            events.request.fire(request_type="grpc", name="bare", response_time=1, response_length=0)

class Last(FastHttpUser):
    wait_time = constant(0.05)

    @task
    def predict(self):
        if Client.calls > 1:
            self.client.post(DONE, json=BODY)

@events.request.add_listener
def stop_user(name, **_):
    if name == DONE:
        raise StopUser
"""
OPTIONS = """
class Client(User):
    pass

@events.init_command_line_parser.add_listener
def add_options(parser):
    {}
"""
# What is sent goes through a client that Locust does not know, and is told of by the module's events.
OWN_CLIENT = """
import time
import urllib.request

@events.init_command_line_parser.add_listener
def add_options(parser):
    parser.add_argument("--path", default="/v1/models/half:predict")

@events.init.add_listener
def prepare(environment, **_):
    global URL
    URL = environment.host + environment.parsed_options.path

class Client(User):
    wait_time = constant(0.01)

    @task
    def predict(self):
        start = time.perf_counter()
        urllib.request.urlopen(URL, b'{"instances": [1.0]}', timeout=10).read()
        ms = (time.perf_counter() - start) * 1e3
        events.request.fire(
            request_type="own", name="predict", response_time=ms, response_length=0, exception=None
        )
"""
EXIT_CODE = """
class Client(FastHttpUser):
    wait_time = constant(0.01)

    @task
    def predict(self):
        self.client.post(PATH, json=BODY)
        self.client.post(DONE, json=BODY)

@events.quitting.add_listener
def judge(environment, **_):
    environment.process_exit_code = int(environment.stats.total.num_requests > 0)
"""


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `SEEN` writes; the package that it imports lies beside it."""
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "names.py").write_text('DONE_NAME = "named"\n', encoding="utf-8")
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.json"))
    return tmp_path / "seen.json"


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_events_and_options_are_those_of_locust(
    tmp_path: Path, seen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TAGS": "good", "MODEL": "other", "USERS": "77", "HOST": "http://192.0.2.1"}.items():
        monkeypatch.setenv(f"LOCUST_{name}", value)

    with answers() as server:
        ran = run_locustfile(SEEN, tmp_path, server, spawn_rate=50.0)

    host = f"http://127.0.0.1:{server.server_address[1]}"
    found = read(seen)
    found["seen"][2:4] = sorted(found["seen"][2:4])  # a user starts when others let it
    assert found == {
        "seen": [
            *("init", "test_start", "on_start", "spawning_complete", "ValueError('the fifth')"),
            *("test_stopping", "on_stop", "test_stop", "quitting"),
        ],
        "exit_code": 0,
        "sent": ["/done", "named"],
        "host": host,
        "rows": 3,
        "model": "other",
        "options": [host, 1, 50.0, 60, True],
        "runner": True,
        "users": [True],
        "web_ui": None,
        "argv": "locust",
    }
    assert ran.causes.keys() == {"", "ValueError: the fifth"}
    assert ran.causes[""] == len(server.paths)


def test_each_request_fired_is_recorded(tmp_path: Path) -> None:
    with answers() as server:
        ran = run_locustfile(NOT_HTTP, tmp_path, server, users=2)

    assert ran.causes == Counter(
        {
            "": 7,
            "unavailable": 1,
            "KeyError": 1,
            "response_time is None, not a number of milliseconds": 1,
            "response_time is -1, not a number of milliseconds": 1,
            "response_time is nan, not a number of milliseconds": 1,
            "measured": 1,
        }
    )


def test_a_client_of_ones_own_is_measured(project: Project) -> None:
    project.write(tests="def test_gate(load):\n    assert load().rps > 10\n")
    (project.pytester.path / "locustfile.py").write_text(BEGIN + OWN_CLIENT, encoding="utf-8")

    done, (result,) = project.results("--tfserving-locustfile=locustfile.py", "--tfserving-run-time=2")

    done.assert_outcomes(passed=1)
    assert result["errors"] == {}
    assert result["metrics"]["p50_ms"] > 1


def test_weights_and_fixed_counts_hold(tmp_path: Path) -> None:
    classes = "".join(
        f"class {name}(FastHttpUser):\n"
        f"    weight, fixed_count, wait_time = {weight}, {fixed}, constant(0.01)\n"
        f"    @task\n    def predict(self):\n        self.client.post('/{name}', json=BODY)\n"
        "        if self.environment.runner.user_classes_count == {'A': 1, 'B': 2, 'C': 6}:\n"
        "            self.client.post(DONE, json=BODY)\n"
        for name, weight, fixed in (("A", 1, 1), ("B", 1, 0), ("C", 3, 0))
    )
    with answers() as server:
        run_locustfile(classes, tmp_path, server, users=9)

    assert server.done.is_set()
    assert {"/A", "/B", "/C"} <= set(server.paths)


def test_only_the_users_named_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUST_USER_CLASSES", "Client")
    other = "class Other(User):\n    @task\n    def fail(self):\n        raise ValueError\n"

    with answers() as server:
        ran = run_locustfile(EXIT_CODE.partition("@events")[0] + other, tmp_path, server, users=4)

    assert ran.causes.keys() == {""}


@pytest.mark.parametrize("event", ["test_stop", "quitting"])
def test_a_listener_of_the_end_that_exits_fails_the_run(tmp_path: Path, event: str) -> None:
    text = f"@events.{event}.add_listener\ndef judge(**_):\n    raise SystemExit(2)\n"

    with answers() as server:
        ran = run_locustfile(EXIT_CODE.partition("@events")[0] + text, tmp_path, server)

    how = "raised SystemExit: 2" if event == "test_stop" else "set environment.process_exit_code to 2"
    assert ran.run_state.aborted == f"the locustfile {tmp_path}/locustfile.py {how}"
    assert ran.run_state.end is not None


@pytest.mark.parametrize("processes", [1, 2])
def test_an_exit_code_of_locust_fails_the_run(tmp_path: Path, processes: int) -> None:
    with answers() as server:
        ran = run_locustfile(EXIT_CODE, tmp_path, server, users=2, processes=processes)

    if processes == 1:
        assert ran.causes.keys() == {""}
    assert ran.run_state.aborted == (
        f"the locustfile {tmp_path}/locustfile.py set environment.process_exit_code to 1"
    )


def test_a_user_that_does_not_stop_hides_no_exit_code(tmp_path: Path) -> None:
    hung = EXIT_CODE.replace("    @task", "    def on_stop(self):\n        gevent.sleep(60)\n\n    @task")

    with answers() as server:
        ran = run_locustfile(hung, tmp_path, server)

    assert ran.run_state.aborted.endswith("set environment.process_exit_code to 1")


def test_an_exception_in_locusts_master_fails_the_run(tmp_path: Path) -> None:
    text = "@events.test_start.add_listener\ndef begin(environment, **_):\n"
    text += "    assert not environment.parsed_options.master, 'no master'\n"

    with answers() as server:
        ran = run_locustfile(EXIT_CODE + text, tmp_path, server, users=2, processes=2)

    assert ran.run_state.aborted == (
        f"the locustfile {tmp_path}/locustfile.py raised AssertionError: no master in Locust's master"
    )


@pytest.mark.parametrize(
    ("text", "variables", "said"),
    [
        (
            OPTIONS.format("parser.add_argument('--users')"),
            {},
            "the locustfile * cannot add its options: ArgumentError: *conflicting option string: --users*",
        ),
        (
            OPTIONS.format("parser.add_argument('--model', required=True)"),
            {},
            "the options of the locustfile * do not parse: the following arguments are required: --model; "
            "they are given by environment variables, or in locust.conf or pyproject.toml.",
        ),
        (
            OPTIONS.format("parser.add_argument('--rows', type=int, env_var='ROWS')"),
            {"ROWS": "many"},
            "the options of the locustfile * do not parse: argument --rows: invalid int value: 'many'; *",
        ),
        (
            OPTIONS.format("pass"),
            {"LOCUST_USER_CLASSES": "Nobody"},
            "LOCUST_USER_CLASSES names Nobody, which the locustfile * lacks; it has Client.",
        ),
        pytest.param(
            OPTIONS.format("pass"),
            {"LOCUST_CONFIG_USERS": '{"user_class_name": "Nobody"}'},
            "LOCUST_CONFIG_USERS: *locustfile.py has no user 'Nobody'.",
            marks=pytest.mark.skipif(LOCUST < (2, 47), reason="Locust knows it from 2.47 on"),
        ),
        (
            "class Client(User):\n    weight = 0\n",
            {},
            "the locustfile * cannot be used: ValueError: There are no users with weight > 0.",
        ),
        (
            "from . import helpers\n",
            {},
            "the locustfile * cannot be imported: ImportError: attempted relative import *",
        ),
    ],
    ids=["conflict", "required", "value", "users", "settings", "weight", "relative import"],
)
def test_what_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, variables: dict[str, str], said: str
) -> None:
    (tmp_path / "locustfile.py").write_text(BEGIN + text, encoding="utf-8")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with (
        LoadGenerator(tmp_path / "load", 1, tmp_path / "locustfile.py") as child,
        pytest.raises(ConfigurationError) as refused,
    ):
        child.wait_until_ready()

    pytest.LineMatcher([str(refused.value)]).fnmatch_lines([said])


def test_two_shapes_are_refused(project: Project) -> None:
    project.write(EXPERIMENTS.replace("users: 2", "shape: 'steps 1:4:x2'"))
    (project.pytester.path / "locustfile.py").write_text(
        BEGIN + "class Client(User):\n    pass\n\n"
        "class Climb(LoadTestShape):\n    def tick(self):\n        return 1, 1\n",
        encoding="utf-8",
    )

    done = project.run("--tfserving-locustfile=locustfile.py")

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "load profile 'tiny' has the shape 'steps 1:4:x2', and the locustfile */locustfile.py has one of "
            "its own; keep one of them."
        ]
    )
