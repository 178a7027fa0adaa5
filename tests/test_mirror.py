"""Where tests are: what tests a folder, an option or a command is found by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

import pytest_tfserving
from pytest_tfserving.cli import _COMMANDS
from pytest_tfserving.plugin.options import OPTIONS

PACKAGE = Path(pytest_tfserving.__file__).parent
TESTS = Path(__file__).parent
FOLDERS = sorted(
    {path.parent.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    - {Path(), Path("model_server/protos")}  # generated messages
)
# Folders of tests that no folder of the package has: by the means, or for what is no code of the package.
OTHERS = {"beside", "browser", "docs", "e2e", "github", "images", "options"}


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_a_folder_of_the_package_has_its_tests(folder: Path) -> None:
    assert list((TESTS / folder).glob("test_*.py"))


def test_a_folder_of_tests_has_its_folder_in_the_package() -> None:
    tested = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")} - {Path()}

    assert not {folder for folder in tested if str(folder) not in OTHERS} - set(FOLDERS)


def test_a_test_file_is_named_for_a_module() -> None:
    """Or for the folder, whose `__init__` it tests; those of the embedded server for what clients see."""
    named = {
        folder: {path.stem for path in (PACKAGE / folder).glob("*.py")} | {folder.name}
        for folder in FOLDERS
        if folder.parts[0] != "model_server"
    }
    named[Path("cli")] |= set(_COMMANDS)
    strangers = [
        path.relative_to(TESTS)
        for folder, names in named.items()
        for path in (TESTS / folder).glob("test_*.py")
        if path.stem.removeprefix("test_") not in names
    ]

    assert not strangers


@pytest.mark.parametrize("option", [option.name for option in OPTIONS])
def test_an_option_has_a_test_file(option: str) -> None:
    assert (TESTS / "options" / f"test_{option.replace('-', '_')}.py").is_file()


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_command_has_a_test_file(command: str) -> None:
    assert (TESTS / "cli" / f"test_{command.replace('-', '_')}.py").is_file()
