"""`python -m stylecore video` as its user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from films import read_film, sound_packets, tiny_engine, write_film

from stylecore.__main__ import main

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def style(tmp_path: Path) -> Path:
    tiny_engine().model.save(path := tmp_path / "tiny.safetensors")
    return path


def test_a_film_with_sound(style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film, out = write_film(tmp_path / "in.mp4", range(10), sound="aac"), tmp_path / "out.mp4"
    command = ["video", str(film), "--style", str(style), "-o", str(out), "--json", "--max-side", "32"]
    assert main([*command, "--from", "0:00.2", "--to", "0.8", "--every", "2", "--calm", "1", "--keep-colors"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["frames"], report["width"], report["height"]) == (3, 32, 24)
    frames, times = read_film(out)
    assert times == pytest.approx([0, 0.2, 0.4])
    assert frames[0].shape == (24, 32, 3)
    assert sound_packets(out)


def test_mistakes_are_one_sentence(style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = write_film(tmp_path / "in.mp4")
    for flags, words in (
        (["--from", "soon"], "'soon' is no time"),
        (["--from", "1e300"], "is empty"),
        (["--every", "1000000000"], "--every is 1000000000"),
        (["--calm", "2"], "--calm is 2"),
        (["--brush", "9"], "--brush is 9"),
        (["--style", "nobody"], "no style"),
    ):
        assert main(["video", str(film), "--style", str(style), "-o", str(tmp_path / "out.mp4"), *flags]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("error: ")
        assert words in line
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "tiny.safetensors"}


@pytest.mark.slow
def test_ctrl_c_leaves_a_film_that_plays(style: Path, tmp_path: Path) -> None:
    film, out = write_film(tmp_path / "in.mp4", range(100)), tmp_path / "out.mp4"
    process = subprocess.Popen(
        [
            *f"{sys.executable} -m stylecore video --runtime torch --brush 0.1".split(),
            film,
            "--style",
            style,
            "-o",
            out,
        ],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and not list(tmp_path.glob(".out.mp4.*.part")):
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=200)
    assert process.returncode == 130, error
    if out.exists():  # else it came before the first frame
        frames, _ = read_film(out)
        assert 0 < len(frames) < 100
        assert f"the first {len(frames)} frames are in {out}" in error
    assert not list(tmp_path.glob(".out.mp4.*"))
