"""What visitors leave behind is gone within the hour; the page's own files stay."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.app import main
from demo.server.temporary_files import PREFIX, SECONDS_BETWEEN_SWEEPS, SECONDS_KEPT, own_folder, sweep


def test_what_is_old_goes_and_what_is_new_or_the_pages_own_stays(tmp_path: Path) -> None:
    old, new, own = (tmp_path / name / "photo.png" for name in ("a", "b", "c"))
    long_ago = time.time() - SECONDS_KEPT - 1
    for path in (old, new, own):
        path.parent.mkdir()
        path.write_bytes(b"")
    for path in (old, old.parent, own):
        os.utime(path, (long_ago, long_ago))
    sweep(tmp_path, SECONDS_KEPT, frozenset({own}))
    os.utime(old.parent, (long_ago, long_ago))
    sweep(tmp_path, SECONDS_KEPT, frozenset({own}))  # a folder is empty, and old, one sweep later
    assert {path.name for path in tmp_path.iterdir()} == {"b", "c"}
    assert new.is_file()
    assert own.is_file()
    assert SECONDS_KEPT + SECONDS_BETWEEN_SWEEPS <= 3600


def test_the_folder_goes_with_the_server_and_so_do_those_of_killed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    for number in (killed.pid, os.getpid()):  # a container that starts again gives the same numbers
        (tmp_path / f"{PREFIX}{number}-x").mkdir()
    other = tmp_path / f"{PREFIX}{os.getppid()}-x"
    other.mkdir()
    with own_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
        assert set(tmp_path.iterdir()) == {folder, other}
    assert set(tmp_path.iterdir()) == {other}
    assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "manifest.json").write_text('{"format": "stylecore.bundle/1", "styles": []}')
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "below"))
    assert main(["--bundle", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        f"error: the folder {tmp_path}/file/below cannot be written (Not a directory); "
        "set GRADIO_TEMP_DIR to one that can.\n"
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has these settings")
def test_the_c_library_takes_the_memory_settings() -> None:
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("another C library than glibc")
    code = "from demo.server.memory import return_freed_memory as f; raise SystemExit(0 if f() else 1)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0
