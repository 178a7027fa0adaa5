"""What is measured so far, on disk, where several processes write and read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.report.store import ResultStore

if TYPE_CHECKING:
    from pathlib import Path


def test_a_line_that_another_process_has_not_written_to_its_end_is_none_yet(tmp_path: Path) -> None:
    log = ResultStore(tmp_path, "main")
    log.add_note("kept")
    whole = (tmp_path / "main.jsonl").read_text(encoding="utf-8")
    for end in range(1, len(whole)):
        (tmp_path / "gw0.jsonl").write_text(whole[:end], encoding="utf-8")
        assert log.notes() == ["kept"]

    (tmp_path / "gw0.jsonl").write_text(whole, encoding="utf-8")
    assert log.notes() == ["kept", "kept"]
