"""Checks the JUnit XML and the JSON of a run of the experiments: check_reports.py BASE judged|not-judged.

BASE.xml and BASE.json have to agree. At least three experiments were judged, or, on a machine that fits none,
each was smoke-run and none was judged.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NEEDED = {"experiment", "target", "via", "verdict", "rps", "requests", "error_rate"}
SCHEMA_VERSION = 2
LEAST_JUDGED = 3


def main() -> None:
    base, expected = sys.argv[1:]
    cases = list(ET.parse(f"{base}.xml").getroot().iter("testcase"))
    document = json.loads(Path(f"{base}.json").read_text(encoding="utf-8"))
    assert cases, f"{base}.xml holds no test"
    assert document["schema_version"] == SCHEMA_VERSION
    results = document["results"]
    assert {each["experiment"] for each in results} == {properties(case)["experiment"] for case in cases}
    judged = {properties(case)["experiment"] for case in cases if is_judged(case)}
    if expected == "judged":
        assert len(judged) >= LEAST_JUDGED, f"only {len(judged)} experiments were judged: {sorted(judged)}"
    else:
        assert not judged, f"judged, though this machine cannot: {sorted(judged)}"
        check_smoke_runs(results)
    for result in results:
        print(f"{result['experiment']}: {result['verdict']}")
    print(f"{base}: {len(cases)} tests, {len(judged)} experiments judged: as expected")


def properties(case: Element) -> dict[str, str]:
    """Return a test's properties; each test needs some."""
    found = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
    assert set(found) >= NEEDED, f"{case.attrib['name']} has no {', '.join(sorted(NEEDED - set(found)))}"
    return found


def is_judged(case: Element) -> bool:
    """Return whether a test's experiment was judged; one that was not is skipped."""
    if properties(case)["verdict"] != "NOT JUDGED":
        return True
    skipped = case.find("skipped")
    assert skipped is not None, f"{case.attrib['name']} is NOT JUDGED and not skipped"
    assert "NOT JUDGED: " in skipped.attrib["message"], skipped.attrib["message"]
    return False


def check_smoke_runs(results: list[dict[str, Any]]) -> None:
    for result in results:
        assert result["verdict"] == "NOT JUDGED", result["experiment"]
        assert result["total_requests"] > 0, f"{result['experiment']} was not smoke-run"


if __name__ == "__main__":
    main()
