"""`python -m stylecore video`: apply a trained style to a film."""

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylecore.cli.stylize import add_painting_arguments
from stylecore.flags import read_flags
from stylecore.video.config import FilmSettings, seconds

if TYPE_CHECKING:
    from stylecore.video.paint import Progress

BAR = "{percentage:3.0f} % |{bar}| frame {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left"
BAR_WITHOUT_TOTAL = "frame {n_fmt}, {rate_fmt}, {elapsed}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("film", metavar="FILM", help="a film (mp4, mov, webm, mkv, gif), or a folder of frames")
    parser.add_argument("--style", required=True, metavar="NAME_OR_FILE", help="see `python -m stylecore styles`")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a film (.mp4 .mov .webm .mkv .gif), or a folder for frames",
    )
    parser.add_argument("--from", dest="begin", metavar="TIME", help="begin there: seconds, or minutes as in 1:02.5")
    parser.add_argument("--to", dest="end", metavar="TIME", help="end there, counted from the film's start")
    add_painting_arguments(parser, FilmSettings())
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    settings = FilmSettings(
        **read_flags(options, FilmSettings),
        begin=None if options.begin is None else seconds(options.begin),
        end=None if options.end is None else seconds(options.end),
    )

    import torch

    from stylecore.library import open_style
    from stylecore.video.paint import film_engine, paint_film
    from stylecore.video.write import check_target

    check_target(Path(options.output), Path(options.film))
    engine = film_engine(open_style(options.style), options.device, options.runtime)
    if engine.runtime != "torch":  # OpenVINO has its own threads; beside them PyTorch's cost 17 % of a frame's work
        torch.set_num_threads(1)
    stop = threading.Event()
    with _stopped_by_interrupt(stop), _bar(options.json or not sys.stderr.isatty()) as show:
        painted = paint_film(engine, options.film, options.output, settings, progress=show, stop=stop)
    for notice in painted.notices:
        print(f"note: {options.film}: {notice}", file=sys.stderr)
    if options.json:
        print(json.dumps({"film": options.film, "output": options.output, **_report(painted, engine)}))
    if painted.stopped:
        print(f"error: interrupted; the first {painted.frames} frames are in {options.output}.", file=sys.stderr)
        return 130
    return 0


def _report(painted: Any, engine: Any) -> dict[str, Any]:
    from stylecore.library import called

    return {
        "style": called(engine.card),
        "iterations": engine.card.iterations,
        "runtime": engine.runtime,
        "frames": painted.frames,
        "cuts": painted.cuts,
        "width": painted.width,
        "height": painted.height,
        "seconds": round(painted.seconds, 3),
        "frames_per_second": round(painted.frames / painted.seconds, 2),
    }


@contextmanager
def _stopped_by_interrupt(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C sets `stop`, so that the film ends well; the second one ends the command at once."""

    def first(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():  # only the main thread may do this
        yield
        return
    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _bar(disable: bool) -> Iterator["Callable[[Progress], None]"]:
    from tqdm import tqdm

    with tqdm(unit=" frames", disable=disable, bar_format=BAR_WITHOUT_TOTAL, smoothing=0.05) as bar:

        def show(progress: "Progress") -> None:
            if progress.total is not None:
                bar.total, bar.bar_format = max(progress.total, progress.frames), BAR
            bar.update(progress.frames - bar.n)

        yield show
