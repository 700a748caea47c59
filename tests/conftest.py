"""What every test stands on: quiet libraries that never call out, and data that may be missing."""

import atexit
import gc
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before any library is imported: they read these once. Pictures are so small that a second thread only costs time.
os.environ.update(
    OMP_NUM_THREADS="1",
    # The first of a hundred that Gradio tries: workers ("gw0", "gw1", ...) never try the same one.
    GRADIO_SERVER_PORT=str(7860 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])),
    GRADIO_ANALYTICS_ENABLED="False",
    # A server that ends removes its files, and those of the same content are the same ones in every worker.
    GRADIO_TEMP_DIR=tempfile.mkdtemp(prefix="gradio-of-tests-"),
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
)

import hypothesis
import psutil
import pytest
import torch

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs in the background
gc.disable()  # until all tests are collected: what their imports make stays, and looking through it takes a second
atexit.register(shutil.rmtree, os.environ["GRADIO_TEMP_DIR"], ignore_errors=True)

# A busy machine makes no test wrong. Sizes fall into few classes, which 25 examples meet.
hypothesis.settings.register_profile("tests", deadline=None, max_examples=25)
hypothesis.settings.load_profile("tests")

REPOSITORY = Path(__file__).resolve().parent.parent
SLOW_FOLDERS = ("cluster", "browser", "train")
MEMORY = Path("/dev/shm")
WORKER_BYTES = 4e9
"""What a worker needs, with the servers, trainings and browser of its tests."""
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
BROWSER = (
    shutil.which("chromium-headless-shell")  # without a browser's windows: a tenth less processor time
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
# The list replaces Playwright's, of which it keeps what matters here. The first two are pages that the address bar
# loads for every window, which nobody sees here: without them a window takes a third of the processor time.
FEATURES_OFF = (
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "AimEnabled", "DestroyProfileOnBrowserClose", "HttpsUpgrades"),
    *("MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning", "OptimizationHints", "PreconnectToSearch"),
    *("NetworkTimeServiceQuerying", "AvoidUnnecessaryBeforeUnloadCheckSync"),
)
ARGUMENTS = (
    f"--disable-features={','.join(FEATURES_OFF)}",
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)


def pytest_configure() -> None:
    """Keep the tests' files in memory where it has room: databases and journals wait for a disk at every commit."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4e9:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Three workers for two cores, because tests with servers and browsers wait for them; one a core for a choice of
    tests, which is short beside the start of a worker; in any case as far as there is memory."""
    cores = os.cpu_count() or 1
    memory = int(psutil.virtual_memory().available // WORKER_BYTES)
    return max(1, min(cores if config.option.markexpr else cores + (cores + 1) // 2, 8, memory))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of a folder, and those that use a fixture, by its name where it is a marker.

    The folders that take longest come first: at the end all workers have short files.
    """
    for item in items:
        used = {*item.path.relative_to(REPOSITORY).parts, *item.fixturenames}  # type: ignore[attr-defined]
        for name in {"browser", "cluster"} & used:
            item.add_marker(name)
    items.sort(key=lambda item: [folder not in item.path.relative_to(REPOSITORY).parts for folder in SLOW_FOLDERS])


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)  # looking through what the libraries made takes a tenth of the time otherwise
    gc.enable()


@pytest.fixture(autouse=True)
def _same_random_numbers_in_every_test() -> None:
    torch.default_generator.manual_seed(0)  # torch.manual_seed looks for every kind of GPU


@pytest.fixture(scope="session")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], str]:
    """Puts an empty MLflow store into a folder and returns its address.

    Making the tables takes seconds, copying them nothing. The workers share them.
    """
    from alembic.script import ScriptDirectory
    from filelock import FileLock

    from training.tracking.store import connect

    # MLflow and Optuna load 68 and 12 scripts of migrations for every store that is opened.
    directories: dict[str, ScriptDirectory] = {}
    load = ScriptDirectory.from_config
    ScriptDirectory.from_config = lambda config: directories.setdefault(  # type: ignore[method-assign]
        str(config.get_main_option("script_location")), load(config)
    )

    here = tmp_path_factory.getbasetemp()
    template = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / "template.db"
    with FileLock(f"{template}.lock"):
        if not template.exists():
            connect(f"sqlite:///{template}").search_experiments()

    def copy(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(template, folder / "mlflow.db")
        return f"sqlite:///{folder}/mlflow.db"

    return copy


@pytest.fixture
def store(new_store: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of this test's own store, which is also the one MLFLOW_TRACKING_URI names."""
    uri = new_store(tmp_path / "store")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return uri


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system in memory with these options; the test skips where that is not allowed."""
    mounted = []

    def mount(options: str) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir()
        if not shutil.which("mount"):
            pytest.skip("there is no mount to make a small disk with")
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"a small disk cannot be mounted here: {made.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for mount_point in mounted:
        subprocess.run(["umount", "--lazy", mount_point], check=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Photos, paintings and awkward files kept beside the checkout; the test skips where they are missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the data folder beside the checkout is missing")
    return SHARED_DATA


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, one for all tests: Playwright cannot be started twice. Skips where it is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("there is no Chromium on this machine")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=BROWSER, args=list(ARGUMENTS))
        yield chromium
        chromium.close()
