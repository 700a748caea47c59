"""What the hub refuses, and the served folder."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tracked_runs import log_style, start_run

from demo import deploy
from stylecore.errors import StylecoreError
from stylecore.vgg.weights import Name, find_weights
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
    need_vgg("vgg19")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deploy, "restore_published", lambda **_: [])
        return deploy.write_space(tmp_path_factory.mktemp("build") / "space", tracking_uri=store)


def need_vgg(name: Name) -> None:
    """Skip the test where the weights are missing."""
    try:
        find_weights(name)
    except StylecoreError as error:
        pytest.skip(f"the weights of {name} are not here: {error}")


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
    connect(hub, tmp_path, monkeypatch)
    return hub


def connect(hub: Hub, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Make it the hub of this process, with a token; huggingface_hub read its variables when it was imported.

    The published runs, which would take their time, are not restored.
    """
    patch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    patch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(folder / "no-login"))
    patch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    patch.setenv("HF_TOKEN", TOKEN)
    patch.setattr(deploy, "restore_published", lambda **_: [])
