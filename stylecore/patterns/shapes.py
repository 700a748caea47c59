"""What the patterns share: coordinates, noise, colors, cells, strokes.

x and y run from 0 to 1 over the picture, y downward.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[Any]


def grid(side: int) -> tuple[Array, Array]:
    """x and y of every pixel, (side, side) each."""
    line = (np.arange(side, dtype=np.float32) + 0.5) / side
    x, y = np.meshgrid(line, line)
    return x, y


def noise(rng: np.random.Generator, side: int, across: int, down: int | None = None) -> Array:
    """Smooth random hills in [-1, 1], about `across` of them over the width and `down` over the height."""
    coarse = rng.uniform(-1, 1, ((down or across) + 1, across + 1)).astype(np.float32)
    hills = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(hills), -1, 1)


def smoothstep(low: float, high: float, values: Array) -> Array:
    """From 0 at `low` to 1 at `high`, which may be the smaller one, without corners."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(one: Array, other: Array, share: Array) -> Array:
    """Colors (..., 3) of `one`, with as much of `other` as `share` (...) says."""
    return one + (other - one) * share[..., None]


def rgb(*codes: str) -> Array:
    """Hexadecimal colors as (n, 3) in [0, 1]."""
    return np.array([tuple(bytes.fromhex(code)) for code in codes], np.float32) / 255


def ramp(colors: Array, t: Array) -> Array:
    """Colors (..., 3) along a gradient of evenly spaced colors (n, 3), at t (...) from 0 to 1."""
    stops = np.linspace(0, 1, len(colors))
    return np.stack([np.interp(t, stops, channel) for channel in colors.T], -1).astype(np.float32)


def bytes_of(color: Array) -> tuple[int, ...]:
    """One color for Pillow to draw with."""
    return tuple(int(value) for value in np.clip(color, 0, 1) * 255 + 0.5)


def to_image(pixels: Array) -> Image.Image:
    """(H, W, 3) in [0, 1], what is beyond cut off, in 8 bits."""
    return Image.fromarray((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8), "RGB")


def at(field: Array, points: Array) -> Array:
    """Values of a field of the whole picture at points (..., 2); beyond the edge, those of the edge."""
    side = field.shape[0]
    column, row = np.moveaxis(np.clip(np.nan_to_num(points) * side, 0, side - 1).astype(int), -1, 0)
    return field[row, column]


def scatter(rng: np.random.Generator, spacing: Callable[[Array], Array], tries: int) -> Array:
    """Points (n, 2) in and just around the picture, random, but no two closer than the spacing there."""
    candidates = rng.uniform(-0.08, 1.08, (tries, 2)).astype(np.float32)
    gaps = spacing(candidates)
    kept, count = np.empty_like(candidates), 0
    for point, gap in zip(candidates, gaps, strict=True):
        offsets = kept[:count] - point
        if (np.hypot(offsets[:, 0], offsets[:, 1]) > gap).all():
            kept[count] = point
            count += 1
    return kept[:count]


def jittered(rng: np.random.Generator, spacing: float) -> Array:
    """Points (n, 2) over the picture in random order, on a lattice and then moved by up to half its spacing."""
    line = np.arange(-spacing, 1 + spacing, spacing, dtype=np.float32)
    points = np.stack(np.meshgrid(line, line), -1)
    points[1::2, :, 0] += spacing / 2
    moved = points + rng.uniform(-spacing / 2, spacing / 2, points.shape)
    return rng.permutation(moved.reshape(-1, 2)).astype(np.float32)


def voronoi(points: Array, side: int, radius: float) -> tuple[NDArray[np.int32], Array]:
    """For every pixel its nearest point, and about how far it is from the border of that point's cell."""
    x, y = grid(side)
    index = np.zeros((side, side), np.int32)
    near = np.full((side, side), 2 * radius, np.float32)
    second = near.copy()
    for k, (px, py) in enumerate(points):
        window = window_around(px, py, radius, side)
        distance = np.hypot(x[window] - px, y[window] - py)
        closer = distance < near[window]
        second[window] = np.where(closer, near[window], np.minimum(second[window], distance))
        near[window] = np.minimum(near[window], distance)
        index[window][closer] = k
    return index, (second - near) / 2


def window_around(x: float, y: float, radius: float, side: int) -> tuple[slice, slice]:
    """Rows and columns of the pixels within `radius` of a point."""
    rows, columns = (slice(max(0, int((at - radius) * side)), max(0, int((at + radius) * side) + 1)) for at in (y, x))
    return rows, columns


def layers(distances: Sequence[Array]) -> tuple[NDArray[np.int32], Array]:
    """Shapes laid over one another like cut paper, by their signed distances (negative inside), the topmost last.

    Returns:
        For every pixel the shape seen there, 0 for none and else its place counted from 1, and the distance to the
        nearest edge that can be seen.
    """
    label = np.zeros(distances[0].shape, np.int32)
    edge = np.full(distances[0].shape, 1, np.float32)
    for k, distance in enumerate(distances, 1):
        edge = np.where(distance < 0, -distance, np.minimum(edge, distance))
        label[distance < 0] = k
    return label, edge


def disc(x: Array, y: Array, center: tuple[float, float], radius: float) -> Array:
    """Signed distance from a disc."""
    return np.hypot(x - center[0], y - center[1]) - radius


def hill(x: Array, y: Array, height: float, swing: float, waves: float, phase: float) -> Array:
    """Signed distance, nearly, from all that lies below a wavy horizon."""
    angle = 2 * np.pi * waves * x + phase
    slope = 2 * np.pi * waves * swing * np.cos(angle)
    return (height + swing * np.sin(angle) - y) / np.sqrt(1 + slope * slope)


def ribbon(pen: ImageDraw.ImageDraw, path: Array, width: Array, color: tuple[int, ...] | int) -> None:
    """A stroke along a path (n, 2), with its width at each point, both in pixels."""
    along = np.gradient(path, axis=0)
    along /= np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-6)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], 1) * width[:, None] / 2
    pen.polygon([tuple(point) for point in np.concatenate([path + across, (path - across)[::-1]])], fill=color)


def trace(starts: Array, angle: Array, region: NDArray[np.int32], step: float, steps: int) -> list[Array]:
    """Paths (n, 2), n at least 3, from the starts both ways along the angle, while the region is theirs and not 0."""
    home = at(region, starts)
    halves = []
    for sign in (-1, 1):
        points, alive = [starts], home > 0
        for _ in range(steps):
            turn = at(angle, points[-1])
            ahead = points[-1] + sign * step * np.stack([np.cos(turn), np.sin(turn)], -1)
            alive = alive & (at(region, ahead) == home)
            points.append(np.where(alive[:, None], ahead, np.nan))
        halves.append(np.stack(points, 1))
    paths = np.concatenate([halves[0][:, :0:-1], halves[1]], 1)
    whole = [path[~np.isnan(path[:, 0])] for path in paths[home > 0]]
    return [path for path in whole if len(path) >= 3]
