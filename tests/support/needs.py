"""What some tests need that a machine may lack: engines, a browser, programs and files of others.

A test names its needs: ``@pytest.mark.needs("docker")``. Tests whose needs are not met are left out, and one
line of the summary says how many and why. ``TFSERVING_E2E=docker,kubernetes`` names needs that must be met:
tests fail without them. With ``TFSERVING_E2E=none`` no engine is used. tests/README.md says how each is met.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatchcase
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from control_groups import cpu_limit

if TYPE_CHECKING:
    from collections.abc import Callable

    from xdist.workermanage import WorkerController

# Needs that must be met, separated by commas; or `none`, and no engine is used.
REQUIRED = "TFSERVING_E2E"
# The image that is deployed; images/Dockerfile makes it.
IMAGE = os.environ.get("TFSERVING_E2E_IMAGE", "pytest-tfserving:dev")
# The context of the cluster to test on; without one the current context is used if it is a local one.
CONTEXT = "TFSERVING_E2E_CONTEXT"
# Another context of that cluster, of a user who may do nothing.
LIMITED_CONTEXT = "TFSERVING_E2E_LIMITED_CONTEXT"
# A command that brings images of the Docker Engine onto every node, as `kind load docker-image`.
LOAD_IMAGE = "TFSERVING_E2E_LOAD_IMAGE"
# A command that takes `stop` or `start` and does that to the cluster's API server.
API_SERVER = "TFSERVING_E2E_API_SERVER"
# A folder with the official stubs, the Python of an environment with min-tfs-client, a folder with TensorFlow
# Text, a folder with other pytest plugins, the schema of JUnit XML.
STUBS = "TFSERVING_TEST_STUBS"
CLIENT = "TFSERVING_TEST_CLIENT"
TEXT = "TFSERVING_TEST_TEXT"
PLUGINS = "TFSERVING_TEST_PLUGINS"
SCHEMA = "XUNIT2_XSD"
# By name: a function that returns why the need is not met, empty if it is.
NEEDS: dict[str, Callable[[], str]] = {}

_ASK_ENGINE = """
import sys, docker
try:
    docker.from_env().images.get(sys.argv[1])
except docker.errors.ImageNotFound:
    print("the engine has no image", sys.argv[1])
except docker.errors.DockerException:
    print("no engine answers")
"""
_LEFT_OUT = pytest.StashKey[Counter[str]]()
_TO_WORKERS, _FROM_WORKERS = "unmet_needs", "left_out"


def _need(name: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    def kept(reason: Callable[[], str]) -> Callable[[], str]:
        NEEDS[name] = cache(reason)
        return NEEDS[name]

    return kept


@_need("docker")
def _docker() -> str:
    if os.environ.get(REQUIRED) == "none":
        return f"{REQUIRED} is none"
    if find_spec("docker") is None:
        return "docker is not installed"
    # In a process of its own: a client that finds no engine leaves its socket open.
    command = [sys.executable, "-c", _ASK_ENGINE, IMAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or ("no engine answers" if done.returncode else "")


def context() -> str:
    """Return the context of the cluster to test on; empty where there is none."""
    return os.environ.get(CONTEXT) or _kubectl("config", "current-context") or ""


@_need("kubernetes")
def _kubernetes() -> str:
    from pytest_tfserving.targets.kubernetes.context import LOCAL_CONTEXTS

    if os.environ.get(REQUIRED) == "none":
        return f"{REQUIRED} is none"
    name = context()
    if not name:
        return "no context"
    if CONTEXT not in os.environ and not any(fnmatchcase(name, pattern) for pattern in LOCAL_CONTEXTS):
        return f"the current context, {name}, is not a local one"
    answers = _kubectl(f"--context={name}", "version", "--request-timeout=5s") is not None
    return "" if answers else f"context {name} does not answer"


def _kubectl(*arguments: str) -> str | None:
    """Return what kubectl prints, None if it fails."""
    from pytest_tfserving.errors import TFServingError
    from pytest_tfserving.targets.kubernetes.kustomize import kubectl

    try:
        done = subprocess.run([kubectl(), *arguments], capture_output=True, text=True, check=False)
    except TFServingError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@_need("long-runs")
def _long_runs() -> str:
    is_asked_for = "long-runs" in os.environ.get(REQUIRED, "").split(",")
    return "" if is_asked_for else f"{REQUIRED} does not ask for what takes minutes"


@_need("browser")
def _browser() -> str:
    return _program("chromedriver") or ("" if chromium() else "no chromium")


def chromium() -> str | None:
    """Return the path of the browser."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@_need("curl")
def _curl() -> str:
    return _program("curl")


@_need("jdk")
def _jdk() -> str:
    return _program("javac") and _program("java")


@_need("node")
def _node() -> str:
    return _program("node")


@_need("wrk")
def _wrk() -> str:
    return _program("wrk")


@_need("ab")
def _ab() -> str:
    return _program("ab")


@_need("hey")
def _hey() -> str:
    return _program("hey")


@_need("rapidjson")
def _rapidjson() -> str:
    return _program("g++") or ("" if Path("/usr/include/rapidjson").exists() else "no rapidjson-dev")


@_need("libevent")
def _libevent() -> str:
    try:
        ctypes.CDLL("libevent-2.1.so.7")
    except OSError:
        return "no libevent-2.1-7"
    return ""


@_need("openssl")
def _openssl() -> str:
    return _program("openssl")


@_need("linux")
def _linux() -> str:
    return "" if sys.platform == "linux" else "the memory that is kept depends on the C library"


@_need("cpu-limit")
def _cpu_limit() -> str:
    try:
        with cpu_limit(10_000, 10_000):
            return ""
    except OSError as error:
        return f"no control group can be made: {error.strerror}"


@_need("x86-64")
def _x86_64() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    return "" if cpuinfo.exists() and "flags\t" in cpuinfo.read_text(encoding="utf-8") else "another CPU"


def _program(name: str) -> str:
    return "" if shutil.which(name) else f"no {name}"


def _variable(name: str) -> Callable[[], str]:
    return lambda: "" if os.environ.get(name) else f"{name} is not set"


_need("limited-context")(_variable(LIMITED_CONTEXT))
_need("api-server")(_variable(API_SERVER))
_need("official-stubs")(_variable(STUBS))
_need("independent-client")(_variable(CLIENT))
_need("tensorflow-text")(_variable(TEXT))
_need("plugins")(_variable(PLUGINS))
_need("junit-schema")(_variable(SCHEMA))


def run_given(variable: str, *arguments: str) -> None:
    """Run the command that an environment variable holds."""
    command = [*shlex.split(os.environ[variable]), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark."""
    config.addinivalue_line("markers", "needs(*names): left out where one of these needs is not met")
    config.stash[_LEFT_OUT] = Counter()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a worker of xdist what is not there: all workers must leave out the same tests."""
    node.workerinput[_TO_WORKERS] = {name: reason() for name, reason in NEEDS.items()}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests whose needs are not met."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        unmet = _unmet(item)
        (left_out if unmet else kept).append(item)
        if unmet:
            config.stash[_LEFT_OUT][unmet] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _unmet(item: pytest.Item) -> str:
    """Return the first need of a test that is not met, with the reason; empty if all are or must be."""
    required = os.environ.get(REQUIRED, "").split(",")
    # The marks of a module, on which all of its tests depend, come first.
    for mark in reversed(list(item.iter_markers("needs"))):
        for name in mark.args:
            reason = _reason(item.config, name)
            if reason and name not in required:
                return f"{name} ({reason})"
    return ""


def _reason(config: pytest.Config, name: str) -> str:
    """Return why a need is not met, empty if it is."""
    told: dict[str, str] = getattr(config, "workerinput", {}).get(_TO_WORKERS, {})
    return told[name] if name in told else NEEDS[name]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose needs must be met and are not."""
    for mark in reversed(list(item.iter_markers("needs"))):
        for name in mark.args:
            if reason := _reason(item.config, name):
                pytest.fail(f"{REQUIRED} asks for {name}: {reason}; see tests/README.md", pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Report from a worker of xdist what it left out."""
    if hasattr(session.config, "workeroutput"):
        left_out: Counter[str] = session.config.stash[_LEFT_OUT]
        session.config.workeroutput[_FROM_WORKERS] = dict(left_out)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """Take over what a worker left out; all left out the same."""
    left_out: Counter[str] = Counter(getattr(node, "workeroutput", {}).get(_FROM_WORKERS, {}))
    config: pytest.Config = node.config
    config.stash[_LEFT_OUT] = left_out or config.stash[_LEFT_OUT]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line what was left out."""
    left_out = config.stash[_LEFT_OUT]
    if left_out:
        each = ", ".join(f"{count} need {unmet}" for unmet, count in left_out.most_common())
        terminalreporter.write_line(f"{left_out.total()} tests are left out: {each}; see tests/README.md")
