import io
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from stylecore.errors import StylecoreError
from stylecore.pictures.read import load_picture
from training.photos import Batch, Crops, batches, describe_photos, open_photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven photos in two folders, each of one gray, so that a crop says which photo it is of."""
    for index in range(7):
        path = tmp_path / ("a" if index % 2 else "b") / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40 + index, 60 - index), (index * 30,) * 3).save(path)
    (tmp_path / "notes.txt").write_text("no photo")
    return tmp_path


def stream_of(photos: Any, batch_size: int, seed: int = 1, **place: int) -> Iterator[Batch]:
    return batches(photos, batch_size, crop=32, smallest_crop=0.5, seed=seed, **place)


def gray(pixels: torch.Tensor) -> list[int]:
    return [round(float(each.mean()) * 255) // 30 for each in pixels]


def test_every_photo_is_seen_once_an_epoch_in_another_order_each_time(folder: Path) -> None:
    stream = stream_of(open_photos(str(folder)), 7)
    first, second = gray(next(stream).pixels), gray(next(stream).pixels)
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_two_processes_share_the_sequence_of_one(folder: Path) -> None:
    photos = open_photos(str(folder))
    alone = stream_of(photos, 4)
    first = stream_of(photos, 2, process=0, processes=2)
    second = stream_of(photos, 2, process=1, processes=2)
    for _ in range(5):
        assert torch.equal(next(alone).pixels, torch.cat([next(first).pixels, next(second).pixels]))


def test_a_resumed_stream_goes_on_with_the_same_crops(folder: Path) -> None:
    straight = stream_of(open_photos(str(folder)), 3, workers=1)
    skipped = [next(straight) for _ in range(4)]
    resumed = stream_of(open_photos(str(folder)), 3, first_batch=4)
    assert torch.equal(next(straight).pixels, next(resumed).pixels)
    assert len(skipped) == 4


def test_the_seed_decides(folder: Path) -> None:
    photos = open_photos(str(folder))
    orders = [gray(next(stream_of(photos, 7, seed)).pixels) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_crops_are_squares_of_the_photo_and_mirrored_half_the_time(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    Image.fromarray(np.stack([ramp] * 3, -1)).save(tmp_path / "ramp.png")
    crops = Crops(open_photos(str(tmp_path)), 32, 0.5, seed=0)
    rises = Counter()
    for sample in range(60):
        row = crops[sample, 0][0][0, 16] * 255
        slope = float(row[-1] - row[0]) / 31  # a square of 50 to 100 pixels resized to 32
        assert 50 / 32 - 0.2 <= abs(slope) <= 100 / 32 + 0.2
        rises[slope > 0] += 1
    assert 15 <= rises[True] <= 45


def test_an_unreadable_photo_is_named_and_replaced(folder: Path) -> None:
    (folder / "a" / "1.png").write_bytes(b"no picture")
    whole = (folder / "a" / "3.png").read_bytes()
    (folder / "a" / "3.png").write_bytes(whole[: len(whole) // 2])
    batch = next(stream_of(open_photos(str(folder)), 7))
    assert batch.pixels.shape == (7, 3, 32, 32)
    assert {Path(name).name for name in batch.unreadable} >= {"1.png", "3.png"}
    assert not {1, 3} & set(gray(batch.pixels))


def test_rotated_jpegs_are_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (0, 0, 64, 32))  # white above as stored; tag 3 says upside down
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(tmp_path / "p.jpg", exif=exif)
    pixels = Crops(open_photos(str(tmp_path)), 32, 1.0, seed=0)[0, 0][0]
    assert pixels[:, 0].mean() < 0.1
    assert pixels[:, -1].mean() > 0.9


@pytest.mark.parametrize("case", ["empty", "missing"])
def test_a_folder_without_photos_is_one_sentence(tmp_path: Path, case: str) -> None:
    with pytest.raises(StylecoreError, match="folder"):
        open_photos(str(tmp_path if case == "empty" else tmp_path / "nowhere"))


def test_a_name_that_is_not_utf_8_is_one_sentence(folder: Path) -> None:
    (folder / "0.png").write_bytes(b"")
    os.rename(folder / "0.png", os.fsencode(folder) + b"/caf\xe9.png")
    with pytest.raises(StylecoreError, match=r"caf\\udce9\.png' is not UTF-8; rename it"):
        open_photos(str(folder))


@pytest.mark.parametrize("workers", [0, 1])
def test_no_readable_photo_at_all_is_one_sentence(tmp_path: Path, workers: int) -> None:
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(StylecoreError, match=r"^too many training photos[^\n]*x.jpg; check --photos\.$"):
        next(stream_of(open_photos(str(tmp_path)), 2, workers=workers))


def test_mlflow_is_told_the_folder_the_number_and_a_digest_of_the_photos(folder: Path) -> None:
    about = describe_photos(open_photos(str(folder)), str(folder))
    assert (about["name"], about["source"], about["photos"]) == (folder.name, str(folder), "7")
    assert describe_photos(open_photos(str(folder)), str(folder)) == about
    (folder / "a" / "1.png").write_bytes(b"")
    assert describe_photos(open_photos(str(folder)), str(folder))["digest"] != about["digest"]


def test_a_hub_dataset_that_cannot_be_had_is_one_sentence() -> None:
    with pytest.raises(StylecoreError, match="detection-datasets/coco"):
        open_photos("detection-datasets/coco")


class TestStream:
    """A dataset in two parquet files, of 7 and 6 photos, that is read while it is used."""

    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        # Seconds for Arrow's threads to end, at the end of every epoch.
        monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)

    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Path:
        folder = tmp_path / "dataset"
        folder.mkdir()
        self.write(folder / "a.parquet", range(7))
        self.write(folder / "b.parquet", range(7, 13))
        return folder

    @staticmethod
    def write(path: Path, grays: range, damaged: tuple[int, ...] = ()) -> None:
        rows = []
        for index in grays:
            content = io.BytesIO()
            Image.new("RGB", (40, 48), (index * 15,) * 3).save(content, "PNG")
            rows.append({"path": f"{index}.png", "bytes": content.getvalue()[: 40 if index in damaged else None]})
        about = {"image": rows, "caption": [str(index) for index in grays]}
        datasets.Dataset.from_dict(about).cast_column("image", datasets.Image()).to_parquet(path)

    @staticmethod
    def shades(stream: Iterator[Batch], count: int) -> list[int]:
        return [round(float(each.mean()) * 17) for _ in range(count) for each in next(stream).pixels]

    def test_every_photo_comes_once_an_epoch_in_another_order_each_time(self, dataset: Path) -> None:
        stream = stream_of(open_photos(str(dataset), streaming=True), 13)
        epochs = [self.shades(stream, 1) for _ in range(2)]
        assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(13))
        assert epochs[0] != epochs[1]

    @pytest.mark.parametrize("processes", [2, 3])  # each a file, or each a part of both
    def test_processes_see_different_photos_and_together_all(self, dataset: Path, processes: int) -> None:
        photos = open_photos(str(dataset), streaming=True)
        streams = [stream_of(photos, 1, process=process, processes=processes) for process in range(processes)]
        together = 13 // processes
        seen = [self.shades(stream, together) for stream in streams]
        first = set().union(*seen)
        assert len(first) == together * processes
        assert first.union(*(self.shades(stream, 1) for stream in streams)) == set(range(13))

    def test_same_seed_same_order_whatever_the_number_of_workers(self, dataset: Path) -> None:
        photos = open_photos(str(dataset), streaming=True)
        orders = [self.shades(stream_of(photos, 4, seed, workers=w), 8) for seed, w in ((0, 0), (0, 2), (1, 0))]
        assert orders[0] == orders[1] != orders[2]

    @pytest.mark.parametrize("first", [2, 5])  # in the first epoch and beyond it
    def test_a_resumed_stream_goes_on_with_the_same_crops(self, dataset: Path, first: int) -> None:
        place = {"process": 1, "processes": 2}
        straight = stream_of(open_photos(str(dataset), streaming=True), 3, **place)
        for _ in range(first):
            next(straight)
        resumed = stream_of(open_photos(str(dataset), streaming=True), 3, first_batch=first, **place)
        assert all(torch.equal(next(straight).pixels, next(resumed).pixels) for _ in range(4))

    def test_an_unreadable_photo_is_named_and_replaced(self, dataset: Path) -> None:
        self.write(dataset / "a.parquet", range(7), damaged=(2, 5))
        (dataset / "b.parquet").unlink()
        stream = stream_of(open_photos(str(dataset), streaming=True), 2)
        seen = [next(stream) for _ in range(7)]
        assert {name for batch in seen for name in batch.unreadable} == {"2.png", "5.png"}
        shades = {round(float(each.mean()) * 17) for batch in seen for each in batch.pixels}
        assert shades == {0, 1, 3, 4, 6}

    def test_the_same_files_can_be_read_before(self, dataset: Path) -> None:
        photos = open_photos(str(dataset))
        assert sorted(self.shades(stream_of(photos, 13), 1)) == list(range(13))
        assert describe_photos(photos, str(dataset))["photos"] == "13"

    @pytest.mark.parametrize("streaming", [False, True])
    def test_a_row_without_a_photo_is_passed_over(self, dataset: Path, streaming: bool) -> None:
        content = datasets.Dataset.from_parquet(str(dataset / "a.parquet")).cast_column("image", datasets.Image(False))
        rows = {"image": [None, *(row["image"] for row in content)]}
        (dataset / "b.parquet").unlink()
        datasets.Dataset.from_dict(rows, datasets.Features(image=content.features["image"])).to_parquet(
            dataset / "a.parquet"
        )
        stream = stream_of(open_photos(str(dataset), streaming=streaming), 8)
        batch = next(stream)
        assert batch.pixels.shape == (8, 3, 32, 32)
        assert [name.partition(",")[0] for name in batch.unreadable] == ["a photo without a name"]

    @pytest.mark.parametrize("streaming", [False, True])
    def test_a_dataset_without_images_is_one_sentence(self, tmp_path: Path, streaming: bool) -> None:
        datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "a.parquet")
        with pytest.raises(StylecoreError, match="no column 'image', only text"):
            open_photos(str(tmp_path), streaming=streaming)

    @pytest.mark.parametrize("streaming", [False, True])
    def test_an_empty_or_broken_dataset_is_one_sentence(self, tmp_path: Path, streaming: bool) -> None:
        (tmp_path / "a.parquet").write_bytes(b"PAR1")
        with pytest.raises(StylecoreError, match="cannot be read"):
            open_photos(str(tmp_path), streaming=streaming)
        self.write(tmp_path / "a.parquet", range(0))
        with pytest.raises(StylecoreError, match=r"is empty|no data"):
            open_photos(str(tmp_path), streaming=streaming)

    def test_fewer_photos_than_processes_is_one_sentence(self, dataset: Path) -> None:
        photos = open_photos(str(dataset), streaming=True)
        with pytest.raises(StylecoreError, match="fewer photos than"):
            next(stream_of(photos, 1, process=13, processes=14))

    def test_a_stream_that_breaks_off_is_one_sentence(self, dataset: Path) -> None:
        photos = open_photos(str(dataset), streaming=True)
        (dataset / "a.parquet").unlink()
        with pytest.raises(StylecoreError, match="ended with an error"):
            next(stream_of(photos, 1))


def test_a_color_profile_is_heeded_as_in_every_other_picture(tmp_path: Path) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"  # a profile in which red is blue
    Image.new("RGB", (64, 64), (200, 40, 30)).save(tmp_path / "p.png", icc_profile=bytes(profile))
    pixels = Crops(open_photos(str(tmp_path)), 32, 1.0, seed=0)[0, 0][0]
    expected = load_picture(tmp_path / "p.png").pixels
    assert expected[2].mean() > 0.6 > 0.3 > expected[0].mean()
    torch.testing.assert_close(pixels.mean((1, 2)), expected.mean((1, 2)), atol=0.01, rtol=0)
