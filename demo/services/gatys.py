"""Gatys' method for visitors: the work behind the Gatys tab, without any page."""

import dataclasses
import math
import shlex
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from demo.services import zero_gpu
from demo.services.catalogue import VersionEntry
from demo.services.limits import check_range
from demo.services.photos import read_photo
from demo.services.stylize import Stylizer
from demo.words import device_name
from stylecore.errors import StylecoreError
from stylecore.gatys.config import scale_sizes, scale_steps
from stylecore.gatys.paint import GatysConfig, GatysStep, measure_step_seconds, paint
from stylecore.pictures.read import Picture, load_picture, read_size
from stylecore.vgg.network import VGG

MEASURED_SIDE = 128
LEAST_GROWTH = 1.2
"""A painting goes on at a larger size if that is at least so many times the size it has."""
BALANCE_RANGE = 1.5
"""Powers of ten by which a visitor may change the style's weight in either direction."""

NETWORK = "network:"
"""Before the name of a style: the painting begins with what the style's network makes of the photo."""


@dataclass(frozen=True)
class GatysJob:
    """What a visitor asks for.

    Attributes:
        photo, style: picture files.
        longest_side: of the result, in pixels.
        config: of the method.
        network: whose stylized photo the painting begins with; None for `config.start`.
        begun, begun_picture: the finished job, and its file, that the painting goes on with.
        turn: 1 for a new painting, 2 for one that goes on with it.
    """

    photo: str | Path
    style: str | Path
    longest_side: int
    config: GatysConfig
    network: VersionEntry | None = None
    begun: "GatysJob | None" = None
    begun_picture: str = ""
    turn: int = 1

    @property
    def output(self) -> str:
        """The name of the picture in `command_line`."""
        return "painting.png" if self.turn == 1 else f"painting-{self.turn}.png"

    def settings(self) -> dict[str, Any]:
        """The settings that differ from the defaults, for the picture's metadata."""
        begun = {"start_picture": self.network.reference} if self.network else {}
        if self.begun:
            begun = {"start_picture": self.begun.command_line()}
        return {"command": "gatys", "max_side": self.longest_side, **begun, **_changed(self.config)}

    def ended_at(self, steps: int) -> "GatysJob":
        """The job of a picture that was done after so many steps."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, steps=steps))

    def command_line(self) -> str:
        """The shell commands that paint the same picture again."""
        photo, program = Path(self.photo).name, ["python", "-m", "stylecore"]
        flags = {"--max-side": self.longest_side} | {
            f"--{name.replace('_', '-')}": value for name, value in _changed(self.config).items() if name != "seconds"
        }
        words = [*program, "gatys", photo, "--style", Path(self.style).name]
        for flag, value in flags.items():
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
        before: list[str] = []
        if self.begun:
            before = [self.begun.command_line()]
            words += ["--start-picture", self.begun.output]
        elif self.network:
            style = f"{self.network.name}@iterations-{self.network.card.iterations}"
            size = ["--max-side", str(self.longest_side)]
            before = [shlex.join([*program, "stylize", photo, "--style", style, *size, "-o", "start.png"])]
            words += ["--start-picture", "start.png"]
        return " && ".join([*before, shlex.join([*words, "-o", self.output])])


class Painter:
    """Loads VGG when it is first needed, knows how long a step takes here, and paints.

    Args:
        load_vgg: gives the network.
        stylizer: runs the networks that a painting may begin with, and has the limits.
    """

    def __init__(self, load_vgg: Callable[[], VGG], stylizer: Stylizer) -> None:
        self.stylizer, self.limits = stylizer, stylizer.limits
        self._load_vgg = load_vgg
        self._vgg: VGG | None = None
        self._seconds_per_pixel: float | None = None
        self._lock = threading.Lock()

    @property
    def vgg(self) -> VGG:
        """The network, loaded at its first use, on the GPU where there is one of our own."""
        with self._lock:
            if self._vgg is None:
                vgg = self._load_vgg()
                self._vgg = vgg.to("cuda") if torch.cuda.is_available() and not zero_gpu.PRESENT else vgg
            return self._vgg

    @property
    def device_name(self) -> str:
        """Where it paints, in words."""
        return zero_gpu.NAME if zero_gpu.PRESENT else device_name(next(self.vgg.parameters()).device)

    def job(
        self,
        photo: str | Path | None,
        style: str | Path | None,
        longest_side: float,
        steps: float,
        balance: float = 0.0,
        start: str = GatysConfig.start,
        keep_colors: str = GatysConfig.keep_colors,
        style_scale: float = GatysConfig.style_scale,
    ) -> GatysJob:
        """Check what a visitor asks for against the limits.

        Args:
            balance: power of ten by which the style weighs more than by default; negative for less.
            start: as in GatysConfig, or "network:" and a style's name.
            others: as in GatysConfig.

        Raises:
            StylecoreError: for a missing picture, or a number beyond the limits.
        """
        limits = self.limits
        if photo is None:
            raise StylecoreError("there is no photo yet; upload one, or take a sample.")
        if style is None:
            raise StylecoreError("there is no style picture yet; upload a painting, a drawing, any picture.")
        check_range("number of steps", steps, 1, limits.gatys_max_steps)
        check_range("longest side", longest_side, limits.smallest_side, limits.gatys_max_side)
        check_range("balance", balance, -BALANCE_RANGE, BALANCE_RANGE)
        check_range("brush size", style_scale, 0.25, 4)
        default = GatysConfig()
        network = self._network(start.removeprefix(NETWORK)) if start.startswith(NETWORK) else None
        # Rounded, so that the command line below the picture is short and makes the same picture.
        weight = default.style_weight if balance == 0 else float(f"{default.style_weight * 10**balance:.3g}")
        config = dataclasses.replace(
            default,
            steps=int(steps),
            seconds=limits.gatys_seconds,
            style_weight=weight,
            start=default.start if network else start,  # type: ignore[arg-type]  # checked by GatysConfig
            keep_colors=keep_colors,  # type: ignore[arg-type]
            style_scale=float(style_scale),
        )
        return GatysJob(photo, style, int(longest_side), config, network)

    def _network(self, style: str) -> VersionEntry:
        entry = self.stylizer.catalogue.find(style)
        return VersionEntry(entry.name, entry.default_version, entry.card)

    def larger(self, job: GatysJob, painted: str, photo: Picture) -> GatysJob | None:
        """The job that goes on with a finished one at twice the size, or at the photo's own size or the largest
        allowed if those are less; None where that is hardly more."""
        whole = max(photo.source_size)
        side = min(job.longest_side, whole)
        larger = min(2 * side, whole, self.limits.gatys_max_side)
        if larger < LEAST_GROWTH * side:
            return None
        steps, start = self.limits.gatys_larger_steps, GatysConfig.start
        config = dataclasses.replace(job.config, steps=steps, scales=1, start=start)
        return GatysJob(job.photo, job.style, larger, config, begun=job, begun_picture=painted, turn=job.turn + 1)

    def photo(self, job: GatysJob) -> Picture:
        """The photo of a job, at the size to paint."""
        return read_photo(
            job.photo,
            max_side=job.longest_side,
            max_pixels=self.limits.photo_pixels,
            called="the file of the photo",
        )

    def paint(self, job: GatysJob, photo: Picture) -> Iterator[GatysStep]:
        """Paint; every step's time makes the next estimate better.

        Raises:
            StylecoreError: as `stylecore.gatys.paint.paint`, and for pictures that cannot be read.
        """
        # At full size, as the command line reads it: `command_line` promises the same picture.
        style = read_photo(
            job.style, max_side=None, max_pixels=self.limits.photo_pixels, called="the file of the style picture"
        )
        pixels = photo.pixels.shape[1] * photo.pixels.shape[2]
        paint_somewhere = zero_gpu.paint if zero_gpu.PRESENT else paint
        began, work = 0.0, 0.0
        for step in paint_somewhere(photo.pixels, style.pixels, self.vgg, job.config, start=self._start(job)):
            if step.step == 1:
                began = step.elapsed  # before it, the style picture was looked at too
            else:
                work += pixels * step.scale**2
                self._seconds_per_pixel = (step.elapsed - began) / work
            yield step

    def _start(self, job: GatysJob) -> torch.Tensor | None:
        if job.begun:
            if not Path(job.begun_picture).is_file():  # nobody uploaded it
                raise StylecoreError("the painting to go on with is no longer here; paint it again.")
            return load_picture(job.begun_picture).pixels
        if job.network is None:
            return None
        name, version = job.network.name, job.network.version
        return self.stylizer.stylize(job.photo, name, version, job.longest_side).stylized / 255

    def seconds_for(self, photo: str | None, longest_side: float, steps: float) -> float | None:
        """`estimate` for a photo, which is reduced to `longest_side`; None without a readable one."""
        if photo is None:
            return None
        try:
            height, width = read_size(photo)
        except StylecoreError:
            return None
        scale = min(1.0, longest_side / max(width, height))
        return self.estimate(math.ceil(width * scale), math.ceil(height * scale), int(steps))

    def estimate(self, width: int, height: int, steps: int) -> float:
        """Seconds that so many steps take here. The first call measures; that takes a moment."""
        if self._seconds_per_pixel is None and zero_gpu.PRESENT:  # measuring would take of the visitor's minutes
            self._seconds_per_pixel = zero_gpu.SECONDS_PER_PIXEL
        if self._seconds_per_pixel is None:
            seconds = measure_step_seconds(self.vgg, MEASURED_SIDE, MEASURED_SIDE)
            self._seconds_per_pixel = seconds / MEASURED_SIDE**2
        config = dataclasses.replace(GatysConfig(), steps=steps)
        sizes = scale_sizes(height, width, config)
        work = [made * math.prod(size) for made, size in zip(scale_steps(len(sizes), steps), sizes, strict=True)]
        return self._seconds_per_pixel * sum(work)


def _changed(config: GatysConfig) -> dict[str, Any]:
    default = GatysConfig()
    return {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(default, field.name)
    }
