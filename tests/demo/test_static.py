"""The folder of the page without a server, its upload, and where onnxruntime-web comes from."""

import json
import stat
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard
from space_folder import connected, contents, hub, store  # noqa: F401 - fixtures

from demo.static import folder as static_folder
from demo.static import runtime
from demo.static.__main__ import main
from tests.demo.local_hub import TOKEN, Hub

pytest.importorskip("onnx", reason="onnx is not installed")


@pytest.fixture(autouse=True)
def _without_the_large_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """No published runs, and a small file in place of onnxruntime-web."""

    def write_runtime(folder: Path) -> None:
        (folder / "ort").mkdir()
        (folder / "ort" / "ort.wasm.min.mjs").write_text("export {};")

    monkeypatch.setattr(static_folder, "restore_published", lambda **_: [])
    monkeypatch.setattr(static_folder, "write_runtime", write_runtime)


def test_a_dry_run_writes_the_folder_and_uploads_nothing(
    connected: Hub,
    store: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "static"
    assert main(["user/name", "--dry-run", "--folder", str(folder), "--tracking-uri", store]) == 0
    lines = capsys.readouterr().out.strip().split("\n")
    files = contents(folder)
    assert lines[-2].startswith(f"Written to {folder}: {len(files)} files, ")
    assert lines[-1] == "Nothing was uploaded."
    assert connected.asked == []

    card = SpaceCard.load(folder / "README.md").data
    assert (card.sdk, card.app_file) == ("static", "index.html")
    assert "{commit}" not in (folder / "README.md").read_text()
    assert "{version}" not in (folder / "sw.js").read_text()
    styles = json.loads((folder / "styles.json").read_text())["styles"]
    assert [style["name"] for style in styles] == ["night"]
    assert {style["file"] for style in styles} <= set(files)


def test_the_command_uploads_a_static_space(
    connected: Hub,
    store: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "static"
    connected.files["styles/gone.onnx"] = b"of an earlier upload"
    assert main(["user/name", "--private", "--folder", str(folder), "--tracking-uri", store]) == 0
    assert capsys.readouterr().out.strip().split("\n")[-1] == f"{connected.url}/spaces/user/name"
    assert (connected.created["sdk"], connected.created["visibility"]) == ("static", "private")
    assert set(connected.files) == set(contents(folder))
    assert connected.deleted == ["styles/gone.onnx"]


@pytest.mark.parametrize(
    ("name", "token", "says"),
    [
        ("", TOKEN, "which Space? Add SPACE=user/name"),
        ("no-slash", TOKEN, "'no-slash' does not name a Space"),
        ("user/name", None, "uploading needs a token"),
    ],
)
def test_what_is_wrong_is_one_sentence_before_anything_is_written(
    connected: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    token: str | None,
    says: str,
) -> None:
    if token is None:
        monkeypatch.delenv("HF_TOKEN")
    assert main([name, "--folder", str(tmp_path / "static")]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "static").exists()
    assert not connected.created


NPM = """#!/bin/sh
for last; do :; done
{action}
"""


@pytest.mark.parametrize(
    ("action", "says"),
    [
        (None, "npm, which is not installed; install Node.js"),
        ("echo something else > \"$last/package.tgz\"", "archive of onnxruntime-web@1.30.0 is not the expected one"),
        ("echo 'no network' >&2; exit 1", "npm cannot fetch onnxruntime-web@1.30.0 (no network)"),
    ],
)  # fmt: skip
def test_a_runtime_that_is_not_to_be_had_is_one_sentence_and_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, action: str | None, says: str
) -> None:
    monkeypatch.setenv("STYLECORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin" if action else str(tmp_path / "bin"))
    if action:
        npm = tmp_path / "bin" / "npm"
        npm.parent.mkdir()
        npm.write_text(NPM.format(action=action))
        npm.chmod(npm.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(runtime.StylecoreError) as raised:
        runtime.write_runtime(tmp_path)
    assert says in str(raised.value)
    assert list((tmp_path / "cache").rglob("*.tgz")) == []


def test_a_damaged_runtime_in_the_cache_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STYLECORE_CACHE", str(tmp_path))
    kept = tmp_path / "npm" / "onnxruntime-web-1.30.0.tgz"
    kept.parent.mkdir()
    kept.write_bytes(b"half of it")
    with pytest.raises(runtime.StylecoreError, match="is not the expected one and is removed; try again"):
        runtime.write_runtime(tmp_path)
    assert not kept.exists()
