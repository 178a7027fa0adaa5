"""Results of schema version 1, as they were written then: reports of them show what they showed then."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from lxml import html

import pytest_tfserving
from pytest_tfserving.cli import main
from pytest_tfserving.report.results_file import read_document

RECORDED = Path(__file__).parents[1] / "recorded" / "schema_1"
FILE = RECORDED / "results_of_schema_1.json"
# Longer cells are sentences.
LONGEST_FIGURE = 30
SCHEMA = Path(pytest_tfserving.__file__).parent / "report" / "results.schema.json"


def test_markdown_has_the_same_table(tmp_path: Path) -> None:
    expected = (RECORDED / "results_of_schema_1.md").read_text()

    main(["report", str(FILE), f"--markdown={tmp_path / 'out.md'}"])

    assert table((tmp_path / "out.md").read_text()) == table(expected)


def table(text: str) -> list[str]:
    """The rows of a report's table, without its head."""
    return [line for line in text.splitlines() if line.startswith("|")][1:]


def test_html_has_the_same_figures(tmp_path: Path) -> None:
    expected = json.loads((RECORDED / "results_of_schema_1_figures.json").read_text())

    main(["report", str(FILE), f"--html={tmp_path / 'out.html'}"])

    page = html.fromstring((tmp_path / "out.html").read_text())
    measured = "//table[not(contains(@class, 'slos') or contains(@class, 'about'))]//td"
    cells = [" ".join(cell.text_content().split()) for cell in page.xpath(measured)]
    assert [cell for cell in cells if is_figure(cell)] == expected


def is_figure(text: str) -> bool:
    return len(text) <= LONGEST_FIGURE and any(map(str.isdigit, text))


def test_json_is_of_the_version_of_today() -> None:
    document = read_document(FILE)

    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    server = document["results"][1]["server"]
    assert server
    assert server["incidents"]
    assert document["results"][2]["stages"][0]["n_eff"]
    assert document["results"][2]["alternatives"]["from_send"]["n_eff"]


@pytest.mark.parametrize("part", ["server", "stages", "beside", "decided"])
@pytest.mark.parametrize("value", [None, 1, "x", [1], {"x": 1}])
def test_what_is_damaged_is_refused_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, value: object
) -> None:
    document = json.loads(FILE.read_text())
    document["results"][0][part] = value
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document))

    status = main(["report", str(path), f"--markdown={tmp_path / 'out.md'}"])

    assert status == 0 or "is not a result file of this version" in capsys.readouterr().err
