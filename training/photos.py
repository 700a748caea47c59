"""Content photos for training: which photo and which crop is sample number n is a function of the seed and n alone.

So a run that resumes at sample n sees what it would have seen, and any number of processes share one order.
"""

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from stylecore.errors import StylecoreError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class Batch(NamedTuple):
    """pixels: (N, 3, crop, crop) in [0, 1]; unreadable: names of files that another photo stands in for."""

    pixels: Tensor
    unreadable: tuple[str, ...]


def find_photos(source: str) -> Any:
    """The photos of a folder (its subfolders too), or of the training split of a dataset on the hub.

    Returns:
        A `datasets.Dataset` with a column "image" of undecoded files: {"bytes": ..., "path": ...}.

    Raises:
        StylecoreError: when the folder is missing or empty, or the dataset cannot be had.
    """
    import datasets

    folder = Path(source)
    if folder.is_dir():
        paths = sorted(str(path) for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
        if not paths:
            raise StylecoreError(f"the photo folder {source} holds no photos ({', '.join(PHOTO_SUFFIXES)}).")
        return datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image(decode=False))
    if folder.exists() or source.startswith((".", "/", "~")):
        raise StylecoreError(f"there is no photo folder {source}; --photos is a folder or a dataset on the hub.")
    try:
        dataset = datasets.load_dataset(source, split="train")
    except Exception as error:  # datasets raises many kinds, from several libraries
        raise StylecoreError(
            f"--photos {source} is no folder here, and as a dataset on the hub it cannot be had: "
            f"{str(error).splitlines()[0].rstrip('.')}."
        ) from error
    if "image" not in dataset.column_names:
        raise StylecoreError(f"the dataset {source} has no column 'image', only {', '.join(dataset.column_names)}.")
    return dataset.select_columns("image").cast_column("image", datasets.Image(decode=False))


class PhotoCrops(Dataset[tuple[Tensor, tuple[str, ...]]]):
    """Sample n: the photo at place n of a shuffle that is new every epoch, a random square of it, maybe mirrored.

    Args:
        photos: what `find_photos` returns.
        crop: side of the squares in pixels.
        smallest_crop: the square's side before resizing is this share to all of the photo's short side.
        seed: decides everything.
    """

    def __init__(self, photos: Any, crop: int, smallest_crop: float, seed: int) -> None:
        self.photos = photos
        self.crop = crop
        self.smallest_crop = smallest_crop
        self.seed = seed
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def photo_of(self, sample: int) -> int:
        """Index of the photo that is sample number `sample`."""
        epoch, place = divmod(sample, len(self.photos))
        if epoch != self._epoch:
            self._order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.photos))
            self._epoch = epoch
        return int(self._order[place])

    def __getitem__(self, sample: int) -> tuple[Tensor, tuple[str, ...]]:
        """(3, crop, crop) in [0, 1], and the files that were passed over because they cannot be read."""
        unreadable: list[str] = []
        first = self.photo_of(sample)
        for offset in range(len(self.photos)):
            index = (first + offset) % len(self.photos)
            file = self.photos[index]["image"]
            try:
                random = np.random.default_rng([self.seed, 1, sample])
                return _random_square(file, self.crop, self.smallest_crop, random), tuple(unreadable)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
                unreadable.append(file["path"] or f"photo {index}")
        raise StylecoreError("none of the training photos can be read.")


class _Samples(Sampler[list[int]]):
    """Sample numbers of one process's batches, from an iteration on, without end.

    Batch b of process r, of P processes, holds the samples (b * P + r) * batch_size onward: photo by photo the
    same sequence whatever P is, as long as P * batch_size is the same.
    """

    def __init__(self, first_batch: int, batch_size: int, process: int, processes: int) -> None:
        self.first_batch, self.batch_size = first_batch, batch_size
        self.process, self.processes = process, processes

    def __iter__(self) -> Iterator[list[int]]:
        batch = self.first_batch
        while True:
            start = (batch * self.processes + self.process) * self.batch_size
            yield list(range(start, start + self.batch_size))
            batch += 1


def batches(
    crops: PhotoCrops, batch_size: int, *, first_batch: int = 0, process: int = 0, processes: int = 1, workers: int = 0
) -> Iterator[Batch]:
    """One process's endless batches, from batch number `first_batch` on."""
    loader = DataLoader(
        crops,
        batch_sampler=_Samples(first_batch, batch_size, process, processes),
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_parent,
    )
    return iter(loader)


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach the whole process group; the parent ends its workers itself."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _collate(samples: list[tuple[Tensor, tuple[str, ...]]]) -> Batch:
    return Batch(
        torch.stack([pixels for pixels, _ in samples]),
        tuple(name for _, unreadable in samples for name in unreadable),
    )


def _random_square(file: dict[str, Any], side: int, smallest: float, random: np.random.Generator) -> Tensor:
    with Image.open(io.BytesIO(file["bytes"]) if file["bytes"] is not None else file["path"]) as opened:
        short = min(opened.size)
        square = short * random.uniform(smallest, 1)
        # JPEG decodes at 1/2, 1/4 or 1/8 for a fraction of the time; twice the side keeps the details.
        reduction = max(1, int(square / (2 * side)))
        opened.draft("RGB", (opened.width // reduction, opened.height // reduction))
        image = ImageOps.exif_transpose(opened).convert("RGB")
    square = max(1.0, square * min(image.size) / short)
    left, top = (random.uniform(0, length - square) for length in image.size)
    image = image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + square, top + square))
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).transpose(2, 0, 1).copy()) / 255
    return pixels.flip(-1) if random.random() < 0.5 else pixels
