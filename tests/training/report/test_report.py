"""The report of a store with a published run and small ones: its figures are the store's, its pictures are there."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from tracked_runs import log_style, start_run

from stylecore.gatys.paint import GatysConfig
from stylecore.pictures.write import to_image
from stylecore.sheet import Row, contact_sheet
from tests.small_vgg import small_vgg
from training.experiments.costs import EXPERIMENT as BENCHMARKS
from training.experiments.costs import RUN_NAME
from training.experiments.gatys_grid import paint_ratios
from training.registry.published import PHOTOS, PUBLISHED, publish_run
from training.registry.restoring import restore_published
from training.registry.versions import log_preview
from training.report.data import reached_at, smoothed
from training.report.text import difference, loss_text, percent, plain
from training.tracking.store import connect

pytestmark = pytest.mark.slow


def main(arguments: list[str]) -> int:
    """The command, which imports Matplotlib: collecting the tests need not."""
    from training.report.__main__ import main

    return main(arguments)


def write_report(folder: Path, uri: str | None = None) -> Path:
    from training.report.__main__ import write_report

    return write_report(folder, uri)


SETTINGS = {"content_weight": 1e5, "style_weight": 1e10, "global_batch_size": 2, "crop": 32, "residual_blocks": 1}


def train(uri: str, run: str, style: str, model, *, starts_at: float = 1000, length: int = 400, **params) -> None:
    """What training leaves behind: a loss that falls by 1 an iteration, and an evaluated checkpoint."""
    tracker = start_run(
        experiment="johnson",
        run_name=run,
        params={**SETTINGS, "iterations": length, "title": style.title(), **params},
        tags={"device": "cpu"},
        note_image=to_image(torch.rand(3, 8, 12)),
        tracking_uri=uri,
        system_metrics=False,
    )
    for step in range(50, length + 1, 50):
        loss = starts_at - step
        layers = {"loss/style/relu1_2": loss / 8, "loss/style/relu4_3": loss / 4}
        tracker.log({"loss/total": loss, "loss/content": loss / 2, "loss/style": loss / 2, **layers}, step)
        tracker.log({"perf/images_per_second": 2.0, "output/saturated_share": 1 / step}, step)
    for step in (0, length):
        log_preview(tracker, "amber", torch.full((3, 16, 24), step / 1000), step)
    log_style(tracker, model(style, length), length, {})
    for key, value in (("total", 123456.0), ("equivalent_gatys_iterations", 31.5), ("spot_share", 0.0123)):
        tracker.log({f"eval/{key}_256": value, f"eval/{key}": value}, length)
    tracker.finish()


def measure_costs(uri: str) -> None:
    params = {"cores": 2, "threads": 1, "processor": "Abacus", "gatys_steps": 20, "style": "wave"}
    tracker = start_run(
        experiment=BENCHMARKS, run_name=RUN_NAME, params=params, tags={}, tracking_uri=uri, system_metrics=False
    )
    for number, seconds in enumerate((9.0, 7.0, 8.0), 1):
        tracker.log({"gatys/seconds_256": seconds, "stylize/milliseconds_512": 10 * seconds}, number)
    tracker.finish()


def paint_grid() -> None:
    vgg = small_vgg()
    coarse = torch.rand(1, 3, 4, 4)
    photo = nn.functional.interpolate(coarse, (36, 48), mode="bilinear")[0]
    config = GatysConfig(steps=2, start="noise")
    paint_ratios(photo, photo.flip(0), vgg, (1, 1e-3), config, about={"photo": "town", "style": "waves"})


def make_small(published: Path) -> None:
    """Leave one photo and every tenth point of the curves: the others are most of what restoring takes."""
    record, metrics = published / "run.json", published / "metrics.csv"
    fields = json.loads(record.read_text(encoding="utf-8"))
    fields["previews"] = [preview for preview in fields["previews"] if preview["photo"] == "lion"]
    record.write_text(json.dumps(fields), encoding="utf-8")
    first, *lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if int(line.split(",")[1]) % 100 == 0]
    metrics.write_text("".join([first, *kept]), encoding="utf-8")


@pytest.fixture
def store(store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A test's own store. What such a test reads are words, so the plots are left out."""
    monkeypatch.setattr("training.report.pictures.plot", lambda *_: None)
    return store


@dataclass(frozen=True)
class Written:
    """A report and the store that it was made from."""

    uri: str
    folder: Path
    text: str
    reference: str
    """The name of the published run."""


@pytest.fixture(scope="module")
def written(
    new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory, tiny_style
) -> Iterator[Written]:
    folder = tmp_path_factory.mktemp("report")
    uri = new_store(folder)
    published = PUBLISHED / "starry_night_seed_0"
    shutil.copytree(published, folder / "published" / published.name)
    shutil.copytree(PUBLISHED / PHOTOS, folder / "published" / PHOTOS)
    make_small(folder / "published" / published.name)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MLFLOW_TRACKING_URI", uri)
        restore_published(folder / "published")
        train(uri, "wave_from_scratch", "wave", tiny_style)
        train(uri, "wave", "wave", tiny_style, starts_at=900, init_from="models:/starry_night@champion")
        train(uri, "starry_night_small_style_weight", "starry_night", tiny_style, style_weight=1e9)
        paint_grid()
        measure_costs(uri)
        assert main(["--to", str(folder / "out")]) == 0
        text = (folder / "out" / "REPORT.md").read_text(encoding="utf-8")
        yield Written(uri, folder, text, published.name)


def evaluations(uri: str, run_name: str, key: str) -> dict[int, float]:
    client = connect(uri)
    experiment = client.get_experiment_by_name("johnson").experiment_id
    (run,) = client.search_runs([experiment], f"attributes.run_name = '{run_name}'")
    return {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, f"eval/{key}_256")}


def cells(text: str, *beginnings: str) -> list[list[str]]:
    """The cells of the table rows that begin with these."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in rows if row[: len(beginnings)] == list(beginnings)]


def section(text: str, title: str) -> str:
    return re.split(r"^## ", text.split(f". {title}\n")[1], flags=re.MULTILINE)[0]


def test_the_figures_are_those_of_the_store(written: Written):
    totals = evaluations(written.uri, written.reference, "total")
    assert totals
    part = section(written.text, "1000, 1500 and 3500 iterations")
    rows = [row for row in cells(part) if row[1].isdigit()]
    assert [int(row[1]) for row in rows] == sorted(totals)
    for column, key, digits in ((2, "total", 4), (3, "content", 4), (4, "style", 4)):
        stored = evaluations(written.uri, written.reference, key)
        for row in rows:
            assert float(row[column]) == float(f"{stored[int(row[1])]:.{digits}g}")
    for row in rows:
        equivalents = evaluations(written.uri, written.reference, "equivalent_gatys_iterations")
        assert row[5] == f"{equivalents[int(row[1])]:.1f}"
        share = evaluations(written.uri, written.reference, "spot_share")[int(row[1])]
        assert row[6] == f"{100 * share:.2f} %"


def test_every_picture_is_there_and_shown_and_all_are_small(written: Written):
    shown = re.findall(r"!\[[^]]*\]\((report/[\w.-]+)\)", written.text)
    there = {f"report/{path.name}" for path in (written.folder / "out" / "report").iterdir()}
    assert set(shown) == there
    for name in there:
        with Image.open(written.folder / "out" / name) as image:
            image.load()
    assert {path.partition("/")[2] for path in shown} >= {
        "iterations.jpg", "half_painted.jpg", "gallery_wave.jpg", "from_scratch.png",
        "equivalent_iterations.png", "spots.png", "losses.png",
    }  # fmt: skip
    assert sum((written.folder / "out" / name).stat().st_size for name in there) < 3e6


def test_the_report_names_no_place_of_this_machine(written: Written):
    assert str(written.folder) not in written.text
    assert not re.search(r"(^|[\s(`'\"=])/\w+/", written.text)
    assert "file:" not in written.text


def test_losses_of_another_weight_are_divided_by_it(written: Written):
    part = section(written.text, "A small style weight")
    assert "style weight 1e9 instead of" in part
    (row,) = cells(part, "relu4_3")
    assert float(row[1]) == pytest.approx((1000 - 400 + 25) / 4 / 1e9, rel=1e-3)


def test_twins_are_compared_at_equal_smoothed_losses(written: Written):
    """The mean of two points is 25 above the last one: from scratch 625 after 400 iterations, and so on."""
    rows = cells(section(written.text, "From a trained network, or from scratch"), "`wave`")
    assert [row[1:] for row in rows] == [
        ["`starry_night@champion`", "625", "400", "300"],
        ["`starry_night@champion`", "525", "not in 400", "400"],
    ]


def test_the_grid_and_the_gallery_have_a_row_each(written: Written):
    grid = cells(section(written.text, "Content and style by the method of Gatys et al."))
    assert [row[:3] for row in grid if row[2] == "2"] == [["1", "50.0 %", "2"], ["0.001", "0.1 %", "2"]]
    (row,) = [row for row in cells(section(written.text, "The gallery")) if row[0].startswith("**Wave**")]
    assert row[2:] == ["400", "31.5", "1.23 %"]


@pytest.fixture(scope="module")
def comparisons(new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory, tiny_style) -> Written:
    """A report without plots, of runs that the report compares, or must not."""
    folder = tmp_path_factory.mktemp("comparisons")
    uri = new_store(folder)
    train(uri, "wave_from_scratch", "wave", tiny_style, style_weight=5e9)
    train(uri, "wave", "wave", tiny_style, init_from="models:/starry_night@champion")
    train(uri, "starry_night_seed_0", "starry_night", tiny_style, length=200)
    larger = {"batch_size": 4, "global_batch_size": 4}
    for seed in (0, 1):
        train(uri, f"starry_night_seed_{seed}", "starry_night", tiny_style, seed=seed)
        train(uri, f"starry_night_seed_{seed}_batches_of_4", "starry_night", tiny_style, seed=seed, **larger)
    failed = start_run(experiment="johnson", run_name="starry_night_seed_0", params={}, tags={}, tracking_uri=uri)
    failed.finish("FAILED", "a test")
    train(uri, "starry_night_bolder", "starry_night", tiny_style)
    for length, ending in ((300, "bold"), (200, "taught"), (350, "long")):
        train(uri, f"starry_night_half_width_{ending}", "starry_night", tiny_style, length=length)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("training.report.pictures.plot", lambda *_: None)
        text = write_report(folder / "out", uri).read_text(encoding="utf-8")
    return Written(uri, folder, text, "starry_night_seed_0")


def test_twins_with_other_losses_are_not_compared(comparisons: Written):
    assert "There is not yet a style that was trained both ways" in comparisons.text
    assert not (comparisons.folder / "out" / "report" / "from_scratch.png").exists()


def test_of_runs_of_one_name_the_newest_finished_counts(comparisons: Written):
    rows = cells(comparisons.text, "`starry_night_seed_0`", "five residual blocks, seed 0")
    assert [row[3] for row in rows] == ["400"]


def test_batches_of_4_are_compared_seed_by_seed(comparisons: Written):
    part = section(comparisons.text, "Batches of two and of four")
    assert [row[0] for row in cells(part) if row[1].isdigit()] == [
        "five residual blocks, seed 0",
        "five residual blocks, seed 1",
        "batches of 4, seed 0",
        "batches of 4, seed 1",
    ]
    assert "After 400 iterations the total loss with batches of 4, seed 0 is the same as with five residual" in part
    row = cells(comparisons.text, "`starry_night_seed_0_batches_of_4`")[0]
    assert row[2] == "global batch size 4 instead of 2"


def test_narrow_networks_are_compared_with_their_teacher(comparisons: Written):
    part = section(comparisons.text, "Half the width, alone and distilled")
    rows = [row[:3] for row in cells(part) if row[1].isdigit()]
    assert rows == [
        ["full width", "400", "1.235e5"],
        ["half the width", "300", "1.235e5"],
        ["half the width, distilled", "200", "1.235e5"],
        ["half the width, distilled for longer", "350", "1.235e5"],
    ]
    assert "the total loss with half the width, distilled is" not in part  # after 300 and after 200 iterations
    assert "widths.jpg" in part


def test_costs_are_medians_with_their_range(written: Written):
    part = section(written.text, "What it costs")
    assert cells(part, "256 x 256") == [["256 x 256", "20", "8.0 (7.0 to 9.0)", "80"]]
    assert cells(part, "512 x 512") == [["512 x 512", "80 (70 to 90)"]]
    (row,) = cells(part, "`wave`")
    assert row[4] == "500 (500 to 500)"  # 2 photos an iteration at 2 photos a second
    assert "13 minutes" in part
    assert "6 hours" in part


def test_a_store_of_republished_runs_gives_the_same_report(
    written: Written, new_store: Callable[[Path], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # Drawing takes most of the time, and is the same.
    monkeypatch.setattr("training.report.pictures.plot", lambda panels, path, *_: path.touch())
    client = connect(written.uri)
    experiments = [client.get_experiment_by_name(name).experiment_id for name in ("johnson", "gatys", BENCHMARKS)]
    for run in client.search_runs(experiments):
        publish_run(run.info.run_id, tmp_path / "published", tracking_uri=written.uri)
    uri = new_store(tmp_path)
    assert len(restore_published(tmp_path / "published", uri)) == 7
    assert write_report(tmp_path / "out", uri).read_text(encoding="utf-8") == written.text
    pictures = {path.name for path in (written.folder / "out" / "report").iterdir()}
    assert {path.name for path in (tmp_path / "out" / "report").iterdir()} == pictures


def test_an_empty_store_gives_a_report_of_what_is_missing_and_replaces_the_old(store: str, tmp_path: Path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "old.png").write_bytes(b"")
    text = write_report(tmp_path).read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert len(sections) == 17
    for each in sections:
        assert "There is not yet " in each
        assert "`python -m training.registry restore`" in each
    assert "a checkpoint of the run `starry_night_seed_0`" in text
    assert "![" not in text
    assert [path.name for path in sorted(tmp_path.iterdir()) if path.name != "store"] == ["REPORT.md", "report"]
    assert not list((tmp_path / "report").iterdir())


def test_a_folder_that_cannot_be_written_is_one_sentence(store: str, tmp_path: Path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--to", str(tmp_path / "file")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path}/file")
    assert said.count("\n") == 1


def test_a_smoothed_curve_is_the_mean_of_the_last_hundred_iterations():
    curve = [(step, float(step)) for step in range(10, 301, 10)]
    assert smoothed(curve)[0] == (100, 55.0)
    assert smoothed(curve)[-1] == (300, 255.0)
    assert smoothed(curve[:3]) == [(30, 20.0)]
    assert smoothed([]) == []
    falling = [(step, -value) for step, value in curve]
    assert reached_at(falling, -105.0) == 110
    assert reached_at(falling, -301.0) is None


@pytest.mark.parametrize(
    ("value", "text"), [(1350610.5, "1.351e6"), (7.5, "7.5"), (4.2e-6, "4.200e-6"), (0.0, "0"), (None, "-")]
)
def test_losses_have_four_digits(value: float | None, text: str):
    assert loss_text(value) == text


def test_numbers_read_as_numbers():
    assert [plain(value) for value in ("1e10", "1000000000.0", "0.0015", "cosine", "")] == [
        *("1e10", "1e9", "0.0015", "cosine", "none")
    ]
    assert percent(0.0123, 2) == "1.23 %"
    assert [difference(value, 100) for value in (110, 90, 100.01)] == [
        *("10.0 % higher than", "10.0 % lower than", "the same as")
    ]


def test_a_sheet_has_its_pictures_in_rows_and_columns():
    red, blue = Image.new("RGB", (30, 10), (255, 0, 0)), Image.new("RGB", (10, 10), (0, 0, 255))
    sheet = contact_sheet(["a", "b"], [Row("", [red, blue]), Row("below", [None, red])], height=20)
    colors = {color: count for count, color in sheet.getcolors(1 << 20)}
    assert colors[255, 0, 0] == 2 * (20 * 40)  # three times as wide as high: cut to twice
    assert colors[0, 0, 255] == 20 * 20
    without = contact_sheet(["", ""], [Row("", [red, blue])], height=20)
    assert without.height < contact_sheet(["a", "b"], [Row("", [red, blue])], height=20).height
