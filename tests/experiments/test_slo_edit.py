"""Edits of SLOs in an experiments file: the new text, character by character."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.slo_edit import SloEditor

MACHINE = "a CPU, 2 cores"
SLOS = ["rps>=120", "p95<20ms"]


def edited(text: str, *path: str, index: int = 0) -> str:
    editor = SloEditor(Path("x.yaml"), text)
    editor.set(index, path or ("local", MACHINE), SLOS)
    return editor.text()


# By name: the text before and after.
CASES = {
    "none": (
        "experiments:\n  - shape: a  # small\n    inter_op: 1   # one\n\n# end\n",
        "experiments:\n  - shape: a  # small\n    inter_op: 1   # one\n    slo:\n      local:\n"
        '        "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n\n# end\n',
    ),
    "none, on one line": (
        "experiments: [{shape: a, profile: {b: 1}}]  # x\n",
        "experiments: [{shape: a, profile: {b: 1}, "
        'slo: {local: {"a CPU, 2 cores": ["rps>=120", "p95<20ms"]}}}]  # x\n',
    ),
    "none, without a newline at the end": (
        "experiments:\n- shape: a",
        'experiments:\n- shape: a\n  slo:\n    local:\n      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]',
    ),
    "a list for all targets": (
        "experiments:\n  - shape: a\n    slo: [rps>=1, 'p95<9s']  # why\n    inter_op: 1\n",
        "experiments:\n  - shape: a\n    slo:\n      local:\n"
        '        "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n'
        "      \"*\": [rps>=1, 'p95<9s']  # why\n    inter_op: 1\n",
    ),
    "a list for all targets, on lines": (
        "experiments:\n  - shape: a\n    slo:\n      # first\n      - rps>=1  # one\n      - p95<9s\n"
        "    inter_op: 1\n",
        "experiments:\n  - shape: a\n    slo:\n      # first\n      local:\n"
        '        "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n'
        '      "*":\n      - rps>=1  # one\n      - p95<9s\n    inter_op: 1\n',
    ),
    "a list for all targets, on lines that are not indented": (
        "experiments:\n- slo:\n  - rps>=1  # one\n\n  - p95<9s\n  shape: a\n",
        "experiments:\n- slo:\n    local:\n"
        '      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n'
        '    "*":\n    - rps>=1  # one\n\n    - p95<9s\n  shape: a\n',
    ),
    "a list for all targets, on one line": (
        "experiments: [{shape: a, slo: [rps>=1, p95<9s], inter_op: 1}]\n",
        'experiments: [{shape: a, slo: {local: {"a CPU, 2 cores": ["rps>=120", "p95<20ms"]}, '
        '"*": [rps>=1, p95<9s]}, inter_op: 1}]\n',
    ),
    "one SLO": (
        "experiments:\n- shape: a\n  slo: rps>=1\n",
        'experiments:\n- shape: a\n  slo:\n    local:\n      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n'
        '    "*": rps>=1\n',
    ),
    "another target": (
        "experiments:\n- shape: a\n  slo:\n    url: [rps>=1]  # u\n    kubernetes: [rps>=2]\n",
        'experiments:\n- shape: a\n  slo:\n    local:\n      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n'
        "    url: [rps>=1]  # u\n    kubernetes: [rps>=2]\n",
    ),
    "another target, on one line": (
        "experiments:\n- shape: a\n  slo: {url: [rps>=1]}  # u\n",
        'experiments:\n- shape: a\n  slo: {local: {"a CPU, 2 cores": ["rps>=120", "p95<20ms"]}, '
        "url: [rps>=1]}  # u\n",
    ),
    "the target, for all machines": (
        "experiments:\n- shape: a\n  slo:\n    url: [rps>=1]\n    local: [rps>=2]  # l\n",
        "experiments:\n- shape: a\n  slo:\n    url: [rps>=1]\n    local:\n"
        '      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n      "*": [rps>=2]  # l\n',
    ),
    "an anchor that another target uses": (
        "experiments:\n- shape: a\n  slo:\n    local: &r [rps>=2]\n    docker: *r  # d\n",
        "experiments:\n- shape: a\n  slo:\n    local:\n"
        '      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n      "*": &r [rps>=2]\n    docker: *r  # d\n',
    ),
    "an alias": (
        "experiments:\n- shape: a\n  slo:\n    docker: &r [rps>=2]\n    local: *r  # l\n",
        "experiments:\n- shape: a\n  slo:\n    docker: &r [rps>=2]\n    local:\n"
        '      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n      "*": *r  # l\n',
    ),
    "an anchor that another entry uses": (
        "experiments:\n- slo: &r [rps>=2]\n  shape: a\n- shape: b\n  slo: *r\n",
        'experiments:\n- slo: &r\n    local:\n      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n'
        '    "*": [rps>=2]\n  shape: a\n- shape: b\n  slo: *r\n',
    ),
    "the target and another machine": (
        'experiments:\n- shape: a\n  slo:\n    local:\n      "b, 1 core": [rps>=2]  # b\n',
        "experiments:\n- shape: a\n  slo:\n    local:\n"
        '      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n      "b, 1 core": [rps>=2]  # b\n',
    ),
    "the target and the machine": (
        "experiments:\n- shape: a\n  slo:\n    local:\n      a CPU, 2 cores:\n"
        "      - rps>=2      # two\n      # before\n      - \"p95<1ms\"\n      '*': [rps>=1]\n",
        "experiments:\n- shape: a\n  slo:\n    local:\n      a CPU, 2 cores:\n"
        "      - rps>=120      # two\n      # before\n      - \"p95<20ms\"\n      '*': [rps>=1]\n",
    ),
    "the defaults": (
        "defaults:\n  slo: [rps>=1]\n  shape: a\nexperiments:\n- inter_op: 1\n",
        'defaults:\n  slo:\n    local:\n      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\n    "*": [rps>=1]\n'
        "  shape: a\nexperiments:\n- inter_op: 1\n",
    ),
    "lines that end as on Windows": (
        "experiments:\r\n- shape: a\r\n  slo: [rps>=1]\r\n",
        "experiments:\r\n- shape: a\r\n  slo:\r\n    local:\r\n"
        '      "a CPU, 2 cores": ["rps>=120", "p95<20ms"]\r\n    "*": [rps>=1]\r\n',
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_only_the_slos_change(name: str) -> None:
    before, after = CASES[name]

    assert edited(before) == after


@pytest.mark.parametrize("name", [name for name in CASES if "alias" not in name and "uses" not in name])
def test_a_second_edit_replaces_the_first(name: str) -> None:
    _, after = CASES[name]
    editor = SloEditor(Path("x.yaml"), after)
    editor.set(0, ("local", MACHINE), ["rps>=7", "p95<7ms"])

    assert editor.text() == after.replace("rps>=120", "rps>=7").replace("p95<20ms", "p95<7ms")


def test_a_target_without_machines_has_a_list() -> None:
    text = edited("experiments:\n- shape: a\n  slo: [rps>=1]\n", "kubernetes")

    assert text == (
        'experiments:\n- shape: a\n  slo:\n    kubernetes: ["rps>=120", "p95<20ms"]\n    "*": [rps>=1]\n'
    )


def test_an_alias_of_the_target_becomes_a_list_of_its_own() -> None:
    text = "experiments:\n- shape: a\n  slo:\n    url: &r [rps>=1, p95<1s]\n    kubernetes: *r  # k\n"

    assert edited(text, "kubernetes") == text.replace("*r", '["rps>=120", "p95<20ms"]')


def test_entries_that_share_slos_are_known() -> None:
    text = (
        "defaults: {slo: [rps>=1]}\n"
        "experiments:\n- shape: a\n- shape: b\n  slo: &r [rps>=2]\n- shape: c\n  slo: *r\n- shape: d\n"
    )
    editor = SloEditor(Path("x.yaml"), text)

    assert [set(editor.shared(index)) for index in range(4)] == [{0, 3}, {1, 2}, {1, 2}, {0, 3}]


def test_slos_of_a_machine_that_another_place_uses_are_not_changed() -> None:
    text = f'experiments:\n- shape: a\n  slo: {{local: {{"{MACHINE}": &r [rps>=1, p95<1s]}}, docker: *r}}\n'

    with pytest.raises(
        ConfigurationError, match=r"^x.yaml:3: these SLOs are also used elsewhere, by an alias; write them"
    ):
        edited(text)
