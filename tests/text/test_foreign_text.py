"""What others wrote steers no terminal, breaks no file, and pings nobody."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

import planted_results as planted
from pytest_tfserving.cli import main
from pytest_tfserving.report.json import json_text
from pytest_tfserving.text.foreign_text import last_line, last_lines, lines, one_line, printable
from servers.odd_server import NASTY, REST_KINDS, OddServer

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project

CLEANED = "�red� @octocat https://evil.invalid `x` |"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, naïve, 中文, עברית, 😀", "plain, naïve, 中文, עברית, 😀"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil.invalid\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\control", "control"),
        ("\x1b]0;no end", "0;no end"),
        ("\x1b", ""),
        ("a\x1bcb", "ab"),
        ("nul\x00 bell\x07 del\x7f", "nul� bell� del�"),
        ("\ud800 lone", "� lone"),
        ("gpj\u202egnp", "gpjgnp"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("a\u2028b\tc\nd", "a b c d"),
        ("\U000e0041\ue000", "��"),
    ],
)
def test_what_cannot_be_shown_is_not(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()
    assert printable(shown) == shown


def test_one_line_has_an_end() -> None:
    assert one_line(" two\r\n  lines ") == "two lines"
    assert one_line("x" * 1_000, 10) == "xxxxxxxxx…"
    assert one_line("\x1b[31m" * 10**6) == ""
    assert one_line(NASTY) == CLEANED


def test_lines_stay_lines() -> None:
    assert lines("a\x1b[1mb\n\tc\r\nd\x00") == "ab\n        c\nd�"
    assert len(lines("x" * 10**6)) < 10_000


def test_the_end_of_a_log_is_read_and_no_more(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"first\n" * 10**6 + b"\xff\x1b[31mlast but one\nlast\n\n")

    assert last_lines(log, 2) == "�last but one\nlast"
    assert last_line(log) == "last"

    log.write_bytes(b"x" * 10**7)
    assert last_line(log).endswith("x…")
    log.write_bytes(b"")
    assert last_lines(log, 3) == ""


EXPERIMENTS = """
profiles:
  tiny: {users: 3, spawn_rate: 3, run_time_s: 8, think_time_s: 0.01, max_lag_ms: 2000, max_cpu_wait: 1}
defaults: {model: ./models/half, payload: request.json, profile: tiny}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["rps>=1"]}
"""


def assert_clean(text: str) -> None:
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]", text)


def test_a_servers_words_are_in_every_report(project: Project) -> None:
    project.write(EXPERIMENTS)
    reports = ["--tfserving-html=out.html", "--tfserving-markdown=out.md", "--junit-xml=out.xml"]
    with OddServer("rest", REST_KINDS["http_500"], after=20, every=2) as server:
        run, (result,) = project.results(
            "--tfserving-target=url", f"--tfserving-url={server.url}", *reports, server=False
        )

    cause = f"HTTP 500: {CLEANED}"
    run.assert_outcomes(failed=1)
    assert [*result["errors"]] == [cause]
    assert_clean(run.stdout.str())
    assert cause in run.stdout.str()
    folder = project.pytester.path
    assert "HTTP 500: �red� @octocat" in (folder / "out.html").read_text(encoding="utf-8")
    ET.parse(folder / "out.xml")
    markdown = (folder / "out.md").read_text(encoding="utf-8")
    assert cause in markdown
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", markdown)
    assert "octocat" not in outside
    assert "evil" not in outside


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "die", "after": 10, "last_words": NASTY},
        {"state": "END", "state_error": NASTY},
    ],
    ids=["its log", "its status"],
)
def test_words_of_a_server_that_fails(project: Project, how: dict[str, object]) -> None:
    project.behave(**how)

    run = project.run("--tfserving-run-time=10")

    run.assert_outcomes(failed=1)
    assert "red" in run.stdout.str()
    assert_clean(run.stdout.str())


def test_words_of_a_locustfile(project: Project) -> None:
    (project.pytester.path / "locustfile.py").write_text(f"raise ValueError({NASTY!r})\n")

    run = project.run("--tfserving-locustfile=locustfile.py")

    assert "ValueError: " in run.stdout.str()
    assert_clean(run.stdout.str())


@pytest.mark.parametrize("key", ["name", "model", "payload"])
def test_texts_of_experiments_can_be_shown(project: Project, key: str) -> None:
    project.write(EXPERIMENTS.replace("inter_op: 1", f'inter_op: 1, {key}: "a\\e[31m\\uD800.json"'))

    run = project.run()

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines([f"*experiments.yaml:6: {key} 'a*' has characters that cannot be shown.*"])


def test_results_of_others_are_cleaned_when_they_are_read(tmp_path: Path) -> None:
    entry = planted.entry(planted.result(experiment=NASTY, aborted=NASTY))
    (tmp_path / "results.json").write_text(json_text(planted.document(entry)), encoding="utf-8")
    outputs = {name: tmp_path / f"out.{name}" for name in ("html", "markdown", "json")}

    options = [f"--{name}={path}" for name, path in outputs.items()]
    assert main(["report", str(tmp_path / "results.json"), *options]) == 0

    (result,) = json.loads(outputs["json"].read_text())["results"]
    assert " ".join(result["aborted"].split()) == CLEANED
    assert_clean(outputs["markdown"].read_text(encoding="utf-8"))
    assert "\x1b" not in outputs["html"].read_text(encoding="utf-8")
