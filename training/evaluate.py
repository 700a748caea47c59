"""Evaluate trained networks on photos that they were not trained on.

    python -m training.evaluate starry_night@iterations-1000 starry_night --photos FOLDER

For every size the middle square of each photo is resized, as in Johnson et al. (2016), section 4.1 (smaller photos are
enlarged), and stylized. The losses are the network's own training losses. As in figure 5 of the paper, each is also
given as the number of iterations after which the optimization of Gatys et al. reaches it.

The judge (judge.py) also measures the pictures, by measures that no network was trained for. It can measure any
picture file, too.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.files import PHOTO_SUFFIXES
from stylecore.flags import DEVICE_HELP, add_flags, check_limits, read_flags, setting
from stylecore.pictures.read import load_picture, resize
from stylecore.samples import sample_photos
from training import judge
from training.command import run_command
from training.evaluation import GATYS_ITERATIONS, LEAST_SIZE, SIZES, Candidate, evaluate, find_candidate, open_judge
from training.photos import photos_below


def photo_files(sources: Sequence[str]) -> dict[str, Path]:
    """Name (or path) to file of the photos in folders and files; without a source, the sample photos."""
    if not sources:
        photos = sample_photos()
        if not photos:
            raise StylecoreError("there are no sample photos here; give some by --photos.")
        return photos
    files: list[Path] = []
    for source in map(Path, sources):
        found = photos_below(source) if source.is_dir() else [source]
        if not found:
            raise StylecoreError(f"the folder {source} has no photos ({', '.join(PHOTO_SUFFIXES)}).")
        files += found
    return {str(file): file for file in files}


@dataclass(frozen=True)
class EvaluateSettings:
    """The settings of the command; each field is a flag."""

    photos: tuple[str, ...] = setting((), "photos that were not trained on, folders or files; samples when left out")
    sizes: tuple[int, ...] = setting(
        SIZES, "sides of the squares for the losses, in pixels; none: the judge alone", least=LEAST_SIZE
    )
    gatys_iterations: int = setting(GATYS_ITERATIONS, "stop L-BFGS after this many; 0 leaves it out", least=0)
    judge_sizes: tuple[int, ...] = setting(
        judge.SIZES,
        "longest sides in pixels for the judge, whose measures no network was trained for; none: no judge",
        least=judge.LEAST_SIDE,
    )
    whole: bool = setting(False, "judge pictures painted at the photo's size, not at the card's painted_side")
    style_image: str = setting("", "the style picture, a file; found by the card when left out")
    device: str | None = setting(None, DEVICE_HELP)
    log: bool = setting(True, "log the evaluation to the MLflow store")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate",
        description="Held-out losses, equivalent iterations of Gatys et al., burnt-in spots and time of networks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    about = ".safetensors file, or NAME, NAME@ALIAS, NAME/VERSION; or a picture for the judge"
    parser.add_argument("styles", nargs="+", metavar="STYLE", help=about)
    add_flags(parser, EvaluateSettings())
    return run_command(run, parser.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Run the command; StylecoreError when it cannot be done."""
    settings = EvaluateSettings(**read_flags(options, EvaluateSettings))
    check_limits(settings)
    photos = photo_files(settings.photos)
    style = load_picture(settings.style_image).pixels if settings.style_image else None
    pictures = [Path(each) for each in options.styles if Path(each).suffix.lower() in PHOTO_SUFFIXES]
    candidates = [find_candidate(each) for each in options.styles if Path(each) not in pictures]
    if pictures and style is None:
        raise StylecoreError(f"{pictures[0]} is a picture; give the painting to compare it with by --style-image.")
    groups: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(json.dumps(candidate.model.card.objective), []).append(candidate)
    rows: list[tuple[str, judge.Judgment]] = []
    for group in groups.values():
        evaluations = evaluate(
            [candidate.model for candidate in group],
            ((name, load_picture(file).pixels) for name, file in photos.items()),
            style,
            settings.sizes,
            gatys_iterations=settings.gatys_iterations,
            judge_sizes=settings.judge_sizes,
            whole=settings.whole,
            device=settings.device,
        )
        for candidate, evaluation in zip(group, evaluations, strict=True):
            rows += [(str(candidate), each) for each in evaluation.judged]
            if evaluation.photos:
                print(evaluation.table(), end="\n\n", flush=True)
            if settings.log and candidate.version:
                candidate.version.registry.log_evaluation(candidate.version, evaluation.metrics())
            elif settings.log:
                print(f"{candidate} is not in the store: not logged.", file=sys.stderr)
    if style is not None and pictures:
        rows += judge_pictures(pictures, photos if settings.photos else {}, style, settings.device)
    if rows:
        print(judge.table(rows))


def judge_pictures(
    pictures: Sequence[Path], photos: dict[str, Path], style: Tensor, device: str | None = None
) -> list[tuple[str, judge.Judgment]]:
    """Judge picture files. Their content is judged if exactly one photo is given, from which they were made."""
    judging, found = open_judge(style, device), []
    for path in pictures:
        pixels, photo = load_picture(path).pixels, None
        if len(photos) == 1:
            photo = resize(load_picture(*photos.values()).pixels, (pixels.shape[-2], pixels.shape[-1]))
        found.append((path.name, judging.judge(pixels, photo)))
    return found


if __name__ == "__main__":
    sys.exit(main())
