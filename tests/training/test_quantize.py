"""`python -m training.quantize`, and quantized networks in the registry and in the published runs."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tracked_runs import log_style, start_run

from demo.services.catalogue import BundleCatalogue
from stylecore.errors import StylecoreError
from stylecore.johnson.quantization import Quantization, network_digest, sidecar_of
from stylecore.johnson.style_model import StyleModel
from stylecore.pictures.write import save_picture, to_image
from training import quantize as quantize_module
from training.quantize import choices, main, read_photos
from training.registry.bundle import write_bundle
from training.registry.published import publish_run
from training.registry.registry import Registry
from training.registry.restoring import restore_published
from training.tracking import JournaledTracker

with_openvino = pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="OpenVINO is not installed")
MakeStyle = Callable[..., StyleModel]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        coarse = torch.rand(1, 3, 5, 7)
        pixels = torch.nn.functional.interpolate(coarse, (48, 64), mode="bicubic").clamp(0, 1)[0]
        save_picture(pixels, tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def any_quality(monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained networks are not told apart by a few dB."""
    monkeypatch.setattr(quantize_module, "LEAST_PSNR", 10.0)
    monkeypatch.setattr(quantize_module, "LEAST_MEDIAN_PSNR", 10.0)


@with_openvino
def test_a_file_a_folder_and_a_name(
    tmp_path: Path,
    photos: Path,
    tiny_style: MakeStyle,
    any_quality: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [tmp_path / "styles" / f"{name}.safetensors" for name in ("one", "two")]
    for number, file in enumerate(files):
        tiny_style(name=file.stem, iterations=number).save(file, half=number == 1)
    shutil.copytree(tmp_path / "styles", tmp_path / "more")
    monkeypatch.setenv("STYLECORE_STYLES", str(tmp_path / "more"))
    assert main([str(tmp_path / "styles"), "two@iterations-1", "--photos", str(photos)]) == 0
    assert capsys.readouterr().out.count("8 of 8 convolutions in 8 bits") == 3
    for file in [*files, tmp_path / "more" / "two.safetensors"]:
        form = StyleModel.load(file).quantization
        assert form is not None
        assert (len(form.ranges), form.calibration_photos, form.held_out_photos) == (8, 12, 3)
        assert form.ranges["encoder.0"] == (0.0, 1.0)
        assert 10 < form.psnr_least <= form.psnr_median < 60
    assert not sidecar_of(tmp_path / "more" / "one.safetensors").exists()


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [("bad.safetensors", "bad.safetensors"), ("missing.safetensors", "there is no style file"), ("photos", "photos")],
)
def test_what_is_no_style_is_one_sentence(
    reference: str, sentence: str, tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no network")
    assert main([str(tmp_path / reference), "--photos", str(photos)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert sentence in last


@with_openvino
def test_what_is_not_near_enough_stays_float32(
    tmp_path: Path,
    photos: Path,
    tiny_style: MakeStyle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(quantize_module, "LEAST_PSNR", 90.0)
    file = tmp_path / "a.safetensors"
    tiny_style().save(file)
    sidecar_of(file).write_text("{}")  # an older form goes
    assert main([str(file), "--photos", str(photos)]) == 0
    assert "stays in float32" in capsys.readouterr().out
    assert not sidecar_of(file).exists()


def test_choices() -> None:
    names = ["encoder.0", "encoder.1", "residual_blocks.0.first", "decoder.0.layer.1", "decoder.2"]
    assert choices(names) == [names, names[:-1], names[1:-1], ["residual_blocks.0.first"]]


def test_photos_to_calibrate_on_are_not_those_to_measure_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(35):
        save_picture(torch.full((3, 8, 9), number / 40), tmp_path / f"{number}.png")
    photos = read_photos(tmp_path)
    assert (len(photos.calibration), len(photos.held_out)) == (20, 10)
    assert not {float(p.mean()) for p in photos.calibration} & {float(p.mean()) for p in photos.held_out}
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(quantize_module, "sample_photos", dict)
    with pytest.raises(StylecoreError, match="give a folder of them by --photos"):
        read_photos(None)
    with pytest.raises(StylecoreError, match="no photos in"):
        read_photos(tmp_path / "empty")


def form_of(model: StyleModel, median: float = 40.0) -> Quantization:
    return Quantization(network_digest(model.network), {"encoder.0": (0.0, 1.0)}, median, 35.5, 20, 10)


@pytest.fixture
def trained(store: str, tiny_style: MakeStyle) -> JournaledTracker:
    """A finished run of two checkpoints."""
    run = start_run(
        experiment="johnson",
        run_name="waves",
        params={},
        tags={"git_commit": "abc"},
        note="",
        note_image=to_image(torch.rand(3, 8, 12)),
        dataset={"name": "photos", "source": "/data/photos"},
        tracking_uri=store,
        system_metrics=False,
    )
    for step in (10, 20):
        log_style(run, tiny_style(iterations=step), step, {})
    run.finish()
    return run


def test_an_8_bit_form_replaces_the_old_one_and_travels(
    trained: JournaledTracker, store: str, new_store: Callable[[Path], str], tmp_path: Path
) -> None:
    registry = Registry(store)
    version = registry.find("tiny_waves/1")
    assert version.int8 == ""
    model = StyleModel.load(registry.weights(version))
    for form in (form_of(model, 41.0), form_of(model)):
        version = registry.add_quantization(version, form)
        assert len(version.int8) == 64
        assert StyleModel.load(registry.weights(version)).quantization == form

    published = publish_run(trained.run_id, tmp_path / "published", tracking_uri=store)
    names = {path.name for path in (published / "checkpoints").iterdir()}
    assert names == {"iterations-10.safetensors", "iterations-10.int8.json", "iterations-20.safetensors"}

    other = new_store(tmp_path / "other")
    assert restore_published(tmp_path / "published", other) == [published.name]
    restored = Registry(other)
    found = restored.find("tiny_waves@iterations-10")
    assert StyleModel.load(restored.weights(found)).quantization == form
    assert restored.find("tiny_waves@iterations-20").int8 == ""

    restored.promote("tiny_waves", "iterations-10")
    write_bundle(restored, tmp_path / "bundle")
    assert BundleCatalogue(tmp_path / "bundle").open("tiny_waves").quantization == form


@with_openvino
def test_a_registered_version_is_quantized_and_no_longer_when_it_is_not_near_enough(
    trained: JournaledTracker,
    store: str,
    photos: Path,
    any_quality: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["models:/tiny_waves@iterations-20", "--photos", str(photos)]
    assert main(arguments) == 0
    assert "tiny_waves/2: 8 of 8 convolutions" in capsys.readouterr().out
    registry = Registry(store)
    assert StyleModel.load(registry.weights(registry.find("tiny_waves/2"))).quantization is not None
    monkeypatch.setattr(quantize_module, "LEAST_PSNR", 90.0)
    assert main(arguments) == 0
    registry = Registry(store)
    version = registry.find("tiny_waves/2")
    assert version.int8 == ""
    assert StyleModel.load(registry.weights(version)).quantization is None
