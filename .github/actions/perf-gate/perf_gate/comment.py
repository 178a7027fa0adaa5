"""``comment``: one comment on the pull request, which is updated instead of repeated."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from perf_gate.runner import annotate, gate_folder, input_of, pull_request

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = 100
_TIMEOUT_S = 30
_FORBIDDEN = (401, 403, 404)
# Anybody can write a comment with the marker; these authors, and bots, can write this one.
_TRUSTED = ("OWNER", "MEMBER", "COLLABORATOR")


def run() -> None:
    """Create or update the comment; a comment that cannot be written fails nothing."""
    number = pull_request().get("number")
    if number is None:
        annotate("notice", "no comment: this run belongs to no pull request.", title="perf-gate")
        return
    text = (gate_folder() / "comment.md").read_text(encoding="utf-8")
    marker = f"<!-- pytest-tfserving perf-gate: {input_of('NAME')} -->"
    try:
        _write(number, marker, f"{marker}\n{text}")
    except urllib.error.HTTPError as error:
        annotate("warning", _refused(error.code), title="perf-gate")
    except (OSError, http.client.HTTPException) as error:
        annotate("warning", f"no comment: GitHub's API cannot be reached: {error}.", title="perf-gate")


def _refused(status: int) -> str:
    if status not in _FORBIDDEN:
        return f"no comment: GitHub's API answered with status {status}. The job's summary has the same text."
    return (
        f"no comment: the token may not write it (status {status}). The job needs the permission "
        "pull-requests: write, which pull requests of forks do not get. The job's summary has the same text."
    )


def _write(number: int, marker: str, text: str) -> None:
    for comment in _comments(number):
        if _is_ours(comment, marker):
            _request("PATCH", f"issues/comments/{comment['id']}", {"body": text})
            return
    _request("POST", f"issues/{number}/comments", {"body": text})


def _is_ours(comment: dict[str, Any], marker: str) -> bool:
    # The account of an author may be gone.
    author = comment["user"] or {}
    is_trusted = author.get("type") == "Bot" or comment["author_association"] in _TRUSTED
    return is_trusted and (comment["body"] or "").startswith(marker)


def _comments(number: int) -> Iterator[dict[str, Any]]:
    page = 1
    while True:
        found = _request("GET", f"issues/{number}/comments?per_page={_PAGE}&page={page}")
        yield from found
        if len(found) < _PAGE:
            return
        page += 1


def _request(method: str, path: str, content: dict[str, str] | None = None) -> Any:
    """Return the JSON of a response of GitHub's API."""
    url = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}"
    request = urllib.request.Request(
        url,
        method=method,
        data=None if content is None else json.dumps(content).encode(),
        headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
    )
    # A redirection must not take the token elsewhere.
    request.add_unredirected_header("Authorization", f"Bearer {os.environ['GITHUB_TOKEN']}")
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
        return json.load(response)
