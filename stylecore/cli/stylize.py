"""`python -m stylecore stylize`: apply a trained style to one photo, several, or a folder of them."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylecore.errors import StylecoreError
from stylecore.files import DEFAULT_MAX_PIXELS, FORMAT_OF_SUFFIX, PHOTO_SUFFIXES, is_photo, refuse_replacing
from stylecore.flags import DEVICE_HELP, add_flags, flag_of, read_flags
from stylecore.inference.painting import Painting

if TYPE_CHECKING:  # importing it takes seconds, which --help need not wait for
    from stylecore.pictures.read import Picture

STANDARD = "-"
MAX_PIXELS_HELP = f"refuse pictures of more pixels than this; than {DEFAULT_MAX_PIXELS:,} when left out"
BAR = "{percentage:3.0f} % |{bar}| {elapsed}, {remaining} left"


@dataclass(frozen=True)
class Job:
    """One photo and the path of its stylized picture; "-" is standard input or output."""

    photo: str
    output: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="photos, or one folder, or - for standard input")
    parser.add_argument(
        "--style",
        required=True,
        metavar="NAME_OR_FILE",
        help="see `python -m stylecore styles`; or a mix: starry_night:0.6+great_wave:0.4",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a picture (.png .jpg .webp .tif) for one photo, a folder for several, - for standard output (PNG)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing pictures of a folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object a photo")
    parser.add_argument("--max-side", type=int, default=None, help="reduce the longest side to this many pixels")
    parser.add_argument("--max-pixels", type=int, default=None, help=MAX_PIXELS_HELP)
    add_painting_arguments(parser, Painting())


def add_painting_arguments(parser: argparse.ArgumentParser, defaults: Painting) -> None:
    """How a style is applied; `video` and `sheet` have the same flags."""
    add_flags(parser, defaults)
    parser.add_argument("--device", default=None, help=DEVICE_HELP)
    parser.add_argument(
        "--runtime",
        default="auto",
        metavar="NAME",
        help="torch; openvino, the same but for rounding, faster on CPUs; openvino-int8, even faster, for styles "
        "with a quantized network; the fastest one by default",
    )


def load_options(options: argparse.Namespace) -> dict[str, Any]:
    """The size flags as arguments of `load_picture`, which has the defaults."""
    given = {name: value for name in ("max_side", "max_pixels") if (value := getattr(options, name)) is not None}
    for name, value in given.items():
        if value < 1:
            raise StylecoreError(f"{flag_of(name)} is {value}, and must be at least 1.")
    return given


def print_notices(photo: str, picture: "Picture") -> None:
    """Say on standard error what was left out of a picture."""
    for notice in picture.notices:
        print(f"note: {photo}: {notice}", file=sys.stderr)


def run(options: argparse.Namespace) -> int:
    jobs = list(plan(options.photos, options.output))
    if STANDARD in (job.output for job in jobs) and options.json:
        raise StylecoreError("--json and a picture cannot both go to standard output; give -o a file.")
    for job in jobs:
        refuse_replacing(job.output, None if job.photo == STANDARD else job.photo)
    named = len(jobs) == 1 and jobs[0].output == options.output
    todo = [job for job in jobs if options.overwrite or named or not Path(job.output).exists()]
    if len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} pictures exist already; --overwrite replaces them.", file=sys.stderr)
    if not todo:
        return 0

    from tqdm import tqdm

    from stylecore.inference.engine import Engine
    from stylecore.library import open_style

    painting, load = Painting(**read_flags(options, Painting)), load_options(options)
    engine = Engine(open_style(options.style), options.device, options.runtime)
    failures = 0
    for job in tqdm(todo, unit="photo", disable=len(todo) == 1 or options.json or not sys.stderr.isatty()):
        try:
            report = stylize_one(job, engine, painting, load)
        except StylecoreError as error:
            if len(jobs) == 1:
                raise
            failures += 1
            report = {"photo": job.photo, "error": str(error)}
            tqdm.write(f"error: {error}", file=sys.stderr)
        if options.json:
            print(json.dumps(report), flush=True)
    if failures:
        print(f"error: {failures} of {len(todo)} photos failed, see above.", file=sys.stderr)
    return 1 if failures else 0


def stylize_one(job: Job, engine: Any, painting: Painting, load: dict[str, Any]) -> dict[str, Any]:
    """Stylize one photo and write it; returns the object that --json prints."""
    from tqdm import tqdm

    from stylecore.color import blend
    from stylecore.library import called
    from stylecore.pictures.read import load_picture
    from stylecore.pictures.write import encode_picture, output_format, save_picture

    started = time.perf_counter()
    picture = load_picture(sys.stdin.buffer if job.photo == STANDARD else job.photo, **load)
    if job.output != STANDARD:
        Path(job.output).parent.mkdir(parents=True, exist_ok=True)
        output_format(job.output)
    with tqdm(total=1.0, bar_format=BAR, leave=False, delay=2, disable=not sys.stderr.isatty()) as bar:
        stylized = engine.stylize(
            picture.pixels, lambda share: bar.update(share - bar.n), brush=painting.brush, detail=painting.detail
        )
    stylized = blend(picture.pixels, stylized, painting.strength, keep_colors=painting.keep_colors)
    settings = {
        "command": "stylize",
        "style": called(engine.card),
        "iterations": engine.card.iterations,
        **asdict(painting),
        "runtime": engine.runtime,
    }
    save: dict[str, Any] = {"alpha": picture.alpha, "exif": picture.exif, "settings": settings}
    if job.output == STANDARD:
        sys.stdout.buffer.write(encode_picture(stylized, "PNG", **save))
    else:
        save_picture(stylized, job.output, **save)
    print_notices(job.photo, picture)
    height, width = stylized.shape[-2:]
    return {
        "photo": job.photo,
        "output": job.output,
        "width": width,
        "height": height,
        "seconds": round(time.perf_counter() - started, 3),
        "settings": settings,
    }


def plan(photos: list[str], output: str) -> Iterator[Job]:
    """The output of each photo: a folder's tree is mirrored, and several photos go into one folder.

    Raises:
        StylecoreError: when a photo is missing, two would get the same output, or OUT does not fit the photos.
    """
    folders = [photo for photo in photos if photo not in (STANDARD, "") and Path(photo).is_dir()]
    if folders and len(photos) > 1:
        raise StylecoreError(f"{folders[0]} is a folder; give one folder alone, or photos.")
    if not folders and len(photos) == 1 and (photos[0] == STANDARD or not Path(output).is_dir()):
        yield Job(photos[0], output)
        return
    if output == STANDARD or Path(output).suffix.lower() in FORMAT_OF_SUFFIX:
        raise StylecoreError(f"several photos need a folder for their pictures, and -o {output} is not one.")
    if STANDARD in photos:
        raise StylecoreError("standard input is one photo; give it alone.")
    if folders:
        root = Path(folders[0])
        found = sorted(filter(is_photo, root.rglob("*")))
        if root.resolve() in (results := Path(output).resolve()).parents:  # they are no photos of the next run
            found = [path for path in found if not path.resolve().is_relative_to(results)]
        if not found:
            raise StylecoreError(f"the folder {root} has no photos ({', '.join(PHOTO_SUFFIXES)}).")
        pairs = [(path, Path(output) / path.relative_to(root)) for path in found]
    else:
        pairs = [(Path(photo), Path(output) / Path(photo).name) for photo in photos]
    # Pictures that keep their names come first: a photo that is added later takes no name of an earlier run.
    pairs.sort(key=lambda pair: pair[1].suffix.lower() not in FORMAT_OF_SUFFIX)
    taken: dict[Path, Path] = {}
    for photo, target in pairs:
        target = target if target.suffix.lower() in FORMAT_OF_SUFFIX else target.with_suffix(".png")
        if target in taken:
            target = target.with_name(f"{photo.name}.png")
        if target in taken:
            raise StylecoreError(f"{taken[target]} and {photo} would both become {target}; stylize them one by one.")
        taken[target] = photo
        yield Job(str(photo), str(target))
