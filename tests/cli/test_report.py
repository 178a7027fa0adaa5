"""``pytest-tfserving report``: any report again, from the JSON of one or more runs."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jsonschema
import pytest

import planted_results as planted
import pytest_tfserving
from pytest_tfserving.cli import main
from pytest_tfserving.load.result import Result
from pytest_tfserving.report.formatting import figure, roles
from pytest_tfserving.report.json import finite, json_text, metrics, result_from_dict
from pytest_tfserving.slo.language import Decision, Undecided
from pytest_tfserving.slo.noise import Noise, NoiseKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness import Project
    from pytest_tfserving.report.schema import RunData

SCHEMA = json.loads((Path(pytest_tfserving.__file__).parent / "report" / "results.schema.json").read_text())


def written(tmp_path: Path, document: Mapping[str, object], name: str = "results.json") -> str:
    path = tmp_path / name
    path.write_text(json_text(document), encoding="utf-8")
    return str(path)


def test_the_schema_holds_for_real_results(project: Project) -> None:
    project.results()

    jsonschema.validate(json.loads((project.pytester.path / "out.json").read_text()), SCHEMA)


def test_the_schema_holds_for_all_verdicts() -> None:
    jsonschema.validate(json.loads(json.dumps(finite(planted.study()))), SCHEMA)


DECISION = Decision(holds=True, alpha=0.01, after_s=8.0, at_s=9.5, n_eff=310.0, noise_memory_s=10.0)
NOISE = Noise(NoiseKind.MACHINE, 0.21, 4.0, resolution=0.3)
UNDECIDED = Undecided(0.01, 40.0, noise=NOISE, length_s=30.0, noise_memory_s=10.0)
QUEUE = Undecided(
    0.01, math.inf, noise=Noise(NoiseKind.QUEUE, in_flight=4.0), length_s=30.0, noise_memory_s=10.0
)


def decided_result() -> dict[str, Any]:
    """The JSON of a result with one SLO proved, and two that were not."""
    result = planted.result(
        decided={"rps>=40": DECISION}, undecided={"p95<400ms": UNDECIDED, "p99<500ms": QUEUE}
    )
    document = json.loads(json_text(planted.document(planted.entry(result, "rps>=40", "p95<400ms"))))
    jsonschema.validate(document, SCHEMA)
    return dict(document["results"][0])


def test_what_was_proved_and_what_kept_it_open_comes_back() -> None:
    known = decided_result()
    again = result_from_dict(of_result(known))

    assert known["decided"]["rps>=40"]["noise_memory_s"] == 10
    assert known["undecided"]["p95<400ms"]["noise"] == {
        "kind": "machine",
        "sd": 0.21,
        "memory_s": 4.0,
        "in_flight": 1.0,
        "resolution": 0.3,
    }
    assert known["undecided"]["p99<500ms"]["noise"]["sd"] is None
    assert [str(each) for each in again.decided.values()] == [str(DECISION)]
    assert [str(each) for each in again.undecided.values()] == [str(UNDECIDED), str(QUEUE)]
    assert again.undecided["p95<400ms"] == UNDECIDED


def test_results_of_before_noise_was_told_are_still_read() -> None:
    known = decided_result()
    del known["decided"]["rps>=40"]["noise_memory_s"]
    for each in known["undecided"].values():
        for name in ("noise", "length_s", "noise_memory_s"):
            del each[name]
    again = result_from_dict(of_result(known))

    assert str(again.decided["rps>=40"]) == "proved in 8.0 s (alpha 0.01, n_eff 310)"
    assert str(again.undecided["p95<400ms"]) == (
        "undecided (alpha 0.01): about 40 s more (--tfserving-run-time) would likely decide it"
    )


def of_result(known: dict[str, Any]) -> RunData:
    """Those values of a result's JSON that are the result's own."""
    own = {part.name for part in fields(Result)}
    values = {name: value for name, value in known.items() if name in own or name == "recording"}
    return cast("RunData", values)


def test_the_schema_refuses_what_it_does_not_know() -> None:
    document = json.loads(json.dumps(finite(planted.document(planted.entry(planted.result())))))
    document["results"][0]["surprise"] = 1

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"run_time_s": "long"}, "results[0].profile.run_time_s is 'long'"),
        ({"users": None}, "results[0].profile.users is None"),
        ({"shape": 3}, "results[0].profile.shape is 3"),
    ],
)
def test_a_load_profile_that_somebody_changed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], cause: str
) -> None:
    document = json.loads(json_text(planted.document(planted.entry(planted.result()))))
    document["results"][0]["profile"] |= changes

    assert main(["report", written(tmp_path, document), "--html", str(tmp_path / "again.html")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert cause in line


def test_results_of_before_there_were_run_records_are_shown(tmp_path: Path) -> None:
    document = json.loads(json_text(planted.document(planted.entry(planted.result()))))
    (result,) = document["results"]
    del result["run_record"], result["warnings"], result["generator"]["stood"]
    pages = [str(tmp_path / name) for name in ("again.html", "again.md")]

    assert main(["report", written(tmp_path, document), "--html", pages[0], "--markdown", pages[1]]) == 0
    assert "load reached" not in Path(pages[0]).read_text(encoding="utf-8")
    assert result_from_dict(of_result(result)).run_record is None


def test_warnings_and_the_load_reached_are_in_every_report(tmp_path: Path) -> None:
    planted_result = planted.result(warnings=("the server sheds load: it refused 9 requests",))
    document = json.loads(json_text(planted.document(planted.entry(planted_result))))
    pages = [str(tmp_path / name) for name in ("again.html", "again.md")]

    assert main(["report", written(tmp_path, document), "--html", pages[0], "--markdown", pages[1]]) == 0
    html, markdown = (Path(page).read_text(encoding="utf-8") for page in pages)
    assert "the server sheds load: it refused 9 requests" in html
    assert "the server sheds load: it refused 9 requests" in markdown
    assert "<td>load reached</td><td>1 to 150 users; " in html
    assert result_from_dict(of_result(document["results"][0])).run_record == planted_result.run_record


def test_the_terminals_figures_are_in_every_report(project: Project) -> None:
    planted.instead_of_load(project)

    run, (result,) = project.results("--tfserving-html=out.html", "--tfserving-markdown=out.md")
    folder = project.pytester.path

    again = ["--html", str(folder / "again.html"), "--markdown", str(folder / "again.md")]
    assert main(["report", str(folder / "out.json"), *again]) == 0

    row = next(line for line in run.outlines if line.startswith("1cpu-1gb-1n-interop1 "))
    shown = row.split()[1:5]
    assert shown == [figure(result["metrics"][name]) for name in ("rps", "p50_ms", "p95_ms", "p99_ms")]
    page = (folder / "again.html").read_text(encoding="utf-8")
    rows = dict(re.findall(r"<tr><td>(rps|p50 ms|p95 ms|p99 ms)</td><td>([^<]*)</td>", page))
    assert [rows[name] for name in ("rps", "p50 ms", "p95 ms", "p99 ms")] == shown
    told = (folder / "again.md").read_text()
    assert told == (folder / "out.md").read_text()
    assert f"n_eff {figure(result['n_eff']['rps'])}, p50 {shown[1]} [" in told
    assert page == (folder / "out.html").read_text(encoding="utf-8")


def test_several_files_merge_and_the_latest_counts(tmp_path: Path) -> None:
    first = planted.document(planted.entry(planted.result(1)), planted.entry(planted.result(0, rps=10)))
    second = planted.document(
        planted.entry(planted.result(0, rps=60, started_at="2026-04-01T00:00:00.000+00:00")), interrupted=True
    )
    files = [written(tmp_path, first, "first.json"), written(tmp_path, second, "second.json")]

    assert main(["report", *files, "--json", str(tmp_path / "merged.json")]) == 0

    merged = json.loads((tmp_path / "merged.json").read_text())
    jsonschema.validate(merged, SCHEMA)
    assert merged["interrupted"] is True
    assert [each["experiment"] for each in merged["results"]] == [each.name for each in planted.STUDY[:2]]
    assert merged["results"][0]["metrics"]["rps"] > 50


def test_other_prices_and_hours(tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("{vcpu_hour_usd: 1, gb_hour_usd: 0, source: ours, date: 2026-01-01}")
    source = written(tmp_path, planted.document(planted.entry(planted.result())))
    out = tmp_path / "out.json"

    assert main(["report", source, "--json", str(out), "--prices", str(prices), "--hours", "2"]) == 0

    document = json.loads(out.read_text())
    assert document["results"][0]["cost"]["month_usd"] == 32
    assert document["prices"]["source"] == "ours"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory."),
        ('{"schema_version": 1, "resu', "is not whole JSON: "),
        ('{"schema_version": 7}', "its schema_version is 7, this version reads 1 and 2."),
        ("[]", "its schema_version is None, this version reads 1 and 2."),
        ('{"schema_version": 2, "results": []}', "has no results: nothing was measured in that run."),
        ('{"schema_version": 1, "results": [{}]}', "results[0] has no 'experiment'."),
    ],
    ids=["missing", "truncated", "unknown version", "no document", "empty run", "no result"],
)
def test_a_file_that_is_no_result_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, message: str
) -> None:
    path = tmp_path / "results.json"
    if content is not None:
        path.write_text(content)

    assert main(["report", str(path), "--markdown", str(tmp_path / "out.md")]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pytest-tfserving: ")
    assert f"{path} " in line
    assert message in line


def test_nothing_to_write_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "results.json")]) == 2

    assert "report writes nothing without --html, --markdown or --json" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = written(tmp_path, planted.document(planted.entry(planted.result())))

    assert main(["report", source, "--markdown", "/proc/nowhere/out.md"]) == 2

    assert capsys.readouterr().err.startswith("pytest-tfserving: /proc/nowhere")


def test_text_of_others_does_not_become_markdown(tmp_path: Path) -> None:
    name = "x|y <b>bold</b> [link](http://example.invalid) @octocat `code`"
    reason = "``a`` @octocat https://example.invalid # | *"
    planted_one = planted.result(experiment=name, aborted=reason)
    source = written(tmp_path, planted.document(planted.entry(planted_one), planted.entry(planted.result(1))))

    main(["report", source, "--markdown", str(tmp_path / "out.md")])

    text = (tmp_path / "out.md").read_text()
    (row,) = [line for line in text.splitlines() if "❌" in line]
    assert row.startswith(
        r"| `` x\|y <b>bold</b> [link](http://example.invalid) @octocat `code` `` | ❌ FAIL |"
    )
    assert f"- `` {name} ``: ``` {reason} ```\n" in text
    assert f"**`{planted.STUDY[1].name}` is the only configuration that passed" in text
    assert "octocat" not in outside_of_code(text)


def outside_of_code(markdown: str) -> str:
    """The text without its code spans (CommonMark 6.1)."""
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", markdown)


def test_what_is_recommended_is_marked_in_the_table_of_costs(tmp_path: Path) -> None:
    slow, fast, large = planted.result(6, rps=45), planted.result(7, rps=60), planted.result(9, rps=90)
    document = planted.document(*map(planted.entry, (slow, fast, large)))

    assert [roles(document, each["experiment"]) for each in document["results"]] == [
        "",
        "cheapest",
        "fastest",
    ]

    page = tmp_path / "out.html"
    assert main(["report", written(tmp_path, document), "--html", str(page)]) == 0
    assert re.findall(r"<td>(cheapest|fastest|unbeaten)</td>", page.read_text()) == ["cheapest", "fastest"]


def test_yesterday_and_today_stand_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = {
        "yesterday.json": planted.result(0, p50_ms=300.0, started_at="2026-04-01T00:00:00.000+00:00"),
        "today.json": planted.result(0, p50_ms=450.0, started_at="2026-04-02T00:00:00.000+00:00"),
    }
    files = [written(tmp_path, planted.document(planted.entry(day)), name) for name, day in days.items()]
    out = {kind: tmp_path / f"out.{kind}" for kind in ("html", "markdown", "json")}

    assert (
        main(["report", *files, *(text for kind, path in out.items() for text in (f"--{kind}", str(path)))])
        == 0
    )

    both = [figure(metrics(day)["p50_ms"]) for day in days.values()]
    printed = capsys.readouterr().out
    assert f"compared with {tmp_path}/yesterday.json (of 2026-04-01 00:00 UTC, commit 0123abc): " in printed
    document = json.loads(out["json"].read_text())
    jsonschema.validate(document, SCHEMA)
    (change,) = [
        each for each in document["comparison"]["experiments"][0]["changes"] if each["key"] == "p50_ms"
    ]
    assert change["finding"] == "worse"
    assert [figure(change[day]) for day in ("before", "now")] == both
    cells = "</td><td>".join(["p50 ms", *both])
    assert f"<td>{cells}</td>" in out["html"].read_text()
    assert f"| p50 ms | {' | '.join(both)} | +50" in out["markdown"].read_text()


def test_the_same_file_twice_is_compared_with_nothing(tmp_path: Path) -> None:
    source = written(tmp_path, planted.document(planted.entry(planted.result())))
    out = tmp_path / "out.json"

    assert main(["report", source, source, "--json", str(out)]) == 0

    assert json.loads(out.read_text())["comparison"] is None
