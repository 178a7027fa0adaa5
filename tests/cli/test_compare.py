"""`pytest-tfserving compare`: two stored runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.cli import main
from pytest_tfserving.report.stored_runs import StoredRuns
from stored_sessions import content

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two stored runs, the second 10 % slower; the test is in a folder below."""
    runs = StoredRuns(tmp_path / ".tfserving")
    runs.save(content("fast"))
    runs.save(content("slow", p50_ms=330.0))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    return tmp_path


def test_it_prints_the_changes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "fast", "slow"]) == 0

    shown = capsys.readouterr().out
    assert folder.exists()
    assert shown.startswith(
        "slow compared with fast (of 2026-03-01 10:30 UTC, commit 0123abc): 9 figures, 7 worse"
    )
    assert "+10 % [+" in shown
    assert "worse" in shown
    assert "the scatter between runs is not included: neither run was saved on a calibrated machine" in shown


@pytest.mark.parametrize(("limit", "status"), [("p95:5%", 1), ("p95:20%", 0), ("rps:5%", 0)])
def test_a_limit_decides_the_exit_code(
    folder: Path, capsys: pytest.CaptureFixture[str], limit: str, status: int
) -> None:
    assert folder.exists()
    assert main(["compare", "fast", "last", "--fail", limit]) == status
    assert f": {limit}: " in capsys.readouterr().out


def test_it_writes_reports_that_can_be_made_again(folder: Path) -> None:
    written = [str(folder / f"out.{name}") for name in ("json", "html", "md")]

    assert (
        main(
            ["compare", "fast", "slow", "--json", written[0], "--html", written[1], "--markdown", written[2]]
        )
        == 0
    )
    assert main(["report", written[0], "--markdown", str(folder / "again.md")]) == 0

    document = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    assert document["comparison"]["experiments"][0]["changes"]
    markdown = (folder / "out.md").read_text(encoding="utf-8")
    assert markdown.startswith("## Serving performance\n\n**compared with fast")
    assert "| worse |" in markdown
    assert (folder / "again.md").read_text(encoding="utf-8") == markdown
    assert '<h2 id="comparison">' in (folder / "out.html").read_text(encoding="utf-8")


def test_it_refuses_other_images_unless_forced(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = content("other")
    other["results"][0]["identity"] = {"server": "sha256:1"}
    StoredRuns(folder / ".tfserving").save(other)

    assert main(["compare", "fast", "other", "--fail=p95:5%"]) == 1
    assert (
        "not compared: server or image was -, is sha256:1; --force compares never" in capsys.readouterr().out
    )
    assert main(["compare", "fast", "other", "--fail=p95:5%", "--force"]) == 0
    assert "compared by force, although server or image was -, is sha256:1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fats", "slow"], "'fats' is not a stored run of "),
        (["fast", "gone.json"], "the stored run gone.json cannot be read: No such file or directory."),
        (
            ["fast", "slow", "--folder", "elsewhere"],
            "'fast' is not a stored run: elsewhere has none; save one",
        ),
    ],
)
def test_a_mistake_is_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert folder.exists()
    assert main(["compare", *arguments]) == 2
    assert said in capsys.readouterr().err
