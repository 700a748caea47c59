"""Two ratios, two steps, a photo of 48 pixels: what is on the sheet and what is in the store."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from stylecore.errors import StylecoreError
from stylecore.gatys.paint import GatysConfig, paint
from stylecore.pictures.read import load_picture, read_settings
from stylecore.pictures.write import save_picture
from stylecore.vgg.network import VGG
from tests.small_vgg import small_vgg
from training.experiments import gatys_grid
from training.experiments.gatys_grid import grid_sheet, main, paint_ratios
from training.tracking.store import connect


@pytest.fixture(scope="module")
def vgg() -> VGG:
    return small_vgg()


def picture(seed: int, height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (height, width), mode="bilinear")[0]


@pytest.fixture
def files(tmp_path: Path, vgg: VGG, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments: a photo, a style picture of another shape, and where the sheet goes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gatys_grid, "load_vgg", lambda *_, **__: vgg)
    save_picture(picture(1, 36, 48), "town.png")
    save_picture(picture(2, 40, 20), "waves.png")
    return ["town.png", "--style", "waves.png", "-o", "sheet.png", "--steps", "2"]


def test_every_ratio_is_a_run_and_a_cell_of_the_sheet(
    files: list[str], store: str, vgg: VGG, capsys: pytest.CaptureFixture[str]
):
    assert main([*files, "--ratios", "1", "1e-6"]) == 0
    client = connect(store)
    runs = client.search_runs(
        [client.get_experiment_by_name("gatys").experiment_id], order_by=["attributes.start_time"]
    )
    assert sorted(run.info.run_name for run in runs) == ["town-waves-1", "town-waves-1e-06"]
    content, style = (load_picture(file).pixels for file in ("town.png", "waves.png"))
    for run, ratio in zip(sorted(runs, key=lambda run: run.info.run_name), (1.0, 1e-6), strict=True):
        assert run.info.status == "FINISHED"
        assert float(run.data.params["ratio"]) == ratio
        assert float(run.data.params["style_weight"]) == pytest.approx(1 / ratio)
        assert set(GatysConfig.__dataclass_fields__) <= run.data.params.keys()
        assert run.data.params["photo"] == "town"
        assert run.data.tags["grid"] == "town-waves"
        assert "git_commit" in run.data.tags
        *_, last = paint(content, style, vgg, GatysConfig(steps=2, start="noise", style_weight=1 / ratio))
        totals = client.get_metric_history(run.info.run_id, "loss/total")
        assert [point.step for point in totals] == [1, 2]
        assert totals[-1].value == pytest.approx(last.losses["total"])
        assert "loss/style/relu3_1" in run.data.metrics
        images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
        assert {step for step in (0, 2) if any(f"preview~town+step+{step}+" in image for image in images)} == {0, 2}
    assert "sheet.png: 2 ratios" in capsys.readouterr().out
    settings = read_settings("sheet.png")
    assert settings is not None
    assert settings["ratios"] == [1.0, 1e-6]


def test_the_sheet_goes_from_the_photo_over_the_ratios_to_the_style():
    content, style = torch.full((3, 30, 40), 0.25), torch.full((3, 60, 20), 0.75)
    sheet = grid_sheet(content, style, [1e-1, 1e-2], [torch.full((3, 30, 40), value) for value in (0.4, 0.6)])
    row = sheet[0, 16 + 15]
    middles = [row[16 + 20 + index * (40 + 16)].item() for index in range(4)]
    assert middles == pytest.approx([0.25, 0.4, 0.6, 0.75], abs=1 / 255)
    assert sheet.shape[-1] == 16 + 4 * (40 + 16)
    assert row[16 + 3 * 56 + 2] > 0.9  # beside the narrow style picture


def test_the_pictures_are_those_of_the_engine_in_the_order_of_the_ratios(vgg: VGG, store: str):
    content, style = picture(1, 32, 32), picture(2, 32, 32)
    about = {"photo": "a", "style": "b"}
    pictures = paint_ratios(content, style, vgg, [1e-2, 1e3], GatysConfig(steps=3), about=about)
    for painted, style_weight in zip(pictures, (1e2, 1e-3), strict=True):
        *_, last = paint(content, style, vgg, GatysConfig(steps=3, style_weight=style_weight))
        assert torch.allclose(painted, last.picture(), atol=1e-4)
    assert not torch.allclose(*pictures, atol=1e-3)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(StylecoreError("it diverged."), "FAILED", 2), (None, "KILLED", 130)],
)
def test_a_run_that_ends_early_says_so_and_no_sheet_is_written(
    files: list[str], store: str, monkeypatch: pytest.MonkeyPatch, error: Exception | None, status: str, code: int
):
    def broken(*arguments, **named):
        yield next(paint(*arguments, **named))
        raise error or KeyboardInterrupt

    monkeypatch.setattr(gatys_grid, "paint", broken)
    assert main([*files, "--ratios", "1e-3", "1e-4"]) == code
    client = connect(store)
    (run,) = client.search_runs([client.get_experiment_by_name("gatys").experiment_id])
    assert run.info.status == status
    assert not Path("sheet.png").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--ratios", "0"], "the ratio is 0, and must be a number above 0"),
        (["--ratios", "1e-3", "inf"], "the ratio is inf, and must be a number above 0"),
        (["--steps", "0"], "at least 1"),
        (["--max-side", "0"], "--max-side is 0"),
        (["-o", "sheet.psd"], "sheet.psd"),
        (["-o", "waves.png"], "waves.png is read and never replaced"),
        (["--style", "none.png"], "none.png"),
    ],
)
def test_mistakes_end_with_one_sentence_before_any_run_begins(
    files: list[str], store: str, capsys: pytest.CaptureFixture[str], more: list[str], message: str
):
    assert main([*files, *more]) == 2
    assert message in capsys.readouterr().err
    assert connect(store).get_experiment_by_name("gatys") is None
