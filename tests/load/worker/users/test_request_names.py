"""Names of a locustfile's requests: each request of any client has the name that Locust gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locust_runs import DONE, answers, run_locustfile
from pytest_tfserving.load.kinds import MOST_NAMES, OTHER_NAMES
from pytest_tfserving.load.worker.users.request_names import RequestNames

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_tfserving.deployment.load_messages import Kind

NAMED = """
class Client(FastHttpUser):
    wait_time = constant(60)

    def on_start(self):
        self.client.post("/log/in", json=BODY)

    @task
    def predict(self):
        self.client.post(PATH, json=BODY, name="search")
        with self.client.rename_request("grouped"):
            self.client.post(PATH, json=BODY)
        with self.client.post(PATH, json=BODY, name="marked", catch_response=True) as response:
            response.failure("wrong")
        with self.client.post(PATH, json=BODY, name="raised", catch_response=True):
            raise KeyError("predictions")

class Other(HttpUser):
    fixed_count = 1
    wait_time = constant(60)

    @task
    def predict(self):
        self.client.post(PATH, json=BODY, name="search")
        self.client.post(PATH, json=BODY, name="left alone", catch_response=True)
        events.request.fire(request_type="grpc", name=None, response_time=1, response_length=0)
        self.client.post(DONE, json=BODY)
        raise ValueError("of my own")
"""
UNANSWERED = """
class Client(%s):
    wait_time = constant(60)

    @task
    def predict(self):
        gevent.spawn(self.client.post, DONE, json=BODY)
        self.client.post(PATH, json=BODY, name="slow")
"""


def test_each_request_has_its_name(tmp_path: Path) -> None:
    with answers() as server:
        ran = run_locustfile(NAMED, tmp_path, server, users=2)

    assert ran.names == {
        "/log/in": 1,
        "search": 2,
        "grouped": 1,
        "marked": 1,
        "raised": 1,
        "left alone": 1,
        "unnamed": 1,
        DONE: 1,
        "exceptions": 1,
    }


@pytest.mark.parametrize("user", ["FastHttpUser", "HttpUser"])
def test_a_request_without_a_response_has_its_name(tmp_path: Path, user: str) -> None:
    with answers(lambda _: 0) as server:
        ran = run_locustfile(UNANSWERED % user, tmp_path, server, stall_s=0.5)

    assert ran.names == {DONE: 1, "slow": 1}


def test_any_value_and_any_number_of_names_is_taken() -> None:
    said: list[Kind] = []
    names = RequestNames(2, said.append)
    numbers = [names.number(each) for each in (None, 5, "", "a\nb", "a b")]

    assert numbers == [2000, 2000, 2000, 2001, 2001]
    assert [each["text"] for each in said] == ["unnamed", "a b"]

    numbers = [names.number(f"/item/{each}") for each in range(2 * MOST_NAMES)]

    assert len(said) == MOST_NAMES + 1
    assert (said[-1]["text"], said[-1]["index"]) == (OTHER_NAMES, numbers[-1])
