"""What the hub refuses, and the served folder."""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tracked_runs import log_style, start_run

from demo import deploy
from stylecore.errors import StylecoreError
from stylecore.vgg.weights import write_weights
from tests.demo.conftest import make_style
from tests.demo.local_hub import TOKEN, Hub


@pytest.fixture(scope="module")
def store(new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry with a style of two runs, three versions."""
    uri = new_store(tmp_path_factory.mktemp("registry"))
    for seed, (run_name, steps) in enumerate({"wide": (10, 20), "narrow": (20,)}.items()):
        run = start_run(run_name=run_name, tracking_uri=uri)
        for step in steps:
            log_style(run, make_style(seed + step, name="night", title="The Night", iterations=step), step, {})
        run.finish()
    return uri


@pytest.fixture(scope="module")
def space(store: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, written once."""
    folder = tmp_path_factory.mktemp("build") / "space"
    try:
        write_weights("vgg19", folder.with_name("probe"))
    except StylecoreError as error:
        pytest.skip(f"the weights of VGG-19 are not here: {error}")
    shutil.rmtree(folder.with_name("probe"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deploy, "restore_published", lambda **_: [])
        return deploy.write_space(folder, tracking_uri=store)


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def connected(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub of this process, with a token; huggingface_hub read its variables when it was imported."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-login"))
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(deploy, "restore_published", lambda **_: [])
    return hub
