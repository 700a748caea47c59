"""What the hub refuses, and the served folder."""

import ast
import importlib.metadata
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
from gradio_client import handle_file
from packaging.requirements import Requirement
from PIL import Image
from space_folder import connected, contents, hub, space, store  # noqa: F401 - fixtures

from demo import deploy
from demo.services.catalogue import BundleCatalogue
from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine
from stylecore.pictures.read import load_picture
from tests.demo.conftest import client_of
from tests.demo.local_hub import Hub

FORBIDDEN = ("mlflow", "accelerate", "datasets", "training")


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
    assert f"Written to {folder}: {len(contents(folder))} files, " in said


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
                assert httpx.get(url, timeout=200).status_code == 200
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


@pytest.mark.cluster
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


@pytest.mark.cluster
def test_the_served_folder_stylizes_and_paints_without_any_call(served: tuple[str, Path, Path, Path]) -> None:
    url, folder, _, calls = served
    client = client_of(url)
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


@pytest.mark.cluster
def test_the_guard_notices_calls(served: tuple[str, Path, Path, Path], tmp_path: Path) -> None:
    python = served[2]
    code = "import urllib.request as r\ntry: r.urlopen('http://example.com', timeout=5)\nexcept OSError: pass"
    subprocess.run([python, "-c", code], env={"CALLS": str(tmp_path / "calls")}, check=True)
    assert (tmp_path / "calls").read_text() == "example.com\n"
