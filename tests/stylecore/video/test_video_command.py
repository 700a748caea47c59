"""`python -m stylecore video` as its user meets it."""

import json
import signal
from pathlib import Path

import pytest
from films import read_film, sound_packets, tiny_engine, write_film
from tqdm import tqdm

from stylecore.__main__ import main


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


def test_ctrl_c_leaves_a_film_that_plays(
    style: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    film, out = write_film(tmp_path / "in.mp4", range(20)), tmp_path / "out.mp4"
    painted: list[float] = []

    def update(bar: tqdm, frames: float) -> None:
        painted.append(frames)
        if len(painted) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(tqdm, "update", update)
    assert main(["video", str(film), "--style", str(style), "-o", str(out), "--runtime", "torch"]) == 130
    frames, _ = read_film(out)
    assert len(frames) == 3
    assert f"error: interrupted; the first 3 frames are in {out}" in capsys.readouterr().err
    assert not list(tmp_path.glob(".out.mp4.*"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
