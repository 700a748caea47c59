"""The command line as its user meets it."""

import io
import json
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylecore.__main__ import COMMANDS, main
from stylecore.cli.gatys import parse_layers
from stylecore.cli.stylize import Job, plan
from stylecore.errors import StylecoreError
from stylecore.inference.painting import DETAIL
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.pictures.read import picture_from_image, read_settings
from stylecore.sheet import compose, label_of
from stylecore.vgg.weights import find_weights

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two small styles in the library; "waves" in two stages of training."""
    folder = tmp_path / "library"
    network = TransformNetConfig(residual_blocks=1, width=0.25)
    for name, iterations in (("waves", 10), ("waves", 200), ("stars", 10)):
        card = StyleCard(name=name, title=f"The {name}", artist="Nobody", network=network, iterations=iterations)
        StyleModel(TransformNet(network), card).save(folder / name / f"iterations-{iterations}.safetensors")
    (folder / "torn.safetensors").write_bytes(b"torn")
    monkeypatch.setenv("STYLECORE_STYLES", str(folder))
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    ramp = np.linspace(0, 255, 37 * 51 * 3).reshape(37, 51, 3).astype(np.uint8)
    Image.fromarray(ramp).save(path, quality=95)
    return path


def fails(arguments: list[str | Path], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on standard error of a command that ends with status 2."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.strip().splitlines()
    assert line.startswith("error: ")
    return line


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_one_photo_keeps_its_size_and_says_how_it_was_made(library: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.png"
    assert main(["stylize", str(photo), "--style", "waves", "-o", str(out), "--strength", "0.5"]) == 0
    assert Image.open(out).size == (51, 37)
    settings = read_settings(out)
    assert settings is not None
    assert (settings["style"], settings["iterations"], settings["strength"]) == ("waves", 200, 0.5)
    assert settings["runtime"] in ("torch", "openvino")  # a style that is not quantized


def test_strength_zero_is_the_photo(library: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    assert main(["stylize", str(photo), "--style", "waves@iterations-10", "-o", str(out), "--strength", "0"]) == 0
    assert np.array_equal(np.asarray(Image.open(out)), np.asarray(Image.open(photo)))


def test_transparency_comes_back(library: Path, tmp_path: Path) -> None:
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[:, :15, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert main(["stylize", str(tmp_path / "a.png"), "--style", "waves", "-o", str(tmp_path / "b.png")]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png"))[..., 3], rgba[..., 3])


def test_a_folder_is_mirrored_what_is_done_skipped_and_a_bad_file_reported(
    library: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    for name in ("a.jpg", "sub/b.jpg"):
        (source / name).write_bytes(photo.read_bytes())
    (source / "bad.png").write_text("no picture")
    (source / "notes.txt").write_text("left alone")
    Image.open(photo).save(source / "moving.gif")
    command = ["stylize", str(source), "--style", "waves", "-o", str(out)]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "bad.png" in error
    assert "1 of 4 photos failed" in error
    assert files(out) == {"a.jpg", "moving.png", "sub/b.jpg"}

    before = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    (source / "bad.png").unlink()
    assert main(command) == 0
    assert {name: (out / name).stat().st_mtime_ns for name in files(out)} == before
    assert main([*command, "--overwrite"]) == 0
    assert all((out / name).stat().st_mtime_ns > time_ns for name, time_ns in before.items())


def test_json_is_one_object_a_photo(
    library: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.jpg"
    again.write_bytes(photo.read_bytes())
    arguments = ["stylize", str(photo), str(again), "--style", "stars", "-o", str(tmp_path / "out"), "--json"]
    assert main(arguments) == 0
    reports = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(Path(r["output"]).name, r["width"], r["height"]) for r in reports] == [
        ("photo.jpg", 51, 37),
        ("again.jpg", 51, 37),
    ]


@pytest.mark.slow
def test_standard_input_to_standard_output(library: Path, photo: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "stylecore", "stylize", "-", "--style", "waves", "-o", "-"],
        input=photo.read_bytes(),
        capture_output=True,
        cwd=REPOSITORY,
        check=True,
        timeout=200,
    )
    assert Image.open(io.BytesIO(result.stdout)).size == (51, 37)
    assert Image.open(io.BytesIO(result.stdout)).format == "PNG"


def test_the_environment_of_make_has_the_commands_in_every_folder(tmp_path: Path) -> None:
    if not Path(sysconfig.get_path("purelib"), "stylecore.pth").exists():
        pytest.skip("this environment was not made by make")
    where = subprocess.run([sys.executable, "-m", "stylecore", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert "stylize" in where.stdout, where.stderr


def test_mistakes_are_one_sentence_and_leave_nothing(
    library: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty").mkdir()
    before = files(tmp_path)
    out = tmp_path / "out.png"
    style = ["--style", "waves", "-o"]
    cases: list[tuple[list[str | Path], str]] = [
        (["stylize", photo, "--style", "clouds", "-o", out], "there are stars, waves"),
        (["stylize", photo, "--style", library / "torn.safetensors", "-o", out], "torn.safetensors"),
        (["stylize", photo, "--style", tmp_path / "no.safetensors", "-o", out], "no.safetensors"),
        (["stylize", tmp_path / "none.jpg", *style, out], "none.jpg"),
        (["stylize", "", *style, out], "a file without a name does not exist"),
        (["stylize", tmp_path / "text.jpg", *style, out], "text.jpg"),
        (["stylize", photo, *style, tmp_path / "out.bmp"], ".png"),
        (["stylize", photo, *style, out, "--strength", "1.5"], "--strength"),
        (["stylize", photo, tmp_path / "text.jpg", *style, tmp_path / "o", "--brush", "9"], "--brush is 9"),
        (["stylize", photo, *style, out, "--max-pixels", "100"], "--max-pixels"),
        (["stylize", photo, *style, out, "--max-side", "0"], "--max-side"),
        (["stylize", photo, *style, out, "--device", "toaster"], "toaster"),
        (["stylize", tmp_path / "empty", *style, tmp_path / "o"], "has no photos"),
        (["stylize", photo, photo, *style, out], "folder"),
        (["stylize", photo, *style, "-", "--json"], "--json"),
        (["stylize", photo, *style, photo, "--overwrite"], "is read and never replaced"),
        (["stylize", photo, *style, photo.parent, "--overwrite"], "is read and never replaced"),
        (["sheet", photo, "-o", photo], "is read and never replaced"),
        (
            ["gatys", photo, "--style", tmp_path / "text.jpg", "-o", tmp_path / "text.jpg"],
            "is read and never replaced",
        ),
        (["gatys", photo, "--style", photo, "-o", out, "--seed", str(2**63)], "seed"),
        (["stylize", tmp_path / "none.jpg", *style, tmp_path / "new" / "out.png"], "none.jpg"),
        (["sheet", photo, "-o", out, "--columns", "0"], "--columns"),
        (["import", tmp_path / "text.jpg", "--name", "x", "-o", tmp_path / "x.safetensors"], "text.jpg"),
        (["import", tmp_path / "text.jpg", "--name", "x", "-o", out], ".safetensors"),
        (["gatys", photo, "--style", tmp_path / "none.jpg", "-o", out], "none.jpg"),
        (["gatys", photo, "--style", photo, "-o", out, "--steps", "0"], "steps"),
        (["gatys", photo, "--style", photo, "-o", out, "--style-layers", "relu1_1=x"], "relu1_1"),
    ]
    for arguments, words in cases:
        assert words in fails(arguments, capsys), arguments
    assert files(tmp_path) == before


def test_photos_that_would_become_one_picture_are_kept_apart() -> None:
    # The one that keeps its name has it also when the other one is added later.
    assert list(plan(["a/x.gif", "b/x.png"], "out")) == [Job("b/x.png", "out/x.png"), Job("a/x.gif", "out/x.gif.png")]
    with pytest.raises(StylecoreError, match="both become"):
        list(plan(["a/x.png", "b/x.png", "c/x.png"], "out"))


def test_pictures_of_an_earlier_run_in_the_folder_are_not_photos(tmp_path: Path) -> None:
    (out := tmp_path / "out").mkdir()
    for path in (tmp_path / "a.jpg", out / "a.jpg"):
        path.touch()
    assert list(plan([str(tmp_path)], str(out))) == [Job(str(tmp_path / "a.jpg"), str(out / "a.jpg"))]


def test_photos_of_a_phone_count_among_those_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").touch()
    (tmp_path / "._IMG_1.HEIC").touch()  # what macOS puts beside it on other disks
    out = tmp_path / "out"
    assert list(plan([str(tmp_path)], str(out))) == [Job(str(tmp_path / "IMG_1.HEIC"), str(out / "IMG_1.png"))]


def test_a_line_for_each_style(
    library: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["styles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [(line.split()[0], line.split()[-2]) for line in lines] == [("stars", "10"), ("waves", "200")]
    assert "The waves, Nobody" in lines[1]
    monkeypatch.setenv("STYLECORE_STYLES", str(library / "nothing"))
    assert main(["styles"]) == 0
    assert "No styles yet" in capsys.readouterr().out


def test_every_version_is_listed_where_asked_for(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["styles", "--versions"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "stars@iterations-10",
        "waves@iterations-10",
        "waves@iterations-200",
    ]
    assert main(["styles", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["stars", "waves", "waves"]


def test_a_style_is_listed_with_the_aliases_of_its_versions(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = library / "run" / "checkpoints"
    run.mkdir(parents=True)
    for iterations in (10, 200):
        (library / "waves" / f"iterations-{iterations}.safetensors").rename(
            run / f"iterations-{iterations}.safetensors"
        )
    aliases = {"fast": "run/10", "iterations-10": "run/10", "champion": "run/200"}
    (library / "aliases.json").write_text(json.dumps({"waves": aliases}))
    assert main(["styles"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[-2:] == ["iterations", "@fast"]


def test_a_file_with_a_card_of_wrong_types_is_passed_over(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = library / "stars" / "iterations-10.safetensors"
    content = path.read_bytes()
    path.write_bytes(content.replace(rb"\"iterations\": 10,", rb"\"iterations\": [],"))
    assert path.read_bytes() != content
    assert main(["styles"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["waves"]


def test_a_title_that_the_font_has_no_letters_for_is_the_name() -> None:
    assert label_of("Café Terrace", "cafe") == "Café Terrace"
    assert label_of("向日葵", "my_painting") == label_of("", "my_painting") == "my_painting"


def test_a_sheet_may_be_larger_than_photos_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(picture_from_image.__kwdefaults__, "max_pixels", 100)
    assert compose([("a", Image.new("RGB", (20, 20)))] * 2).shape == (3, 80, 88)


def test_a_sheet_has_the_photo_and_every_style_once(library: Path, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert main(["sheet", str(photo), "-o", str(out), "--columns", "3"]) == 0
    sheet = Image.open(out)
    assert sheet.width == 3 * 51 + 4 * 16
    made = {"command": "sheet", "styles": ["stars", "waves"], "strength": 1.0, "keep_colors": False}
    assert read_settings(out) == {**made, "brush": 1.0, "detail": DETAIL}
    cell = np.asarray(sheet)[16 : 16 + 37, 16 : 16 + 51]
    assert np.array_equal(cell, np.asarray(Image.open(photo)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert "usage: python -m stylecore" in capsys.readouterr().out


def test_layers_with_and_without_weights() -> None:
    assert parse_layers(["relu1_1", "relu2_1"]) == ("relu1_1", "relu2_1")
    assert parse_layers(["relu1_1=0.5", "relu2_1"]) == {"relu1_1": 0.5, "relu2_1": 1.0}


@pytest.fixture(scope="module")
def _vgg19() -> None:
    try:
        find_weights("vgg19")
    except StylecoreError as error:
        pytest.skip(f"VGG-19's weights are not here: {error}")


@pytest.mark.usefixtures("_vgg19")
def test_gatys_paints_and_says_how(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    style = tmp_path / "style.png"
    Image.fromarray((np.indices((40, 40)).sum(0) % 8 * 30).astype(np.uint8)).save(style)
    out = tmp_path / "out.png"
    flags = ["--steps", "3", "--style-layers", "relu1_1", "relu2_1=2", "--content-layers", "relu2_2", "--json"]
    assert main(["gatys", str(photo), "--style", str(style), "-o", str(out), *flags]) == 0
    steps = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert set(steps[0]["losses"]) >= {"total", "style/relu1_1", "style/relu2_1", "content/relu2_2"}
    assert Image.open(out).size == (51, 37)
    settings = read_settings(out)
    assert settings is not None
    assert (settings["steps_made"], settings["styles"], settings["start_picture"]) == (3, ["style.png"], "")
    unknown = ["gatys", photo, "--style", style, "-o", tmp_path / "x.png", "--content-layers", "relu9_9"]
    assert "relu4_2" in fails(unknown, capsys)
    assert not (tmp_path / "x.png").exists()


@pytest.mark.usefixtures("_vgg19")
def test_interrupting_gatys_saves_the_picture_reached(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class AtTheFirstLine(io.StringIO):
        def flush(self) -> None:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("sys.stdout", AtTheFirstLine())
    out = tmp_path / "out.png"
    flags = ["--style", str(photo), "-o", str(out), "--steps", "100000", "--json", "--style-layers", "relu1_1"]
    assert main(["gatys", str(photo), *flags]) == 130
    assert f"error: interrupted; the picture after 1 steps is in {out}" in capsys.readouterr().err
    assert Image.open(out).size == (51, 37)


def test_import_makes_a_style_that_stylizes(tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = TransformNetConfig(residual_blocks=1, width=0.125)
    weights = TransformNet(network).state_dict()
    names = {"encoder.0": ("conv1", "in1"), "encoder.1": ("conv2", "in2"), "encoder.2": ("conv3", "in3")}
    names |= {"decoder.0.layer.1": ("deconv1", "in4"), "decoder.1.layer.1": ("deconv2", "in5")}
    names |= {"decoder.2": ("deconv3", "")}
    names |= {
        "residual_blocks.0.first": ("res1.conv1", "res1.in1"),
        "residual_blocks.0.second": ("res1.conv2", "res1.in2"),
    }
    theirs = {}
    for name, value in weights.items():
        layer, part, kind = name.rsplit(".", 2)
        convolution, normalization = names[layer]
        theirs[f"{convolution}.conv2d.{kind}" if part == "convolution" else f"{normalization}.{kind}"] = value
    torch.save(theirs, tmp_path / "their.pth")
    out = tmp_path / "mine.safetensors"
    assert main(["import", str(tmp_path / "their.pth"), "--name", "mine", "-o", str(out), "--title", "Mine"]) == 0
    assert "mine" in capsys.readouterr().out
    assert StyleModel.load(out).card.title == "Mine"
    assert main(["stylize", str(photo), "--style", str(out), "-o", str(tmp_path / "o.png")]) == 0
