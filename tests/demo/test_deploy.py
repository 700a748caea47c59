"""The Space's folder, its upload to a server in the hub's place, and the folder served by its requirements alone."""

import ast
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from huggingface_hub import SpaceCard
from space_folder import connect, connected, contents, hub, need_vgg, store  # noqa: F401 - fixtures

from demo import deploy
from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleModel
from stylecore.pictures.write import save_picture
from stylecore.samples import sample_photos
from tests.demo.local_hub import TOKEN, Hub

REPOSITORY = Path(__file__).resolve().parents[2]
FORBIDDEN = ("mlflow", "sqlalchemy", "datasets", "optuna", "torchvision")
"""What a Space that teaches has not."""
NEEDED_ELSEWHERE = {
    "tqdm": "the command line",
    "huggingface_hub": "deploying, and gradio brings it",
    "markupsafe": "Jinja2 brings it",
    "spaces": "ZeroGPU brings it",
    "pandas": "gradio brings it",
    "filelock": "gradio brings it",
    "gradio_client": "gradio brings it",
    "fastapi": "gradio brings it",
    "starlette": "gradio brings it",
    "tensorflow": "importing networks in its format",
}


@dataclass(frozen=True)
class Deployed:
    """What the command wrote, uploaded and said."""

    folder: Path
    hub: Hub
    status: int
    said: str


@pytest.fixture(scope="module")
def deployed(store: str, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    need_vgg("vgg19")
    folder = tmp_path_factory.mktemp("build") / "space"
    with Hub() as hub, pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        connect(hub, tmp_path_factory.mktemp("home"), patch)
        status = deploy.main(["user/name", "--folder", str(folder), "--tracking-uri", store, "--private"])
    return Deployed(folder, hub, status, said.getvalue())


@pytest.fixture(scope="module")
def space(deployed: Deployed) -> Path:
    return deployed.folder


def hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_the_page_its_styles_and_nothing_of_training(space: Path) -> None:
    files = files_of(space)
    assert {"app.py", "README.md", "requirements.txt", "LICENSE", "stylecore/vgg/network.py", "demo/app.py"} <= files
    tops = {path.split("/")[0] for path in files if "/" in path}
    assert tops == {"stylecore", "demo", "bundle", "cache", "photos"}
    assert not [path for path in files if re.search(r"deploy\.py|__pycache__|demo/space|/\.", path)]
    assert [path for path in files if path.startswith("cache/")] == ["cache/vgg19.safetensors"]
    assert {Path(path).stem for path in files if path.startswith("photos/")} == set(sample_photos())
    manifest = json.loads((space / "bundle" / "manifest.json").read_text())
    assert [(v["version"], v["run_name"]) for v in manifest["styles"]] == [
        ("1", "wide"),
        ("2", "wide"),
        ("3", "narrow"),
    ]


@pytest.mark.cluster
def test_a_space_with_teach_teaches_without_mlflow(store: str, tmp_path: Path) -> None:
    need_vgg("vgg16")
    need_vgg("vgg19")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deploy, "restore_published", lambda **_: [])
        folder = deploy.write_space(tmp_path / "space", tracking_uri=store, teach=True)
    files = files_of(folder)
    assert {"training/teach/__main__.py", "cache/vgg16.safetensors"} <= files
    assert not [path for path in files if path.startswith(("training/report", "training/recipes"))]
    required = (folder / "requirements.txt").read_text()
    assert "accelerate==" in required
    assert "mlflow" not in required
    save_picture(torch.rand(3, 12, 16).repeat_interleave(10, 1).repeat_interleave(10, 2), tmp_path / "painting.png")
    code = f"import sys; sys.modules |= dict.fromkeys({FORBIDDEN!r}); from training.teach.__main__ import main; main()"
    words = "painting.png --name mine --minutes 0.01 --width 0.25 --residual-blocks 1 --style-size 48 --crop 32 "
    words += "--workers 0 --evaluate-sizes 32 --preview-size 64 --judge-sizes --mixed-precision no --cpu"
    variables = {f"STYLECORE_{name.upper()}": str(folder / name) for name in ("bundle", "cache", "photos")}
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()],
        cwd=tmp_path,
        env=os.environ | variables | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "learned: python -m stylecore stylize photo.jpg --style " in done.stdout, done.stdout + done.stderr
    style = StyleModel.load(tmp_path / done.stdout.rpartition("--style ")[2].split()[0])
    assert style.card.title == "Painting"
    assert not list(tmp_path.rglob("mlflow.db"))


def test_the_front_matter_is_what_a_space_needs(space: Path) -> None:
    about = SpaceCard.load(space / "README.md").data.to_dict()
    pinned = dict(line.split("==") for line in (REPOSITORY / "requirements.txt").read_text().split() if "==" in line)
    assert about["sdk"] == "gradio"
    assert about["sdk_version"] == pinned["gradio"]
    assert about["python_version"] == "3.12"
    assert (space / about["app_file"]).is_file()
    assert about["license"] == "mit"
    assert about["suggested_hardware"] == "cpu-basic"
    assert len(about["short_description"]) <= 60  # the hub refuses longer ones
    assert about["title"]
    assert "{" not in (space / "README.md").read_text()


@pytest.mark.parametrize(
    ("hardware", "torch_line", "index"),
    [("cpu-basic", True, True), ("cpu-upgrade", True, True), ("t4-small", True, False), ("zero-a10g", False, False)],
)
def test_the_hardware_chooses_the_build_of_torch(hardware: str, torch_line: bool, index: bool) -> None:
    names = (deploy.TEMPLATES / "requirements.txt").read_text().split("\n")
    pins = dict.fromkeys((name for name in names if name and name[0] != "#"), "1.0") | {
        "torch": "2.0",
        "gradio": "6.0",
    }
    lines = deploy._requirements(pins, hardware).split("\n")
    assert ("torch==2.0" in lines) is torch_line
    assert ("--extra-index-url https://download.pytorch.org/whl/cpu" in lines) is index
    assert "gradio==6.0" in lines


def test_whatever_the_page_imports_is_required(space: Path) -> None:
    required = {
        {"pillow": "PIL", "Jinja2": "jinja2", "opencv-python-headless": "cv2"}.get(
            line.split("==")[0], line.split("==")[0].replace("-", "_")
        )
        for line in (space / "requirements.txt").read_text().split("\n")
        if "==" in line
    }
    imported = set()
    for path in [*space.glob("stylecore/**/*.py"), *space.glob("demo/**/*.py"), space / "app.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    third_party = imported - set(sys.stdlib_module_names) - {"stylecore", "demo", "training"}
    assert third_party - set(NEEDED_ELSEWHERE) == required
    assert not required & {"mlflow", "accelerate", "datasets"}


def test_a_foreign_folder_is_left_alone_and_a_failure_leaves_the_old_one(
    space: Path, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("mine")
    with pytest.raises(StylecoreError, match="is no Space"):
        deploy.write_space(precious, tracking_uri=store)
    before = contents(space)

    def fail(*_: object) -> Path:
        raise StylecoreError("no weights")

    monkeypatch.setattr(deploy, "restore_published", lambda **_: [])
    monkeypatch.setattr(deploy, "write_weights", fail)
    with pytest.raises(StylecoreError, match="no weights"):
        deploy.write_space(space, tracking_uri=store)
    assert contents(space) == before
    assert [path.name for path in space.parent.iterdir()] == ["space"]


def test_the_command_makes_a_space_and_uploads_every_file(deployed: Deployed) -> None:
    hub, folder = deployed.hub, deployed.folder
    assert deployed.status == 0
    assert hub.created == {
        "name": "name",
        "organization": "user",
        "type": "space",
        "sdk": "gradio",
        "visibility": "private",
    }
    assert hub.variables == deploy.VARIABLES
    assert hashes(hub.files) == contents(folder)
    assert len(hub.large) == 4  # three networks and VGG
    assert all(summary.startswith("Deploy ") for summary in hub.commits)
    assert "POST /api/validate-yaml" in hub.asked
    lines = deployed.said.strip().split("\n")
    assert lines[-1] == f"{hub.url}/spaces/user/name"
    assert f": {len(hub.files)} files, " in lines[0]


def test_a_space_that_exists_loses_what_is_gone_and_keeps_what_is_the_same(connected: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    (folder / "bundle").mkdir(parents=True)
    (folder / "README.md").write_text("---\ntitle: t\nsdk: gradio\n---\n")
    (folder / "app.py").write_text("new")
    (folder / "same.txt").write_text("same")
    (folder / "bundle" / "new.safetensors").write_bytes(b"weights")
    connected.exists = True
    connected.files = {
        ".gitattributes": b"*",
        "app.py": b"old",
        "same.txt": b"same",
        "bundle/gone.safetensors": b"gone",
    }
    connected.variables = deploy.VARIABLES | {"STYLECORE_BUNDLE": "elsewhere", "MINE": "stays"}
    url = deploy.upload_space(deploy.logged_in(), "user/name", folder, hardware="zero-a10g")
    assert url == f"{connected.url}/spaces/user/name"
    assert connected.created["hardware"] == "zero-a10g"
    assert connected.deleted == ["bundle/gone.safetensors"]
    assert hashes(connected.files) == contents(folder) | {".gitattributes": hashlib.sha256(b"*").hexdigest()}
    assert connected.variables == deploy.VARIABLES | {"MINE": "stays"}
    assert connected.variables_set == ["STYLECORE_BUNDLE"]


@pytest.mark.parametrize(
    ("name", "token", "says"),
    [
        ("no-slash", TOKEN, "'no-slash' does not name a Space; write user/name"),
        ("a/b/c", TOKEN, "does not name a Space"),
        ("user/na me", TOKEN, "does not name a Space"),
        ("", TOKEN, "which Space? Add SPACE=user/name"),
        (None, TOKEN, "which Space? Add SPACE=user/name"),
        ("user/name", None, "uploading needs a token of the Hugging Face Hub; make one"),
        ("user/name", "hf_bad", "logging in failed: the hub refuses the token; make one"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_uploaded(
    connected: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str | None,
    token: str | None,
    says: str,
) -> None:
    monkeypatch.setattr(deploy, "write_space", lambda *_, **__: pytest.fail("it was too late"))
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    assert deploy.main([name] if name is not None else []) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert says in said
    assert said.count("\n") == 1
    assert connected.files == {}
    assert not connected.created
