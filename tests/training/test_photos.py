from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stylecore.errors import StylecoreError
from training.photos import PhotoCrops, batches, find_photos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven photos in two folders, each of one gray, so that a crop says which photo it is of."""
    for index in range(7):
        path = tmp_path / ("a" if index % 2 else "b") / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40 + index, 60 - index), (index * 30,) * 3).save(path)
    (tmp_path / "notes.txt").write_text("no photo")
    return tmp_path


def gray(pixels: torch.Tensor) -> list[int]:
    return [round(float(each.mean()) * 255) // 30 for each in pixels]


def test_every_photo_is_seen_once_an_epoch_in_another_order_each_time(folder: Path) -> None:
    crops = PhotoCrops(find_photos(str(folder)), 32, 0.5, seed=1)
    stream = batches(crops, 7)
    first, second = gray(next(stream).pixels), gray(next(stream).pixels)
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_two_processes_share_the_sequence_of_one(folder: Path) -> None:
    crops = PhotoCrops(find_photos(str(folder)), 32, 0.5, seed=1)
    alone = batches(crops, 4)
    first = batches(crops, 2, process=0, processes=2)
    second = batches(crops, 2, process=1, processes=2)
    for _ in range(5):
        assert torch.equal(next(alone).pixels, torch.cat([next(first).pixels, next(second).pixels]))


def test_a_resumed_stream_goes_on_with_the_same_crops(folder: Path) -> None:
    crops = PhotoCrops(find_photos(str(folder)), 32, 0.5, seed=1)
    straight = batches(crops, 3, workers=1)
    skipped = [next(straight) for _ in range(4)]
    resumed = batches(PhotoCrops(find_photos(str(folder)), 32, 0.5, seed=1), 3, first_batch=4)
    assert torch.equal(next(straight).pixels, next(resumed).pixels)
    assert len(skipped) == 4


def test_the_seed_decides(folder: Path) -> None:
    photos = find_photos(str(folder))
    orders = [[PhotoCrops(photos, 32, 0.5, seed).photo_of(n) for n in range(7)] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_crops_are_squares_of_the_photo_and_mirrored_half_the_time(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    Image.fromarray(np.stack([ramp] * 3, -1)).save(tmp_path / "ramp.png")
    crops = PhotoCrops(find_photos(str(tmp_path)), 32, 0.5, seed=0)
    rises = Counter()
    for sample in range(60):
        row = crops[sample][0][0, 16] * 255
        slope = float(row[-1] - row[0]) / 31  # a square of 50 to 100 pixels resized to 32
        assert 50 / 32 - 0.2 <= abs(slope) <= 100 / 32 + 0.2
        rises[slope > 0] += 1
    assert 15 <= rises[True] <= 45


def test_an_unreadable_photo_is_named_and_replaced(folder: Path) -> None:
    (folder / "a" / "1.png").write_bytes(b"no picture")
    whole = (folder / "a" / "3.png").read_bytes()
    (folder / "a" / "3.png").write_bytes(whole[: len(whole) // 2])
    batch = next(batches(PhotoCrops(find_photos(str(folder)), 32, 0.5, seed=0), 7))
    assert batch.pixels.shape == (7, 3, 32, 32)
    assert {Path(name).name for name in batch.unreadable} >= {"1.png", "3.png"}
    assert not {1, 3} & set(gray(batch.pixels))


def test_rotated_jpegs_are_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (64, 64), "black")
    image.paste("white", (0, 0, 64, 32))  # white above as stored; tag 3 says upside down
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(tmp_path / "p.jpg", exif=exif)
    crops = PhotoCrops(find_photos(str(tmp_path)), 32, 1.0, seed=0)
    pixels = crops[0][0]
    assert pixels[:, 0].mean() < 0.1
    assert pixels[:, -1].mean() > 0.9


@pytest.mark.parametrize("case", ["empty", "missing"])
def test_a_folder_without_photos_is_one_sentence(tmp_path: Path, case: str) -> None:
    with pytest.raises(StylecoreError, match="folder"):
        find_photos(str(tmp_path if case == "empty" else tmp_path / "nowhere"))


def test_no_readable_photo_at_all_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(StylecoreError, match="none of the training photos"):
        PhotoCrops(find_photos(str(tmp_path)), 32, 0.5, 0)[0]


def test_a_hub_dataset_that_cannot_be_had_is_one_sentence() -> None:
    with pytest.raises(StylecoreError, match="detection-datasets/coco"):
        find_photos("detection-datasets/coco")
