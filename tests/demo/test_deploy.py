"""The Space's folder, its upload to a server in the hub's place, and the folder served by its requirements alone."""

import ast
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from huggingface_hub import SpaceCard
from packaging.requirements import Requirement
from PIL import Image

from demo import deploy
from demo.services.catalogue import BundleCatalogue
from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine
from stylecore.pictures.read import load_picture
from stylecore.samples import sample_photos
from stylecore.vgg.weights import write_weights
from tests.demo.conftest import make_style
from tests.demo.local_hub import TOKEN, Hub
from training.tracking.tracker import Tracker

REPOSITORY = Path(__file__).resolve().parents[2]
FORBIDDEN = ("mlflow", "accelerate", "datasets", "training")
NEEDED_ELSEWHERE = {
    "tqdm": "the command line",
    "huggingface_hub": "deploying, and gradio brings it",
    "h5py": "weights in other formats",
    "scipy": "weights in other formats",
    "spaces": "ZeroGPU brings it",
    "pandas": "gradio brings it",
    "gradio_client": "gradio brings it",
    "fastapi": "gradio brings it",
    "starlette": "gradio brings it",
    "tensorflow": "importing networks in its format",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry with a style of two runs, three versions."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"
    for seed, (run_name, steps) in enumerate({"wide": (10, 20), "narrow": (20,)}.items()):
        run = Tracker.start(
            experiment="johnson", run_name=run_name, params={}, tags={}, tracking_uri=uri, system_metrics=False
        )
        for step in steps:
            run.log_checkpoint(make_style(seed + step, name="night", title="The Night", iterations=step), step, {})
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


def hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}


# --- the folder ---


def test_the_folder_holds_the_page_its_styles_and_nothing_of_training(space: Path) -> None:
    files = deploy.files_of(space)
    assert {"app.py", "README.md", "requirements.txt", "LICENSE", "stylecore/vgg/network.py", "demo/app.py"} <= set(
        files
    )
    tops = {path.split("/")[0] for path in files if "/" in path}
    assert tops == {"stylecore", "demo", "bundle", "cache", "photos"}
    assert not [path for path in files if re.search(r"deploy\.py|__pycache__|demo/space|/\.", path)]
    assert [path for path in files if path.startswith("cache/")] == ["cache/vgg19-c34748d2.safetensors"]
    assert {Path(path).stem for path in files if path.startswith("photos/")} == set(sample_photos())
    manifest = json.loads((space / "bundle" / "manifest.json").read_text())
    assert [(v["version"], v["run_name"]) for v in manifest["styles"]] == [
        ("1", "wide"),
        ("2", "wide"),
        ("3", "narrow"),
    ]
    shown = deploy.listing(files)
    assert all(path in shown for path in files)
    assert f"in {len(files)} files" in shown


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
    pins = {"torch": "2.0", "gradio": "6.0", "numpy": "2.1", "pillow": "12.0", "safetensors": "0.8", "openvino": "1.0"}
    lines = deploy._requirements(pins, hardware).split("\n")
    assert ("torch==2.0" in lines) is torch_line
    assert ("--extra-index-url https://download.pytorch.org/whl/cpu" in lines) is index
    assert "gradio==6.0" in lines


def test_whatever_the_page_imports_is_required(space: Path) -> None:
    required = {
        {"pillow": "PIL"}.get(line.split("==")[0], line.split("==")[0])
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


# --- the upload ---


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


def test_the_command_makes_a_space_and_uploads_every_file(hub: Hub, space: Path, store: str, tmp_path: Path) -> None:
    folder = tmp_path / "space"
    # The command, but for the published runs, which would take their time.
    code = "import sys; from demo import deploy; deploy.restore_published = lambda **_: []; sys.exit(deploy.main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "user/name", "--folder", folder, "--tracking-uri", store, "--private"],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env={key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        | {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"},
    )
    assert done.returncode == 0, done.stderr
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
    lines = done.stdout.strip().split("\n")
    assert lines[-1] == f"{hub.url}/spaces/user/name"
    assert all(any(line.endswith(f"  {path}") for line in lines) for path in hub.files)


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
        ("", TOKEN, "which Space? make deploy-space SPACE=user/name"),
        ("user/name", None, "uploading needs a token of the Hugging Face Hub; make one"),
        ("user/name", "hf_bad", "logging in failed: the hub refuses the token; make one"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_nothing_is_uploaded(
    connected: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    token: str | None,
    says: str,
) -> None:
    monkeypatch.setattr(deploy, "write_space", lambda *_, **__: pytest.fail("it was too late"))
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    else:
        monkeypatch.setenv("HF_TOKEN", token)
    assert deploy.main([name]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert says in said
    assert said.count("\n") == 1
    assert connected.files == {}
    assert not connected.created


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("ENDPOINT", "http://127.0.0.1:9", "http://127.0.0.1:9 does not answer"),
        ("HF_HUB_OFFLINE", True, "HF_HUB_OFFLINE is set; unset it"),
    ],
)
def test_a_hub_that_is_away_is_one_sentence(
    connected: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    setting: str,
    value: object,
    says: str,
) -> None:
    monkeypatch.setattr(f"huggingface_hub.constants.{setting}", value)
    assert deploy.main(["user/name"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: logging in failed: {says}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/repos/create", 402, "creating user/name failed: the hub asks for a paid plan .*PRO is needed"),
        ("/api/repos/create", 403, "creating user/name failed: the token may not do this.*PRO is needed"),
        ("/api/validate-yaml", 400, "uploading to user/name failed: Invalid metadata"),
        ("/api/spaces/user/name/commit", 403, "uploading to user/name failed: the token may not do this"),
        ("/api/spaces/user/name/variables", 500, "variables of user/name failed: the hub answers 500"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    connected: Hub, tmp_path: Path, path: str, status: int, says: str
) -> None:
    (tmp_path / "README.md").write_text("---\ntitle: t\n---\n")
    connected.refuse = {path: (status, "PRO is needed")}
    with pytest.raises(StylecoreError, match=says) as caught:
        deploy.upload_space(deploy.logged_in(), "user/name", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_dry_run_writes_the_folder_and_asks_no_hub(
    connected: Hub, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(deploy, "write_weights", lambda _, folder: folder.mkdir())
    folder = tmp_path / "space"
    assert deploy.main(["--dry-run", "--folder", str(folder), "--tracking-uri", store]) == 0
    assert connected.asked == []
    said = capsys.readouterr().out
    assert f"Written to {folder}" in said
    assert all(f"  {path}\n" in said for path in contents(folder))


# --- the folder, served ---

GUARD = """
import os, socket

HERE = {None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::"}


def refuse(host):
    with open(os.environ["CALLS"], "a") as file:
        file.write(f"{host}\\n")
    raise OSError(f"a call to {host}")


def guarded(name):
    original = getattr(socket.socket, name)

    def call(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in HERE:
            refuse(address[0])
        return original(self, address)

    setattr(socket.socket, name, call)


for name in ("connect", "connect_ex"):
    guarded(name)

look_up = socket.getaddrinfo


def getaddrinfo(host, *arguments, **named):
    if (host.decode() if isinstance(host, bytes) else host) not in HERE:
        refuse(host)
    return look_up(host, *arguments, **named)


socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture(scope="module")
def served(space: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Path, Path]]:
    """The folder, started as on a Space by an environment of its requirements: address, folder, Python, calls made."""
    place = tmp_path_factory.mktemp("served")
    python = _environment(place / "venv", space / "requirements.txt")
    folder = shutil.copytree(space, place / "app")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "TMPDIR": str(place),
        "SYSTEM": "spaces",
        "SPACE_ID": "user/name",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "CALLS": str(place / "calls"),
        "OMP_NUM_THREADS": "1",
        **deploy.VARIABLES,
    }
    output = place / "output"
    with output.open("w") as file:
        process = subprocess.Popen([python, "app.py"], cwd=folder, env=environment, stdout=file, stderr=file)
    try:
        url = f"http://127.0.0.1:{port}/"
        for _ in range(600):
            try:
                assert httpx.get(url, timeout=30).status_code == 200
                break
            except httpx.TransportError:
                assert process.poll() is None, output.read_text()
                time.sleep(0.2)
        yield url, folder, python, place / "calls"
    finally:
        process.kill()
        process.wait()


def _environment(folder: Path, requirements: Path) -> Path:
    """A fresh environment with the requirements and what these require, each a link into this environment."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    wanted = [Requirement(line) for line in requirements.read_text().split("\n") if line and line[0] not in "-#"]
    done: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in done or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        done.add(name)
        distribution = importlib.metadata.distribution(name)
        assert requirement.specifier.contains(distribution.version, prereleases=True), requirement
        wanted += [Requirement(text) for text in distribution.requires or ()]
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    (site / "sitecustomize.py").write_text(GUARD)
    return folder / "bin" / "python"


def test_the_environment_of_a_space_has_nothing_of_training(served: tuple[str, Path, Path, Path]) -> None:
    _, folder, python, _ = served
    code = (
        "import importlib.util as util, sys\n"
        f"print([name for name in {FORBIDDEN!r} if util.find_spec(name)], util.find_spec('torch') is not None)\n"
        "print([path for path in sys.path if 'site-packages' in path])"
    )
    done = subprocess.run([python, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    found, paths = done.stdout.strip().split("\n")
    assert found == "[] True"
    assert ast.literal_eval(paths) == [str(next((python.parent.parent).glob("lib/python*/site-packages")))]


def test_the_served_folder_stylizes_and_paints_without_any_call(served: tuple[str, Path, Path, Path]) -> None:
    url, folder, _, calls = served
    client = Client(url, verbose=False)
    (style,) = client.predict(api_name="/styles")
    assert (style["name"], style["versions"]) == ("night", ["3", "2", "1"])
    assert style["aliases"]["iterations-10"] == "1"

    photo = folder / "photos" / "china.jpg"
    catalogue = BundleCatalogue(folder / "bundle")
    pixels = load_picture(photo, max_side=128).pixels
    for version in ("1", "3"):
        painted, facts = client.predict(handle_file(photo), "night", version, 128, api_name="/stylize")
        assert facts["version"] == version
        with Image.open(painted) as image:
            shown = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1) / 255
        expected = Engine(catalogue.open("night", version)).stylize(pixels)
        assert shown.shape == expected.shape
        assert (shown - expected).abs().mean() < 1.5 / 255

    answers = list(client.submit(handle_file(photo), handle_file(photo), 3, 128, 0.0, "noise", api_name="/gatys"))
    losses = [facts["losses"]["total"] for _, facts in answers]
    assert answers[-1][1]["step"] == 3
    assert losses[-1] < losses[0]
    assert not calls.exists(), calls.read_text()


def test_the_guard_notices_calls(served: tuple[str, Path, Path, Path], tmp_path: Path) -> None:
    python = served[2]
    code = "import urllib.request as r\ntry: r.urlopen('http://example.com', timeout=5)\nexcept OSError: pass"
    subprocess.run([python, "-c", code], env={"CALLS": str(tmp_path / "calls")}, check=True)
    assert (tmp_path / "calls").read_text() == "example.com\n"
