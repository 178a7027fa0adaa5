"""Whatever a locustfile's code raises counts as a failed request, and the first of each kind is shown."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from locust_runs import DONE, answers, run_locustfile

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project

AS_IN_THE_DOCS = """
from locust import FastHttpUser, HttpUser, constant, task

class Client({client}):
    wait_time = constant(0.01)

    @task
    def predict(self):
        with self.client.post(
            "/v1/models/half:predict", json={{"instances": [1.0, 2.0]}}, catch_response=True
        ) as answer:
            if answer.json()["predictions"] != [2.5, 3.0]:
                answer.failure("wrong predictions")
"""
STEPS = """
import threading

SAME = ValueError("the same again")

class OddError(Exception):
    def __str__(self):
        raise TypeError

def fail(text):
    raise ValueError(text)

class Steps(SequentialTaskSet):
    def send(self, **more):
        return self.client.post(PATH, json=BODY, **more)

    @task
    def good(self):
        self.send()

    @task
    def in_the_block(self):
        with self.send(catch_response=True) as answer:
            answer.json()["in the block"]

    @task
    def caught(self):
        try:
            with self.send(catch_response=True):
                fail("caught")
        except ValueError:
            pass

    @task
    def after_the_block(self):
        with self.send(catch_response=True):
            pass
        fail("after the block")

    @task
    def before_any_request(self):
        fail("before any request")

    @task
    def after_failure(self):
        with self.send(catch_response=True) as answer:
            answer.failure("marked")
            fail("after failure()")

    @task
    def after_success(self):
        with self.send(catch_response=True) as answer:
            answer.success()
            fail("after success()")

    @task
    def never_marked(self):
        self.send(catch_response=True)

    @task
    def left_for_another_task(self):
        with self.send(catch_response=True):
            raise RescheduleTask

    @task
    def response_error(self):
        with self.send(catch_response=True):
            raise ResponseError("response error")

    @task
    def huge(self):
        fail("x" * 10**6)

    @task
    def of_two_lines(self):
        fail("two\\nlines")

    @task
    def without_text(self):
        raise ValueError

    @task
    def without_any_text(self):
        raise OddError

    @task
    def spawned(self):
        gevent.spawn(fail, "spawned").join()

    @task
    def spawned_and_asked(self):
        gevent.spawn(fail, "spawned and asked").get()

    @task
    def in_a_thread(self):
        thread = threading.Thread(target=fail, args=["thread"])
        thread.start()
        thread.join()

    @task
    def timeout(self):
        with gevent.Timeout(0.001, TimeoutError("too late")):
            gevent.sleep(60)

    @task
    class Nested(TaskSet):
        @task
        def fail_and_leave(self):
            if "has_failed" in vars(self.user):
                self.interrupt()
            self.user.has_failed = True
            fail("nested")

    @task
    def the_same(self):
        raise SAME

    @task
    def the_same_again(self):
        raise SAME

    @task
    def done(self):
        self.client.post(DONE, json=BODY)
        gevent.sleep(60)

class Client({client}):
    wait_time = constant(0)
    tasks = [Steps]
"""
# What the server answers the first requests of a user with: 503 but for the third.
AFTER_FAILURES = """
class Steps(SequentialTaskSet):
    def send(self, **more):
        return self.client.post(PATH, json=BODY, **more)

    @task
    def reads_what_failed(self):
        self.send().json()["predictions"]

    @task
    def sends_nothing(self):
        raise ValueError("sends nothing")

    @task
    def after_a_success(self):
        self.send()
        self.send()
        raise ValueError("after a success")

    @task
    def after_its_block(self):
        with self.send(catch_response=True) as answer:
            answer.failure("marked")
        raise ValueError("after its block")

    @task
    def in_a_greenlet(self):
        def fail():
            raise ValueError("in a greenlet")

        self.send()
        gevent.spawn(fail).join()

    @task
    def done(self):
        self.client.post(DONE, json=BODY)
        gevent.sleep(60)

class Client({client}):
    wait_time = constant(0)
    tasks = [Steps]
"""
ELSEWHERE = """
happened = set()

class Good(FastHttpUser):
    fixed_count = 1
    wait_time = constant(0.02)

    @task
    def predict(self):
        self.client.post(PATH, json=BODY, name="" if "listener" in happened else "the first")
        if happened == {"listener", "on_start", "wait_time", "on_stop", "leave", "set"}:
            self.client.post(DONE, json=BODY)

class Start(User):
    fixed_count = 1

    def on_start(self):
        happened.add("on_start")
        raise ValueError("on_start")

    @task
    def nothing(self):
        pass

class Wait(User):
    fixed_count = 1

    def wait_time(self):
        happened.add("wait_time")
        raise ValueError("wait_time")

    @task
    def nothing(self):
        pass

class Stop(User):
    fixed_count = 1
    wait_time = constant(60)

    def on_stop(self):
        raise ValueError("on_stop")

    @task
    def nothing(self):
        happened.add("on_stop")

class Leave(User):
    fixed_count = 1

    @task
    def leave(self):
        happened.add("leave")
        raise StopUser

class LeaveSet(User):
    fixed_count = 1
    wait_time = constant(60)

    @task
    class Nested(TaskSet):
        def on_stop(self):
            happened.add("set")
            raise ValueError("on_stop of a set")

        @task
        def leave(self):
            self.interrupt(reschedule=False)

@events.request.add_listener
def on_request(name, **_):
    if name == "the first":
        happened.add("listener")
        raise ValueError("listener")

@events.test_stop.add_listener
def on_test_stop(**_):
    raise ValueError("test_stop")
"""
USER = """
class Client(FastHttpUser):
    wait_time = constant(0.01)

    @task
    def predict(self):
        self.client.post(PATH, json=BODY)
"""


@pytest.mark.parametrize("client", ["FastHttpUser", "HttpUser"])
def test_a_response_that_its_block_cannot_read_has_failed(project: Project, client: str) -> None:
    project.behave(mode="http500", after=20, every=2)
    (project.pytester.path / "locustfile.py").write_text(AS_IN_THE_DOCS.format(client=client))

    done, (result,) = project.results("--tfserving-locustfile=locustfile.py", "--tfserving-run-time=10")

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["*FAIL: stopped after*requests failed, more than 20 %*KeyError: 'predictions')*"]
    )
    assert result["errors"].keys() == {"KeyError: 'predictions'"}
    assert result["total_errors"] < result["total_requests"]
    done.stdout.fnmatch_lines(
        [
            "1cpu-1gb-1n-interop1: the locustfile raised:",
            "Traceback (most recent call last):",
            '  File "*/locustfile.py", line 12, in predict',
            "KeyError: 'predictions'",
        ],
        consecutive=False,
    )
    for others in ("site-packages/locust", "gevent/", "src/pytest_tfserving"):
        done.stdout.no_fnmatch_line(f'*File "*{others}*')


@pytest.mark.parametrize("client", ["FastHttpUser", "HttpUser"])
def test_each_exception_counts_once(tmp_path: Path, client: str) -> None:
    with answers() as server:
        ran = run_locustfile(STEPS.replace("{client}", client), tmp_path, server)

    assert ran.causes == Counter(
        {
            "": 5,
            "KeyError: 'in the block'": 1,
            "ValueError: caught": 1,
            "ValueError: after the block": 1,
            "ValueError: before any request": 1,
            "marked": 1,
            "ValueError: after success()": 1,
            "the response was never marked: catch_response=True needs a with block": 1,
            "response error": 1,
            f"ValueError: {187 * 'x'}…": 1,
            "ValueError: two lines": 1,
            "ValueError": 1,
            "OddError: an exception whose text cannot be made": 1,
            "TypeError": 1,  # which that raises when Locust makes its text
            "ValueError: spawned": 1,
            "ValueError: thread": 1,
            "ValueError: spawned and asked": 1,
            "TimeoutError: too late": 1,
            "ValueError: nested": 1,
            "ValueError: the same again": 2,
        }
    )
    assert len(server.paths) == 10
    first, *_ = ran.run_state.tracebacks
    reads = '            answer.json()["in the block"]'
    lines = (tmp_path / "locustfile.py").read_text(encoding="utf-8").splitlines()
    assert first.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{tmp_path}/locustfile.py", line {lines.index(reads) + 1}, in in_the_block',
        f"    {reads.strip()}",
        *[line for line in first.splitlines() if set(line) <= {" ", "~", "^"}],
        "KeyError: 'in the block'",
    ]
    assert len(ran.run_state.tracebacks) == 10
    assert all(len(text) < 1000 and "/locust/" not in text for text in ran.run_state.tracebacks)


@pytest.mark.parametrize("client", ["FastHttpUser", "HttpUser"])
def test_an_exception_right_after_a_failed_request_is_shown_and_counts_with_it(
    tmp_path: Path, client: str
) -> None:
    with answers(lambda number: 503 if number in (1, 2, 4, 5) else 200) as server:
        ran = run_locustfile(AFTER_FAILURES.replace("{client}", client), tmp_path, server)

    known = {
        "": 2,
        "marked": 1,
        "ValueError: sends nothing": 1,
        "ValueError: after a success": 1,
        "ValueError: in a greenlet": 1,
    }
    assert ran.causes.total() == len(server.paths) + 3
    assert {cause: ran.causes[cause] for cause in known} == known
    last_lines = [text.splitlines()[-1] for text in ran.run_state.tracebacks]
    assert last_lines == [
        "KeyError: 'predictions'",
        "ValueError: sends nothing",
        "ValueError: after a success",
        "ValueError: after its block",
        "ValueError: in a greenlet",
    ]


def test_exceptions_outside_of_tasks_count_too(tmp_path: Path) -> None:
    with answers() as server:
        ran = run_locustfile(ELSEWHERE, tmp_path, server, users=6)

    del ran.causes[""]
    assert ran.causes == Counter(
        {
            "ValueError: on_start": 1,
            "ValueError: wait_time": 2,  # Locust asks once more, which ends the user
            "ValueError: on_stop": 1,
            "ValueError: on_stop of a set": 1,
            "ValueError: listener": 1,
            "ValueError: test_stop": 1,
        }
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "@events.init.add_listener\ndef begin(web_ui, **_):\n    web_ui.app.route('/mine')\n",
            "AttributeError: 'NoneType' object has no attribute 'app' before its first user started; "
            "there is no web UI here: web_ui is None, as with locust --headless",
        ),
        (
            "@events.init.add_listener\ndef begin(**_):\n    raise SystemExit(3)\n",
            "SystemExit: 3 before its first user started",
        ),
        (
            "@events.test_start.add_listener\ndef begin(**_):\n    {}['model']\n",
            "KeyError: 'model' before its first user started",
        ),
        (
            "class Client(User):\n    def __init__(self, environment):\n        self.missing\n",
            "AttributeError: 'Client' object has no attribute 'missing' before its first user started",
        ),
        (
            "class Climb(LoadTestShape):\n    def tick(self):\n        return {}['users']\n",
            "KeyError: 'users' before its first user started",
        ),
    ],
    ids=["web UI", "exit", "test_start", "user", "shape"],
)
def test_what_keeps_users_from_starting_ends_the_run(tmp_path: Path, text: str, said: str) -> None:
    with answers() as server:
        ran = run_locustfile(USER + text, tmp_path, server, users=2)

    assert ran.run_state.aborted == f"the locustfile {tmp_path}/locustfile.py raised {said}"
    assert len(ran.run_state.tracebacks) == 1
    assert ran.run_state.ended_at_s < 30


@pytest.mark.parametrize("code", ["0", "'no quota'"])
def test_a_user_that_exits_ends_the_run(tmp_path: Path, code: str) -> None:
    with answers() as server:
        ran = run_locustfile(USER + f"        raise SystemExit({code})\n", tmp_path, server)

    said = code.strip("'")
    assert ran.run_state.aborted == f"the locustfile {tmp_path}/locustfile.py raised SystemExit: {said}"
    assert ran.causes[""] == len(server.paths)
    assert "in predict" in ran.run_state.tracebacks[0]


def test_users_whose_start_fails_are_shown_not_a_short_run(project: Project) -> None:
    (project.pytester.path / "locustfile.py").write_text(
        AS_IN_THE_DOCS.format(client="FastHttpUser") + "    def on_start(self):\n        self.token['t']\n"
    )

    done, (result,) = project.results("--tfserving-locustfile=locustfile.py", "--tfserving-run-time=2")

    done.assert_outcomes(failed=1)
    assert result["errors"] == {"AttributeError: 'Client' object has no attribute 'token'": 2}
    done.stdout.fnmatch_lines(["*the locustfile raised:", "*", '  File "*", line *, in on_start'])
    done.stdout.no_fnmatch_line("*raise run_time_s*")


def test_a_run_without_a_success_is_a_failure_not_a_short_run(project: Project) -> None:
    (project.pytester.path / "locustfile.py").write_text(
        "from locust import User, constant, task\n\n"
        "class Client(User):\n    wait_time = constant(1)\n\n"
        "    @task\n    def fail(self):\n        raise ValueError('always')\n"
    )

    done = project.run("--tfserving-locustfile=locustfile.py", "--tfserving-run-time=2")

    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*FAIL: no request succeeded in * s: all * failed (* x ValueError: always)"])


def test_a_traceback_is_shown_of_a_run_that_passes(project: Project) -> None:
    project.write(tests="def test_gate(load):\n    assert load().errors\n")
    (project.pytester.path / "locustfile.py").write_text(
        AS_IN_THE_DOCS.format(client="FastHttpUser")
        + "            self.calls = getattr(self, 'calls', 0) + 1\n"
        + "            assert self.calls % 10, 'every tenth'\n"
    )

    done, (result,) = project.results("--tfserving-locustfile=locustfile.py")

    done.assert_outcomes(passed=1)
    assert result["errors"].keys() == {"AssertionError: every tenth"}
    done.stdout.fnmatch_lines(["*the locustfile raised:", "*", "AssertionError: every tenth"])


def test_requests_that_are_never_answered_are_failures(tmp_path: Path) -> None:
    with answers(lambda number: 200 if number <= 20 else 0) as server:
        ran = run_locustfile(USER, tmp_path, server, users=2, run_time_s=1.5, stall_s=1.0)

    assert ran.causes == Counter({"": 20, "no response until the end": 2})
    assert ran.run_state.early_end == "stalled"
    assert DONE not in server.paths
