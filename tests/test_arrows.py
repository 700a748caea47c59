"""Imports run one way: demo to training.registry and stylecore, training to stylecore, tracking to nothing of ours."""

import ast
from functools import cache
from pathlib import Path

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


def found(files: list[Path], *roots: str, but: tuple[str, ...] = ()) -> dict[Path, set[str]]:
    """Which of the files import modules below the roots, but for `but`, what is below it and its parent."""
    parents = {root.rpartition(".")[0] for root in but}
    wrong = {file: names(file, *roots) - names(file, *but) - parents for file in files}
    return {file: modules for file, modules in wrong.items() if modules}


def below(*folders: str) -> list[Path]:
    return [file for file in FILES if file.relative_to(REPOSITORY).as_posix().startswith(folders)]


def test_the_library_knows_nothing_of_training_and_page() -> None:
    assert found(below("stylecore/"), "training", "demo", "mlflow", "gradio") == {}


def test_training_knows_nothing_of_the_page() -> None:
    assert found(below("training/"), "demo", "gradio") == {}


def test_the_page_knows_of_training_only_the_registry() -> None:
    assert found(below("demo/"), "training", but=("training.registry",)) == {}


def test_services_know_nothing_of_how_the_page_looks() -> None:
    looks = ("demo.page", "demo.status", "demo.tabs", "demo.theme", "demo.app")
    assert found(below("demo/services/", "demo/server/"), *looks) == {}


def test_tracking_stands_alone() -> None:
    """Other projects may use it. `training` itself is imported with it."""
    assert found(below("training/tracking/"), *PACKAGES, but=("training.tracking",)) == {}
    assert found(below("training/__init__.py"), *PACKAGES) == {}


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
