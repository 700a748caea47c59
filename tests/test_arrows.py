"""Imports run one way: demo to training.registry and stylecore, training to stylecore, tracking to nothing of ours."""

import ast
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("stylecore", "training", "demo")
FILES = [file for package in PACKAGES for file in sorted((REPOSITORY / package).rglob("*.py"))]
ALLOWED_FOLDERS_OF_MLFLOW = ("training/tracking/", "training/registry/", "training/server/")
LONGEST = 400
MOST_MODULES = 12


@cache
def imported(file: Path) -> set[str]:
    """The modules that a file imports, as far as their names say."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def names(file: Path, *roots: str) -> set[str]:
    """The imported modules below these roots."""
    return {
        module for module in imported(file) if any(module == root or module.startswith(f"{root}.") for root in roots)
    }


def below(*folders: str) -> list[Path]:
    return [file for file in FILES if file.relative_to(REPOSITORY).as_posix().startswith(folders)]


@pytest.mark.parametrize("file", below("stylecore/"), ids=str)
def test_the_library_knows_nothing_of_training_and_page(file: Path) -> None:
    assert not names(file, "training", "demo", "mlflow", "gradio")


@pytest.mark.parametrize("file", below("training/"), ids=str)
def test_training_knows_nothing_of_the_page(file: Path) -> None:
    assert not names(file, "demo", "gradio")


@pytest.mark.parametrize("file", below("demo/"), ids=str)
def test_the_page_knows_of_training_only_the_registry(file: Path) -> None:
    assert not {module for module in names(file, "training") if not module.startswith("training.registry")} - {
        "training"
    }


@pytest.mark.parametrize("file", below("demo/services/", "demo/server/"), ids=str)
def test_services_know_nothing_of_how_the_page_looks(file: Path) -> None:
    assert not names(file, "demo.page", "demo.status", "demo.tabs", "demo.theme", "demo.app")


@pytest.mark.parametrize("file", below("training/tracking/"), ids=str)
def test_tracking_stands_alone(file: Path) -> None:
    assert not names(file, *PACKAGES) - names(file, "training.tracking") - {"training"}


def test_mlflow_is_imported_where_runs_are_written_and_read() -> None:
    elsewhere = [file for file in FILES if names(file, "mlflow") and file not in below(*ALLOWED_FOLDERS_OF_MLFLOW)]
    assert elsewhere == []


def test_a_command_is_imported_by_nothing_but_its_own_command_line() -> None:
    inside = below("stylecore/cli/", "stylecore/__main__.py")
    assert [file for file in FILES if names(file, "stylecore.cli") and file not in inside] == []


def test_no_file_and_no_folder_grows_too_large() -> None:
    files = [*FILES, *(REPOSITORY / "tests").rglob("*.py")]
    assert [file for file in files if len(file.read_text(encoding="utf-8").splitlines()) > LONGEST] == []
    folders = {file.parent for file in files}
    crowded = {
        folder: count
        for folder in folders
        if (count := sum(file.name not in ("__init__.py", "__main__.py") for file in folder.glob("*.py")))
        > MOST_MODULES
    }
    assert crowded == {}
