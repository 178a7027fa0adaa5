"""Files that somebody damaged: one sentence each, in bounded time and memory."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _mutations import is_one_sentence, mutated_json, mutated_yaml

import planted_results as planted
from pytest_tfserving.cli import main
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.yaml_file import read_file
from pytest_tfserving.report.cost import read_prices

if TYPE_CHECKING:
    from harness import Project

ALL_KEYS = (Path(__file__).parent / "support" / "all_keys.yaml").read_text(encoding="utf-8")
# Far from what any of them takes.
PATIENCE_S = 20


def test_damaged_results_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document, path = planted.every_part(), tmp_path / "results.json"
    reports = [f"--{name}={tmp_path / name}" for name in ("html", "markdown", "json")]
    ended = {0: 0, 2: 0}
    for seed in range(60):
        path.write_bytes(mutated_json(random.Random(seed), document))
        began = time.monotonic()
        status = main(["report", str(path), *reports])
        said = capsys.readouterr().err
        assert status == 0 or is_one_sentence(said.rstrip("\n")), (seed, said)
        assert time.monotonic() - began < PATIENCE_S, seed
        ended[status] += 1
    assert min(ended.values()) > 3, ended


def test_damaged_experiments_are_one_sentence(tmp_path: Path) -> None:
    path, read = tmp_path / "experiments.yaml", 0
    for seed in range(150):
        path.write_bytes(mutated_yaml(random.Random(seed), ALL_KEYS))
        began = time.monotonic()
        said = mistake_in(path)
        assert not said or is_one_sentence(said), (seed, said)
        assert time.monotonic() - began < PATIENCE_S, seed
        read += not said
    assert 5 < read < 145


def mistake_in(path: Path) -> str:
    """Return what is said of a file; empty when it is read."""
    try:
        read_file(path)
    except ConfigurationError as error:
        return str(error)
    return ""


GOOD = "experiments:\n- shape: 1cpu-2gb-1n\n  inter_op: 1\n"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a: &a [x]\n" + GOOD, "unknown key 'a' in the file"),
        ("defaults: &a {slo: [*a]}\n" + GOOD, "values are nested more than 32 deep"),
        ("defaults: {slo: " + "[" * 5_000, "values are nested more than 32 deep"),
        ("defaults: {slo: " + "[" * 50 + "]" * 50 + "}\n" + GOOD, "values are nested more than 32 deep"),
        (f"profiles: {{p: {'x' * 300_000}}}\n" + GOOD, "has more than 256 KB, the most that is read of one."),
        (GOOD.replace("op: 1", "op: 99999999999"), "inter_op must be at most 2147483647, not 99999999999."),
        (GOOD.replace("op: 1", "op: 0x" + "f" * 5_000), ":3: a number of 20000 bits is too large."),
        (GOOD.replace("1cpu", "9999999999cpu"), "is not a shape; write it as"),
        (GOOD.replace("op: 1", "op: []"), ":2: its lists make 0 experiments; from 1 to 10000 are allowed."),
        (
            GOOD.replace("op: 1", f"op: {[*range(1, 20_000)]}"),
            ":2: its lists make 19999 experiments; from 1 to",
        ),
        (GOOD.replace("op: 1", "op: !!int ''"), ":3: '' is not a value of tag:yaml.org,2002:int."),
        (
            GOOD.replace("op: 1", "op: !!python/name:os.system x"),
            "is not a value of tag:yaml.org,2002:python/",
        ),
        ("? [a]\n: b\n" + GOOD, ":1: a key is a text on one line."),
        ('"a\\nb": c\n' + GOOD, ":1: a key is a text on one line."),
        ('a: "\\UFFFFFFFF"\n' + GOOD, "not YAML"),
        (GOOD + "  slo: ['p95<1e999ms']\n", "a limit is neither negative nor infinite."),
        (GOOD + "  name: ''\n", ":4: a name has from 1 to 200 characters, not 0."),
        (GOOD + f"  name: {'x' * 201}\n", ":4: a name has from 1 to 200 characters, not 201."),
        (GOOD + "load_pods: {cpu: 1.2.3}\n", "'1.2.3' is not a valid cpu for a Pod"),
        (GOOD + "profiles: {p: {users: .inf, run_time_s: 1}}\n", "users of a load profile is a whole number"),
        (GOOD + "profiles: {p: {shape: 'ramp 1:9999999999', run_time_s: 1}}\n", "is not a shape of load"),
    ],
)
def test_a_file_that_would_take_too_much_is_refused(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigurationError) as caught:
        read_file(path)

    assert cause in str(caught.value)
    assert is_one_sentence(str(caught.value))


def test_a_bomb_of_aliases_is_refused_by_pytest(project: Project) -> None:
    levels = "abcdefghi"
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise(levels)
    )
    project.write(f"{bomb}experiments: *i\n")

    run = project.run()

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*experiments.yaml:*: more than 100000 values, with what aliases stand for.*"])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("vcpu_hour_usd: &a [*a]\n", "vcpu_hour_usd must be a price in USD an hour, not "),
        ("[" * 5_000, "is not YAML: "),
        ("vcpu_hour_usd: !!int ''\n", "is not YAML: "),
        ("{vcpu_hour_usd: 1, gb_hour_usd: 1, source: [a], date: b}", "source is missing"),
        ("? {a: b}\n: c", "is not YAML: "),
        ("5: 3", "unknown key 5"),
        (f"vcpu_hour_usd: 0x{'f' * 5_000}", "not a number of thousands of digits."),
    ],
)
def test_a_damaged_price_list_is_one_sentence(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigurationError) as caught:
        read_prices(path)

    assert cause in str(caught.value)
    assert is_one_sentence(str(caught.value))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"\xff", "is not UTF-8 text."),
        (b'{"schema_version": NaN}', "is not whole JSON: JSON has no NaN."),
        (b"[" * 100_000, "is nested too deeply."),
        (b"[" * 100 + b"]" * 100, "is nested too deeply."),
        (
            b'{"schema_version": ' + b"9" * 5_000 + b"}",
            "its schema_version is inf, this version reads 1 and 2.",
        ),
        (b'{"schema_version": 1, "results": 3}', "is not a result file of this version: "),
        (b'{"schema_version": 1, "results": [3]}', "results[0] is 3, and the schema asks for type 'object'."),
    ],
)
def test_a_file_that_is_far_from_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, cause: str
) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)

    assert main(["report", str(path), "--markdown", str(tmp_path / "out.md")]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert cause in line
    assert is_one_sentence(line)


def test_what_a_later_version_adds_is_passed_over(tmp_path: Path) -> None:
    document = planted.every_part()
    document["news"] = document["results"][0]["news"] = document["prices"]["news"] = {"a": [1]}
    (tmp_path / "results.json").write_text(json.dumps(document))

    assert main(["report", str(tmp_path / "results.json"), "--markdown", str(tmp_path / "out.md")]) == 0
