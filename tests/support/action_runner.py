"""A composite action, run as GitHub's runner runs it, and a stand-in for GitHub's API."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
_COMMAND = re.compile(r"::([\w-]+)(?: ([^:]*))?::(.*)")
_REPOSITORY = "somebody/something"
SUCCESS, FAILURE, SKIPPED = "success", "failure", "skipped"


class Command(NamedTuple):
    """A command to the runner, from a line of a step's output."""

    name: str
    properties: dict[str, str]
    message: str


@dataclass
class ActionRun:
    """What a run of an action left behind."""

    outcomes: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    # Actions that it used, with their inputs.
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    log: str = ""
    summary: str = ""
    failed: bool = False

    def commands(self, name: str) -> list[Command]:
        """Return the commands of one name that the runner takes."""
        return [each for each in _commands(self.log) if each.name == name]


class ActionRunner:
    """The runner: folders of a job, the contexts of expressions, and the environment of steps."""

    def __init__(
        self, action: Path, workspace: Path, temp: Path, api: FakeApi, event: Mapping[str, Any]
    ) -> None:
        self._action = action
        self._definition = yaml.safe_load((action / "action.yml").read_text(encoding="utf-8"))
        self._workspace, self._temp = workspace, temp
        temp.mkdir(parents=True)
        (temp / "event.json").write_text(json.dumps(event), encoding="utf-8")
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(action),
            "GITHUB_API_URL": api.url,
            "GITHUB_EVENT_PATH": str(temp / "event.json"),
            "GITHUB_REPOSITORY": _REPOSITORY,
            "GITHUB_RUN_ID": "1234",
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_SHA": "c0ffee",
            "GITHUB_WORKSPACE": str(workspace),
            "RUNNER_TEMP": str(temp),
            "no_proxy": "*",
        }

    def run(self, token: str, **inputs: str) -> ActionRun:
        """Run the steps of the action, with ``_`` for ``-`` in names of inputs."""
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        declared = self._definition["inputs"]
        assert not given.keys() - declared.keys()
        contexts: dict[str, Any] = {"github": {"token": token}, "steps": {}}
        contexts["inputs"] = {
            name: given.get(name, _evaluated(str(about.get("default", "")), contexts))
            for name, about in declared.items()
        }
        run = ActionRun()
        for number, step in enumerate(self._definition["runs"]["steps"]):
            self._step(run, contexts, step, f"step-{number}")
        for name, about in self._definition["outputs"].items():
            run.outputs[name] = _evaluated(about["value"], contexts)
        return run

    def _step(self, run: ActionRun, contexts: dict[str, Any], step: dict[str, Any], name: str) -> None:
        outcome = SKIPPED
        outputs: dict[str, str] = {}
        if _holds(step.get("if", ""), contexts, failed=run.failed):
            if "uses" in step:
                values = {key: _evaluated(str(value), contexts) for key, value in step["with"].items()}
                run.used.append((step["uses"].partition("@")[0], values))
                outcome = SUCCESS
            else:
                outcome, outputs = self._script(run, contexts, step, name)
        run.failed |= outcome == FAILURE
        run.outcomes[step.get("id", step.get("name", name))] = outcome
        if "id" in step:
            contexts["steps"][step["id"]] = {"outputs": outputs, "outcome": outcome}

    def _script(
        self, run: ActionRun, contexts: dict[str, Any], step: dict[str, Any], name: str
    ) -> tuple[str, dict[str, str]]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an expression in a script lets its value be code"
        files = {each: self._temp / f"{name}-{each}" for each in ("script", "output", "summary")}
        for file in files.values():
            file.touch()
        files["script"].write_text(step["run"], encoding="utf-8")
        values = {key: _evaluated(str(value), contexts) for key, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", files["script"]],
            check=False,
            cwd=self._workspace,
            env={
                **self._environment,
                **values,
                "GITHUB_OUTPUT": str(files["output"]),
                "GITHUB_STEP_SUMMARY": str(files["summary"]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        run.log += done.stdout
        run.summary += files["summary"].read_text(encoding="utf-8")
        outputs = _outputs(files["output"].read_text(encoding="utf-8"))
        return (FAILURE if done.returncode else SUCCESS), outputs


class FakeApi:
    """GitHub's API for the comments of one pull request; ``status`` refuses to write any."""

    def __init__(self) -> None:
        self.url = ""
        self.comments: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, str]] = []
        self.status = 0

    def add(self, body: str, kind: str = "Bot", association: str = "NONE") -> dict[str, Any]:
        """Add a comment."""
        comment = {
            "id": 1000 + len(self.comments),
            "body": body,
            "user": {"type": kind},
            "author_association": association,
        }
        self.comments.append(comment)
        return comment

    @contextmanager
    def serve(self) -> Iterator[FakeApi]:
        """Answer on a port of the loopback interface."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Say nothing of requests."""

            def answer(self) -> None:
                size = int(self.headers.get("Content-Length", 0))
                content = json.loads(self.rfile.read(size)) if size else None
                api.requests.append((self.command, self.path, self.headers.get("Authorization", "")))
                status, value = api.answer(self.command, self.path, content)
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = answer  # noqa: N815 - names of http.server

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, method: str, path: str, content: Any) -> tuple[int, Any]:
        """Return the status and the JSON for a request."""
        url = urlsplit(path)
        if method != "GET" and self.status:
            return self.status, {"message": "Resource not accessible by integration"}
        if method == "GET" and url.path == f"/repos/{_REPOSITORY}/issues/7/comments":
            query = parse_qs(url.query)
            size, page = int(query["per_page"][0]), int(query["page"][0])
            return 200, self.comments[size * (page - 1) : size * page]
        if method == "POST" and url.path == f"/repos/{_REPOSITORY}/issues/7/comments":
            return 201, self.add(content["body"])
        for comment in self.comments:
            if method == "PATCH" and url.path == f"/repos/{_REPOSITORY}/issues/comments/{comment['id']}":
                comment["body"] = content["body"]
                return 200, comment
        return 404, {"message": "Not Found"}


def _holds(condition: str, contexts: dict[str, Any], *, failed: bool) -> bool:
    """Return whether a step runs: after a failure only with ``always()``."""
    terms = [term.strip() for term in condition.split("&&")] if condition else []
    if failed and "always()" not in terms:
        return False
    return all(_is_true(term, contexts) for term in terms if term != "always()")


def _is_true(term: str, contexts: dict[str, Any]) -> bool:
    left, operator, right = term.split()
    is_equal = _value(left, contexts) == _value(right, contexts)
    return {"==": is_equal, "!=": not is_equal}[operator]


def _evaluated(text: str, contexts: dict[str, Any]) -> str:
    return _EXPRESSION.sub(lambda match: _value(match[1], contexts), text)


def _value(text: str, contexts: dict[str, Any]) -> str:
    """Return a literal or a value of the contexts; only an output can be unknown, which is empty."""
    if text.startswith("'"):
        return text.strip("'")
    match text.split("."):
        case ["steps", step, "outputs", name]:
            return str(contexts["steps"][step]["outputs"].get(name, ""))
        case ["steps", step, "outcome"]:
            return str(contexts["steps"][step]["outcome"])
        case [context, name]:
            return str(contexts[context][name])
    raise AssertionError(text)


def _outputs(text: str) -> dict[str, str]:
    """Return what a step wrote to GITHUB_OUTPUT, as ``name=value`` or with a delimiter."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        if match := re.fullmatch(r"([\w-]+)<<(\S+)", line):
            found[match[1]] = "\n".join(takewhile(match[2].__ne__, lines))
        else:
            name, _, value = line.partition("=")
            found[name] = value
    return found


def _commands(log: str) -> Iterator[Command]:
    """Yield the commands in a log, but for those between ``stop-commands`` and its end."""
    stopped = ""
    for line in log.splitlines():
        match = _COMMAND.fullmatch(line.strip())
        if stopped:
            stopped = "" if line == f"::{stopped}::" else stopped
        elif match and match[1] == "stop-commands":
            stopped = match[3]
        elif match:
            pairs = (pair.partition("=") for pair in (match[2] or "").split(",") if pair)
            properties = {name: _unescaped(value) for name, _, value in pairs}
            yield Command(match[1], properties, _unescaped(match[3]))


def _unescaped(text: str) -> str:
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text
