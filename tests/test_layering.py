"""The order of the folders, which ``docs/design.md`` draws: each imports only what stands below it."""

from __future__ import annotations

import ast
import re
import statistics
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest_tfserving

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(pytest_tfserving.__file__).parent
DESIGN = (Path(__file__).parents[1] / "docs" / "design.md").read_text(encoding="utf-8")
ORDER = re.findall(
    r"^  ([\w.]+)", DESIGN.partition("src/pytest_tfserving/\n")[2].partition("```")[0], re.MULTILINE
)
FILES = {
    ".".join(("pytest_tfserving", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in PACKAGE.rglob("*.py")
}


def imported(tree: ast.AST, *, types: bool) -> Iterator[str]:
    """Yield what code imports anywhere; what it imports for types alone only where that is asked for."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            whole = [f"{node.module}.{each.name}" for each in node.names]
            yield from (each if each in FILES else str(node.module) for each in whole)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif types or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield from imported(node, types=types)


def arrows(*, types: bool) -> dict[str, set[str]]:
    """Return what each module imports of the others."""
    trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
    return {name: (set(imported(tree, types=types)) & set(FILES)) - {name} for name, tree in trees.items()}


def place(module: str) -> int:
    """Return how far down the folder, or the file, of a module stands."""
    names = [*module.split("."), "__init__"]
    return next(at for at, each in enumerate(ORDER) if each.removesuffix(".py") == names[1])


def test_a_folder_imports_only_what_is_below_it() -> None:
    back = [
        f"{a} imports {b}" for a, found in arrows(types=True).items() for b in found if place(b) < place(a)
    ]

    assert not back


def test_no_modules_import_each_other_at_run_time() -> None:
    assert list(TopologicalSorter(arrows(types=False)).static_order())


def test_few_files_stand_beside_the_folders() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= 4


def test_functions_fit_a_glance() -> None:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in FILES.values())
    functions = (
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lines = [1 + (node.end_lineno or 0) - node.lineno for node in functions]

    assert statistics.median(lines) <= 7
    assert statistics.quantiles(lines, n=10)[-1] <= 17
    assert max(lines) <= 50


def test_no_two_classes_have_one_name() -> None:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in FILES.values())
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))

    assert [name for name, count in names.items() if count > 1 and not name.startswith("_")] == []
