"""What every test stands on: quiet libraries that never call out, and data that may be missing."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before any library is imported: they read these once. Pictures are so small that a second thread only costs time.
os.environ.update(
    OMP_NUM_THREADS="1",
    # The first of a hundred that Gradio tries: two workers ("gw0", "gw1") never try the same one.
    GRADIO_SERVER_PORT=str(7860 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])),
    GRADIO_ANALYTICS_ENABLED="False",
    MLFLOW_DISABLE_TELEMETRY="true",
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
)

import hypothesis
import pytest
import torch

# A busy machine makes no test wrong. Sizes fall into few classes, which 25 examples meet.
hypothesis.settings.register_profile("tests", deadline=None, max_examples=25)
hypothesis.settings.load_profile("tests")

REPOSITORY = Path(__file__).resolve().parent.parent
SLOW_FOLDERS = {"browser", "cluster", "train"}
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of a folder by its name, where there is such a marker, and begin with the folders that wait most:
    at the end both workers have short files."""
    for item in items:
        for folder in {"browser", "cluster"} & set(item.path.relative_to(REPOSITORY).parts):
            item.add_marker(folder)
    items.sort(key=lambda item: not SLOW_FOLDERS & set(item.path.relative_to(REPOSITORY).parts))


@pytest.fixture(autouse=True)
def _same_random_numbers_in_every_test() -> None:
    torch.manual_seed(0)


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
