"""How fast this is, beside others: `make bench`, or `make bench ARGS="--only feed-forward --repetitions 9"`.

Every figure is a median with its spread (the quartiles), and a ratio to a peer that was timed in turns with it, on the
same picture, so that whatever else the machine does slows both. A ratio is the median of the ratios of the single
turns; above 1 is faster than the peer. Paintings of a given time are made once each, alone on the machine.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from comparing import REPOSITORY, Figure, Line, table
from sections import films, networks, optimizations, starting, trainings

from stylecore.errors import StylecoreError
from stylecore.samples import sample_photos
from training.command import run_command

SECTIONS: dict[str, Callable[[argparse.Namespace], Iterator[Line]]] = {
    "feed-forward": networks.feed_forward,
    "forms": networks.forms,
    "precision": networks.precision,
    "big-pictures": networks.big_pictures,
    "film": films.film,
    "gatys": optimizations.step,
    "budget": optimizations.budget,
    "training": trainings.iteration,
    "processes": trainings.processes,
    "start": starting.start,
    "page": starting.page,
}


def main(arguments: list[str] | None = None) -> int:
    samples = sample_photos()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="these sections")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--style", default="starry_night", metavar="NAME_OR_FILE")
    parser.add_argument("--photo", default=str(samples.get("china", "")), help="photo to stylize")
    parser.add_argument(
        "--painting", default=str(samples.get("flower", "")), help="style picture of training and of a step of Gatys"
    )
    parser.add_argument(
        "--photos", default="", help="folder of photos to train on (default: that of the photo) and to compare on"
    )
    parser.add_argument("--budget", type=float, default=60, metavar="SECONDS", help="that each may paint")
    parser.add_argument("--side", type=int, default=512, help="longest side of paintings in pixels")
    parser.add_argument("--crop", type=int, default=256, help="side of the photos that are trained on in pixels")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build" / "bench.json", help="file to write")
    return run_command(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> None:
    if options.repetitions < 2:
        raise StylecoreError("--repetitions is the number of turns, 2 at least.")
    if options.budget <= 0:
        raise StylecoreError(f"--budget is {options.budget:g} seconds; give a number above 0.")
    for flag, file in (("photo", options.photo), ("painting", options.painting)):
        if not Path(file).is_file():
            raise StylecoreError(f"there is no picture {file!r}; give one by --{flag}.")
    if options.photos and not Path(options.photos).is_dir():
        raise StylecoreError(f"there is no folder {options.photos!r}; give --photos another.")
    options.photo_folder = options.photos or str(Path(options.photo).parent)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    for name in options.only:
        found = list(SECTIONS[name](options))
        print(("\n" if lines else "") + table(found), flush=True)
        lines += found
        _write(options, lines)  # what is measured stays, should a later section fail
    print(f"\n{options.threads} threads, {options.repetitions} turns; also in {options.json}")


def _write(options: argparse.Namespace, lines: list[Line]) -> None:
    text = {
        "threads": options.threads,
        "repetitions": options.repetitions,
        "figures": [asdict(line) for line in lines if isinstance(line, Figure)],
        "remarks": [line for line in lines if isinstance(line, str)],
    }
    temporary = options.json.with_name(f".{options.json.name}.new")
    temporary.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, options.json)


if __name__ == "__main__":
    sys.exit(main())
