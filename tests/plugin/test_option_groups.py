"""``pytest --help`` groups the options by task."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pytest_tfserving.plugin.option_groups import GROUPS, group_of
from pytest_tfserving.plugin.options import OPTIONS

if TYPE_CHECKING:
    from harness import Project


def test_every_option_has_one_group() -> None:
    counts = Counter(name for names in GROUPS.values() for name in names)

    assert counts == Counter(option.name for option in OPTIONS)


def test_the_help_shows_each_option_below_its_task(project: Project) -> None:
    run = project.run("--help", server=False)

    group, groups = "", {}
    for line in run.outlines:
        if line and not line.startswith(" "):
            group = line.removesuffix(":").removeprefix("TensorFlow Serving performance: ")
        elif line.startswith("  --tfserving-"):
            groups[line.split()[0].partition("=")[0]] = group
    assert groups == {option.flag: group_of(option.name) for option in OPTIONS}
