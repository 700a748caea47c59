"""Content photos for training: the photo and the crop of sample number n depend only on the seed and n.

So a resumed run sees the same samples as an uninterrupted one. In a folder, or in a dataset on this machine, every
photo can be read at any time: any number of processes share one order. A streamed dataset comes in the order of its
files, shuffled in a buffer, and every process reads its own part: the order depends on the number of processes.
"""

import hashlib
import io
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sized
from functools import lru_cache
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stylecore.errors import StylecoreError
from stylecore.files import PHOTO_SUFFIXES, is_photo
from stylecore.pictures.read import load_reduced
from stylecore.samples import sample_photos

SHUFFLE_BUFFER = 1000
"""Photos of a stream in the buffer from which the next one is drawn; undecoded, about 150 MB for COCO."""
SPARE_PHOTOS = 8
"""Earlier photos of a stream that can replace an unreadable one."""
SAMPLES = "samples"
"""The source that means the sample photos of installed packages: enough to fine-tune by, without a network."""

File = dict[str, Any]
"""A photo that is not decoded: {"bytes": its content or None, "path": its name or path}."""
EMPTY: File = {"bytes": b"", "path": None}
"""Stands for a row of a dataset without a photo: it is unreadable."""


class Batch(NamedTuple):
    """pixels: (N, 3, crop, crop) in [0, 1]; unreadable: names of files that were replaced by another photo."""

    pixels: Tensor
    unreadable: tuple[str, ...]


def open_photos(source: str, streaming: bool = False) -> Any:
    """The photos of a folder (its subfolders too), or of the training split of a dataset.

    Args:
        source: a folder of photos, a folder of parquet files, a dataset's name on the hub, or `SAMPLES`.
        streaming: read a dataset during training, instead of downloading it before. Has no effect on a folder.

    Returns:
        A `datasets.Dataset`, or `datasets.IterableDataset` when streaming, with a column "image" of `File`s. For
        `SAMPLES` a list of such rows.

    Raises:
        StylecoreError: when the folder is missing or empty, or the dataset cannot be loaded or has no images.
    """
    folder = Path(source).expanduser()
    if source == SAMPLES and not folder.is_dir() and (samples := sample_photos()):  # needs no package for datasets
        return [{"image": {"bytes": None, "path": str(path)}} for path in samples.values()]
    import datasets

    what = f"--photos {source} is not a folder, and cannot be loaded as a dataset of the hub"
    where: dict[str, Any] = {"path": source}
    if folder.is_dir() or source == SAMPLES:
        if paths := list(map(str, photos_below(folder))):
            try:
                listed = datasets.Dataset.from_dict({"image": paths})
            except UnicodeEncodeError as error:
                raise StylecoreError(f"the name of the photo {error.object!r} is not UTF-8; rename it.") from error
            return listed.cast_column("image", datasets.Image(decode=False))
        where = {"path": "parquet", "data_files": list(map(str, photos_below(folder, (".parquet",))))}
        what = f"the parquet files of --photos {source} cannot be read"
        if not where["data_files"]:
            raise StylecoreError(
                f"the photo folder {source} holds neither photos ({', '.join(PHOTO_SUFFIXES)}) nor parquet files."
            )
    elif folder.exists() or source.startswith((".", "/", "~")):
        raise StylecoreError(f"there is no photo folder {source}; --photos is a folder or a dataset on the hub.")
    try:
        photos = datasets.load_dataset(**where, split="train", streaming=streaming)
        # A stream must be read to know whether it is empty, and its columns.
        columns = next((list(row) for row in photos.decode(False)), None) if streaming else photos.column_names
    except Exception as error:  # datasets raises many kinds, from several libraries
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise StylecoreError(f"{what}: {reason}.") from error
    if columns is None or (not streaming and not len(photos)):
        raise StylecoreError(f"the dataset {source} is empty.")
    if "image" not in columns:
        raise StylecoreError(f"the dataset {source} has no column 'image', only {', '.join(columns)}.")
    return photos.select_columns("image").cast_column("image", datasets.Image(decode=False))


def describe_photos(photos: Any, source: str) -> dict[str, str]:
    """Description of the photos for MLflow: name, source, number and a digest, as far as they are known.

    The digest of a folder covers the names and sizes of its files, not their content.
    """
    folder = Path(source).expanduser()
    about = {"name": folder.name or source}
    about["source"] = str(folder.resolve()) if folder.is_dir() else f"https://huggingface.co/datasets/{source}"
    if source == SAMPLES and not folder.is_dir():
        return {"name": "sample photos", "source": "installed packages", "photos": str(len(photos))}
    if is_stream(photos):
        train = (photos.info.splits or {}).get("train")
        return about | ({"photos": str(train.num_examples)} if train else {}) | {"files": str(photos.n_shards)}
    about["photos"] = str(len(photos))
    about["digest"] = photos._fingerprint
    if folder.is_dir():
        digest = hashlib.sha256()
        for path in photos_below(folder, (*PHOTO_SUFFIXES, ".parquet")):
            digest.update(f"{path.relative_to(folder)}\t{path.stat().st_size}\n".encode())
        about["digest"] = digest.hexdigest()
    return about


def is_stream(photos: Any) -> bool:
    """Whether the photos are a stream, which has no access by number."""
    return not isinstance(photos, Sized)


def batches(
    photos: Any,
    batch_size: int,
    *,
    crop: int,
    smallest_crop: float,
    seed: int,
    first_batch: int = 0,
    process: int = 0,
    processes: int = 1,
    workers: int = 0,
) -> Generator[Batch, None, None]:
    """Endless batches of random squares, some of them mirrored, for one process, from batch number `first_batch` on.

    Every photo comes once per epoch: of all processes together, or, for a stream, of the process that reads its part.
    A resumed run reads the beginning of a stream again, without decoding it.

    Args:
        photos: what `open_photos` returns.
        crop: side of the squares in pixels.
        smallest_crop: before resizing, the square's side is between this share and all of the photo's short side.
        seed: of the order, the crops and the mirroring.
        workers: additional processes that decode; their number does not change the batches.

    Raises:
        StylecoreError: from the iteration, when no photo can be read.
    """
    numbers = _numbers(first_batch, batch_size, process, processes)
    if is_stream(photos):
        files = _stream(photos, seed, process, processes)
        requests: Iterator[list[Request]] = _arrivals(files, numbers, skipped=first_batch * batch_size)
    else:
        requests = _shuffled(len(photos), seed, numbers)
    loader = DataLoader(
        Crops(photos, crop, smallest_crop, seed),
        batch_sampler=requests,
        collate_fn=_collate,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_parent,
    )
    try:
        for batch in loader:
            if not batch.pixels.numel():
                raise StylecoreError(
                    f"too many training photos cannot be read, the first is {batch.unreadable[0]}; check --photos."
                )
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise StylecoreError(
            "a process that reads photos was killed, probably because there is too little memory or shared memory; "
            "lower --workers or --batch-size."
        ) from error


Request = tuple[int, int | tuple[File, ...]]
"""A sample's number, and the index of its photo. A stream has no indices: its requests have the photo itself, followed
by those that can replace it, so that one reader can serve several decoders."""


class Crops(Dataset[tuple[Tensor, tuple[str, ...]]]):
    """Random squares of photos; see `batches`. The random numbers depend only on the seed and the sample's number."""

    def __init__(self, photos: Any, crop: int, smallest_crop: float, seed: int) -> None:
        self.photos, self.crop, self.smallest_crop, self.seed = photos, crop, smallest_crop, seed

    def __getitem__(self, request: Request) -> tuple[Tensor, tuple[str, ...]]:
        """(3, crop, crop) in [0, 1] of the first readable photo, and the names of those that were skipped.

        The tensor is empty when no photo is readable.
        """
        sample, photo = request
        unreadable: list[str] = []
        for file in self._from(photo) if isinstance(photo, int) else photo:
            random = np.random.default_rng([self.seed, 1, sample])
            try:
                return _random_square(file, self.crop, self.smallest_crop, random), tuple(unreadable)
            except Exception:  # Pillow's decoders raise nearly anything for damaged files
                unreadable.append(_name(file))
        return torch.empty(0), tuple(unreadable)

    def _from(self, first: int) -> Iterator[File]:
        total = len(self.photos)
        return (self.photos[(first + offset) % total]["image"] or EMPTY for offset in range(total))


def _numbers(first_batch: int, batch_size: int, process: int, processes: int) -> Iterator[range]:
    """Endless sample numbers of one process's batches.

    Batch b of process r, of P processes, has the samples from (b * P + r) * batch_size on: the sequence of photos does
    not depend on P, as long as P * batch_size is the same.
    """
    for batch in count(first_batch):
        start = (batch * processes + process) * batch_size
        yield range(start, start + batch_size)


def _shuffled(photos: int, seed: int, numbers: Iterable[range]) -> Iterator[list[Request]]:
    """Sample n is photo number n of a shuffled order that is new in every epoch."""

    @lru_cache(maxsize=1)
    def order(epoch: int) -> list[int]:
        return np.random.default_rng([seed, 0, epoch]).permutation(photos).tolist()

    for samples in numbers:
        yield [(sample, order(sample // photos)[sample % photos]) for sample in samples]


def _arrivals(stream: Iterator[File], numbers: Iterable[range], skipped: int) -> Iterator[list[Request]]:
    """The photos of a stream in their order, without the first ones.

    The training process itself reads the stream: if each worker read its own part, the order would depend on the
    number of workers.
    """
    earlier = deque(islice(stream, skipped), maxlen=SPARE_PHOTOS)
    for samples in numbers:
        files = [next(stream) for _ in samples]
        spare = [*reversed(earlier), *files]
        yield [(sample, (file, *spare)) for sample, file in zip(samples, files, strict=True)]
        earlier.extend(files)


def _stream(photos: Any, seed: int, process: int, processes: int) -> Iterator[File]:
    """The photos of this process's part of a stream, in another order in every epoch."""
    from datasets.distributed import split_dataset_by_node

    for epoch in count():
        # Not set_epoch: split_dataset_by_node forgets it.
        shuffled_by = int(np.random.default_rng([seed, 0, epoch]).integers(2**31))
        part = photos.shuffle(seed=shuffled_by, buffer_size=SHUFFLE_BUFFER)
        if processes > 1:
            part = split_dataset_by_node(part, rank=process, world_size=processes)
        read = 0
        try:
            for row in part:
                read += 1
                yield row["image"] or EMPTY
        except Exception as error:  # of the hub's client, of parquet, of the network
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise StylecoreError(
                f"the stream of photos ended with an error: {reason}; start again with --resume auto."
            ) from error
        if not read:
            raise StylecoreError(
                "the dataset has fewer photos than there are processes; launch fewer, or leave --streaming out."
            )


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ignore Ctrl-C and a scheduler's SIGTERM, which the whole process group gets: the parent ends its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _collate(samples: list[tuple[Tensor, tuple[str, ...]]]) -> Batch:
    """A batch; without pixels if one of the samples has none."""
    pixels = [pixels for pixels, _ in samples]
    whole = all(each.numel() for each in pixels)
    unreadable = dict.fromkeys(chain.from_iterable(names for _, names in samples))
    return Batch(torch.stack(pixels) if whole else torch.empty(0), tuple(unreadable))


def photos_below(folder: Path, suffixes: tuple[str, ...] = PHOTO_SUFFIXES) -> list[Path]:
    """The photo files of a folder and of the folders in it, sorted; none if there is no such folder."""
    return sorted((path for path in folder.rglob("*") if is_photo(path, suffixes)), key=str)


def _name(file: File) -> str:
    """A photo's path, or else a description with its SHA-256."""
    return file["path"] or f"a photo without a name, SHA-256 {hashlib.sha256(file['bytes'] or b'').hexdigest()}"


def _content(file: File) -> Any:
    """The file for Pillow: a path or a stream."""
    if file["bytes"] is not None:
        return io.BytesIO(file["bytes"])
    if "://" in file["path"]:  # a stream of single files has their addresses
        with fsspec.open(file["path"], "rb") as opened:
            return io.BytesIO(opened.read())
    return file["path"]


def _random_square(file: File, side: int, smallest: float, random: np.random.Generator) -> Tensor:
    share = random.uniform(smallest, 1)
    # Twice the side of the crop keeps the details.
    image = load_reduced(_content(file), lambda size: round(2 * side / share))
    square = max(1.0, share * min(image.size))
    left, top = (random.uniform(0, length - square) for length in image.size)
    image = image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + square, top + square))
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32).transpose(2, 0, 1).copy()) / 255
    return pixels.flip(-1) if random.random() < 0.5 else pixels
