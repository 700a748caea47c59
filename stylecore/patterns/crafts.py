"""The patterns, each in the manner of a craft.

A pattern is a function of random numbers and a side in pixels; it looks the same at every size.
"""

import numpy as np
from PIL import Image, ImageDraw

from stylecore.patterns.shapes import (
    Array,
    at,
    bytes_of,
    disc,
    grid,
    hill,
    jittered,
    layers,
    mix,
    noise,
    ramp,
    rgb,
    ribbon,
    scatter,
    smoothstep,
    to_image,
    trace,
    voronoi,
    window_around,
)

INK = (26, 22, 20)


def stained_glass(rng: np.random.Generator, side: int) -> Image.Image:
    """Panes in lead: a sun in rings over hills and a river; thick lead around these, thin between panes."""
    x, y = grid(side)
    sun, (bend, turn) = (rng.uniform(0.55, 0.7), rng.uniform(0.28, 0.36)), rng.uniform(0, 6, 2)
    shapes = [
        disc(x, y, sun, 0.43),
        disc(x, y, sun, 0.27),
        disc(x, y, sun, 0.12),
        hill(x, y, 0.60, 0.06, 1.1, turn),
        hill(x, y, 0.74, 0.07, 0.9, turn + 2),
        hill(x, y, 0.88, 0.05, 1.3, turn + 4),
        np.abs(x - 0.2 - 0.07 * np.sin(5 * y + bend)) - 0.045,
    ]
    label, shape_edge = layers(shapes)
    rays = []
    for radius, count in ((0.075, 6), (0.155, 15), (0.233, 20), (0.315, 24), (0.39, 28)):
        angles = np.linspace(0, 2 * np.pi, count + 1)[1:] + 1.7 * radius
        rays.append(np.stack([sun[0] + radius * np.cos(angles), sun[1] + radius * np.sin(angles)], 1))
    crowding = noise(rng, 64, 4)
    points = scatter(rng, lambda p: 0.05 + 0.035 * at(crowding, p) ** 2, 3000)
    far = np.hypot(points[:, 0] - sun[0], points[:, 1] - sun[1])
    points = np.concatenate([points[far > 0.43], *rays]).astype(np.float32)
    pane, pane_edge = voronoi(points, side, 0.3)

    palettes = [
        rgb("12256e", "1d3fae", "2b6ad0", "39208a", "4a98d8", "0e4f8f"),
        rgb("1f56c4", "4a2aa0", "5aa8e0", "7a2c9c", "2a86c8", "163a9a"),
        rgb("f2a51c", "e8601a", "f7cf46", "d63a1e", "fbe58a", "f08a1e"),
        rgb("fff3b8", "fbd75a", "fdf9e0", "f5b52e"),
        rgb("0f7a4a", "36a85a", "8cc63f", "0c5a5a", "c5d94a"),
        rgb("8c1230", "c41e3a", "e2574c", "6a1558", "a82a7a", "f0a0a0"),
        rgb("0b4a3a", "14806a", "48b09a", "0e3560", "2a9a5a"),
        rgb("bfe9f2", "5cc2dc", "1f8fc0", "e8f8f0"),
    ]
    cells = label * len(points) + pane
    colors = np.zeros((len(shapes) + 1, len(points), 3), np.float32)
    for k, palette in enumerate(palettes):
        colors[k] = palette[rng.integers(len(palette), size=len(points))]
    colors *= rng.uniform(0.82, 1.08, (*colors.shape[:2], 1))
    glass = colors.reshape(-1, 3)[cells]

    tilt = rng.uniform(0, 2 * np.pi, cells.max() + 1)[cells]
    center = points[pane]
    slope = ((x - center[..., 0]) * np.cos(tilt) + (y - center[..., 1]) * np.sin(tilt)) * 5
    edge = np.minimum(pane_edge, shape_edge)
    streaks = noise(rng, side, 14, 60) * 0.5 + noise(rng, side, 90) * 0.35
    light = 0.72 + np.clip(slope, -0.3, 0.3) + 0.34 * smoothstep(0, 0.035, edge) + 0.16 * streaks
    glass = np.clip(glass * light[..., None], 0, 1)
    glass = mix(
        glass, np.ones(3, np.float32), 0.22 * smoothstep(0.25, 0.8, streaks) + 0.2 * smoothstep(1.1, 1.5, light)
    )

    width = 0.0042 + 0.0018 * noise(rng, side, 9)
    thick = np.where(shape_edge < 0.0105, np.maximum(width, 0.0095 + 0.003 * noise(rng, side, 7)), width)
    depth = np.minimum(pane_edge / width, shape_edge / np.maximum(thick, 0.006))
    lead = (
        rgb("15131a")[0]
        + 0.16 * smoothstep(0.65, 0.0, depth)[..., None] * (0.6 + 0.4 * noise(rng, side, 40))[..., None]
    )
    return to_image(mix(glass, lead, smoothstep(1.15, 0.95, depth)))


def ink_hatching(rng: np.random.Generator, side: int) -> Image.Image:
    """Pen strokes, crossed the more often the darker it is: balls on hills in a slanting light, on warm paper."""
    small = 512
    x, y = grid(small)
    shapes: list[Array] = []
    tones = [0.42 + 0.8 * y + 0.3 * noise(rng, small, 4)]
    angles = [np.full_like(x, 0.35)]
    for height in (0.45, 0.66, 0.85):
        shapes.append(hill(x, y, height, rng.uniform(0.04, 0.08), rng.uniform(0.7, 1.4), rng.uniform(0, 6)))
        tones.append(0.85 + 3.6 * shapes[-1] + 0.35 * noise(rng, small, 5))
        angles.append(np.full_like(x, rng.uniform(-1.2, 1.2)))
    for cx, cy in scatter(rng, lambda p: np.full(len(p), 0.22), 400):
        radius = rng.uniform(0.06, 0.14)
        u, v = (x - cx) / radius, (y - cy) / radius
        toward = np.sqrt(np.maximum(0, 1 - u * u - v * v))
        shadow = np.hypot((u - 0.45) / 1.2, (v - 0.75) / 0.75)
        tones = [tone - 0.55 * smoothstep(1.1, 0.5, shadow) for tone in tones]
        shapes.append(disc(x, y, (cx, cy), radius))
        tones.append(0.3 - 0.55 * u - 0.55 * v + 0.4 * toward)
        angles.append(np.arctan2(v + 0.3, u + 0.3) + np.pi / 2 + rng.uniform(-0.5, 0.5))
    label, edge = layers(shapes)
    tone, angle = (np.take_along_axis(np.stack(each), label[None], 0)[0] for each in (tones, angles))
    angle = angle + 0.5 * noise(rng, small, 5)

    paper = rgb("f3e6cb")[0] + (0.02 * noise(rng, side, 120) + 0.03 * noise(rng, side, 6))[..., None]
    image = to_image(paper)
    pen = ImageDraw.Draw(image)
    for turn, threshold in ((0.0, 0.92), (0.95, 0.6), (-0.8, 0.36), (1.7, 0.16)):
        starts = scatter(rng, lambda p: 0.019 + 0.012 * np.clip(at(tone, p), 0, 1), 8000)
        for path in trace(starts, angle + turn, (tone < threshold).astype(np.int32) * (label + 1), 0.006, 9):
            swell = np.sin(np.linspace(0.25, np.pi - 0.1, len(path))) ** 0.6
            ribbon(pen, path * side, swell * side * rng.uniform(0.0036, 0.007), INK)
    outline = np.asarray(Image.fromarray(edge).resize((side, side), Image.Resampling.BICUBIC))
    black = smoothstep(0.0045, 0.0035, outline + 0.002 * noise(rng, side, 20))
    return to_image(mix(np.asarray(image, np.float32) / 255, np.array(INK, np.float32) / 255, black))


def woodcut(rng: np.random.Generator, side: int) -> Image.Image:
    """Lines cut into a block: a red sun over hills, lines that follow their ridges and swell toward the shade."""
    x, y = grid(side)
    sun = (rng.uniform(0.56, 0.72), rng.uniform(0.24, 0.32))
    phases = rng.uniform(0, 6, 4)
    shapes = [
        disc(x, y, sun, 0.15),
        hill(x, y, 0.46, 0.06, 1.0, phases[0]),
        hill(x, y, 0.58, 0.07, 0.8, phases[1]),
        hill(x, y, 0.73, 0.07, 1.1, phases[2]),
        hill(x, y, 0.87, 0.05, 0.9, phases[3]),
    ]
    label, edge = layers(shapes)
    wobble = 0.5 * noise(rng, side, 5) + 0.22 * noise(rng, side, 16)
    around = np.hypot(x - sun[0], y - sun[1])
    bearing = np.arctan2(y - sun[1], x - sun[0])
    lines = [
        around * 36 + 0.9 * wobble + 0.5 * np.sin(5 * bearing),
        (x + 0.6 * y) * 30 + wobble,
        -shapes[1] * 38 + wobble,
        (x * 26 + 9 * (y - 0.5) * np.sin(3 * x + phases[1])) + 1.2 * wobble,
        -shapes[3] * 30 + 1.3 * wobble,
        (x * 22 - 14 * y) + 1.6 * wobble,
    ]
    shade = [
        0.30 + 0.42 * smoothstep(0.15, 0.75, around),
        0.18 + 0.2 * smoothstep(0.0, 0.15, around),
        *(
            0.12 + 0.85 * smoothstep(0.0, depth, -shape)
            for shape, depth in zip(shapes[1:], (0.2, 0.22, 0.2, 0.22), strict=True)
        ),
    ]
    phase, tone = np.choose(label, lines), np.choose(label, shade)
    tone = np.clip(tone + 0.28 * noise(rng, side, 9) + 0.1 * noise(rng, side, 40), 0.1, 0.9)
    wave = np.abs(phase - np.floor(phase) - 0.5) * 2
    black = smoothstep(-0.06, 0.06, tone - wave)
    black = np.maximum(black, smoothstep(0.0075, 0.006, edge + 0.002 * noise(rng, side, 30)))
    chips = smoothstep(0.5, 0.65, noise(rng, side, 110) * (0.68 + 0.3 * noise(rng, side, 10)))
    black = black * (1 - 0.8 * chips)

    cream, red, ochre, ink = rgb("f2e6c8", "d23a22", "e0a63a", "17130f")
    accents = np.stack([cream, red, cream, ochre, cream, red])
    paper = accents[label] + 0.03 * noise(rng, side, 120)[..., None]
    return to_image(mix(paper, ink + 0.03 * noise(rng, side, 200)[..., None], black))


def pointillism(rng: np.random.Generator, side: int) -> Image.Image:
    """Dots that mix in the eye, each color divided and set against its complement: a sun low over hills and water."""
    small = 512
    x, y = grid(small)
    sun = (rng.uniform(0.3, 0.45), 0.33)
    glow = np.hypot(x - sun[0], y - sun[1])
    soft = noise(rng, small, 5)
    shore = 0.52
    ripples = np.sin(105 * np.maximum(0, y - shore) ** 0.8 + 4 * noise(rng, small, 5, 12))
    path = smoothstep(0.14, 0.05, np.abs(x - sun[0]) + 0.06 * ripples - 0.1 * (y - shore))
    sky = ramp(rgb("fff2b0", "fbd070", "f0a070", "d88aa8", "8f7cc4", "5a78c0"), glow * 1.25 + 0.10 * soft)
    water = ramp(rgb("2e8f9e", "2a6cb4", "2c3f9a", "241f66"), (y - shore) * 1.9 + 0.16 * ripples)
    water = mix(water, rgb("ffc45a")[0], 0.95 * path)
    meadow = ramp(rgb("d8d84a", "5aa84a", "1f6a5a", "1c2f5e"), 0.5 + 0.35 * soft + 2.2 * (y - 0.88))
    shapes = [
        disc(x, y, sun, 0.085),
        shore - y,
        np.maximum(hill(x, y, 0.45, 0.045, 1.2, rng.uniform(0, 6)), y - shore),
        hill(x, y, 0.86, 0.06, 0.7, 2.4),
    ]
    trees = rng.uniform((0.66, 0.3), (0.95, 0.7), (9, 2))
    shapes += [disc(x, y, (cx, cy), rng.uniform(0.05, 0.10)) for cx, cy in trees]
    shapes.append(np.abs(x - 0.83 - 0.02 * np.sin(9 * y)) - 0.018 + np.where((y > 0.4) & (y < 0.93), 0, 1))
    leaves = ramp(rgb("f0d23c", "8cbc3c", "2f8a4e", "1a4a6a", "2a1f5a"), 0.55 + 0.5 * soft + 1.6 * (x - 0.8))
    hills = ramp(rgb("e07a9a", "8a5ac0", "3a5aaa"), (y - 0.38) * 7 + 0.3 * soft)
    fields = [sky, rgb("fffbe0")[0] + 0 * sky, water, hills, meadow, *([leaves] * len(trees)), 0.45 * leaves]
    label, _ = layers(shapes)
    field = np.take_along_axis(np.stack(fields), label[None, ..., None], 0)[0]

    image = to_image(np.full((side, side, 3), rgb("e6dcc6")[0]))
    pen = ImageDraw.Draw(image)
    for spacing, radius in ((0.014, 0.0105), (0.014, 0.009), (0.015, 0.008), (0.019, 0.0065)):
        points = jittered(rng, spacing)
        colors = at(field, points + rng.normal(0, 0.004, points.shape))
        gray = colors.mean(1, keepdims=True)
        swing = rng.choice([1.1, 1.35, 0.85, -0.75], (len(points), 1), p=[0.4, 0.25, 0.2, 0.15])
        colors = gray + (colors - gray) * swing + rng.normal(0, 0.055, colors.shape) + rng.normal(0, 0.09, gray.shape)
        radii = radius * side * rng.uniform(0.75, 1.15, len(points))
        for (px, py), color, r in zip(points * side, colors, radii, strict=True):
            pen.ellipse((px - r, py - r, px + r, py + r), fill=bytes_of(color))
    return image


def mosaic(rng: np.random.Generator, side: int) -> Image.Image:
    """Small stones in rings around many centers, in bands of color, set in pale grout."""
    centers = scatter(rng, lambda p: np.full(len(p), 0.27), 600)
    weights = rng.uniform(-0.06, 0.06, len(centers))
    palettes = [
        rgb("0f2f6b", "1c5fa8", "3f9bd0", "a8d8e8", "f3efe0", "d9a62e"),
        rgb("7c1620", "b8302c", "e2683c", "f2b04a", "f6e2b0", "2a1a24"),
        rgb("0c4a44", "1d7c66", "5cb08a", "c4dca0", "f4efd8", "b8862a"),
        rgb("3a1d5c", "6c3a94", "b06cb8", "ecc4d4", "f7eee4", "e0a23a"),
        rgb("20242c", "4a4e58", "8c8a84", "d8ccb4", "f6f0e0", "c23a2e"),
    ]
    grout = rgb("b9ab94")[0] + (0.05 * noise(rng, side, 140) + 0.04 * noise(rng, side, 8))[..., None]
    image = to_image(grout)
    pen = ImageDraw.Draw(image)
    for k, center in enumerate(centers):
        palette = rng.permutation(palettes[k % len(palettes)])
        inner = 0.013
        heart = [*((center - inner * 0.9) * side), *((center + inner * 0.9) * side)]
        pen.ellipse(heart, fill=bytes_of(palette[-1]))
        bands = palette[rng.integers(len(palette), size=12)].repeat(2, axis=0)
        for color in bands:
            depth = rng.uniform(0.019, 0.027)
            radius = inner + depth / 2
            count = round(2 * np.pi * radius / rng.uniform(0.021, 0.029))
            bearings = (np.arange(count) + rng.uniform()) * 2 * np.pi / count
            for bearing in bearings:
                spot = center + radius * np.array([np.cos(bearing), np.sin(bearing)])
                far = np.hypot(*(centers - spot).T) - weights
                if far[k] < far.min() + 0.005 and (np.abs(spot - 0.5) < 0.54).all():
                    _stone(rng, pen, center, (inner, inner + depth), bearing, np.pi / count, color, side)
            inner += depth
    return image


def _stone(
    rng: np.random.Generator,
    pen: ImageDraw.ImageDraw,
    center: Array,
    radii: tuple[float, float],
    bearing: float,
    half: float,
    color: Array,
    side: int,
) -> None:
    """One stone between two radii: its own shade, a dark lower and a light upper edge."""
    middle = center + np.mean(radii) * np.array([np.cos(bearing), np.sin(bearing)])
    turns = bearing + half * np.array([-1, -1, 1, 1])
    distances = np.array([radii[0], radii[1], radii[1], radii[0]])
    corners = center + distances[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1)
    corners = middle + (corners - middle) * rng.uniform(0.78, 0.92, (4, 1))
    shade = color * rng.uniform(0.72, 1.12) + rng.normal(0, 0.035, 3)
    for shift, tint in ((0.0022, 0.35 * shade), (-0.0008, 0.6 * shade + 0.4), (0.0006, shade)):
        pen.polygon([tuple(corner) for corner in (corners + shift) * side], fill=bytes_of(tint))


def batik(rng: np.random.Generator, side: int) -> Image.Image:
    """Dyed cloth: overlapping fans of rings in indigo, madder and ocher, veined where the wax has cracked."""
    x, y = grid(side)
    u = x + 0.012 * noise(rng, side, 6) + 0.003 * noise(rng, side, 30)
    v = y + 0.012 * noise(rng, side, 6) + 0.003 * noise(rng, side, 30)
    across, radius = 0.25, 0.145  # fans hide the cloth behind them wherever they stand closer than they are wide
    fans = [
        (column * across + (row % 2) * across / 2, row * 0.085) for row in range(-1, 15) for column in range(-1, 6)
    ]
    schemes = [
        rgb("14224e", "f1e4c4", "23408a", "7fa6c8", "14224e", "f1e4c4"),
        rgb("6e1a1e", "f0c060", "a8322a", "f3e6c8", "541420", "d87a34"),
        rgb("12384a", "e8dcb8", "1d6a78", "d89a34", "0f2a44", "8cc0b0"),
        rgb("3a2014", "e2a63c", "8a4a1c", "f3e2b4", "2a1620", "c4622a"),
    ]
    cloth = np.zeros((side, side, 3), np.float32)
    for cx, cy in fans:
        window = window_around(cx, cy, radius + 0.03, side)
        far, bearing = np.hypot(u[window] - cx, v[window] - cy), np.arctan2(v[window] - cy, u[window] - cx)
        scheme = schemes[rng.integers(len(schemes))]
        edges = np.cumsum(rng.uniform(0.6, 1.4, 9))
        band = np.searchsorted(edges / edges[-1], far / radius).clip(0, 8)
        colors = scheme[np.arange(9) % len(scheme)]
        dots = rng.integers(2, 8)
        beads = (band == dots) & (np.cos(bearing * rng.integers(18, 30)) > 0.1)
        fan = np.where(beads[..., None], scheme[(dots + 1) % len(scheme)], colors[band])
        cloth[window] = np.where((far < radius)[..., None], fan, cloth[window])
    shards = scatter(rng, lambda p: np.full(len(p), 0.06), 1500)
    _, crack = voronoi(shards, side, 0.16)
    vein = smoothstep(0.0022, 0.0010, crack + 0.0012 * noise(rng, side, 24)) * smoothstep(
        -0.5, 0.3, noise(rng, side, 7)
    )
    dye = 1 + 0.16 * noise(rng, side, 10) + 0.10 * noise(rng, side, 45) + 0.06 * noise(rng, side, 200)
    return to_image(mix(cloth * dye[..., None], rgb("1a1a3a")[0], 0.75 * vein))


def watercolor(rng: np.random.Generator, side: int) -> Image.Image:
    """Washes of clear color that overlap and dry with dark rims, on grained paper."""
    x, y = grid(side)
    grain = 0.6 * noise(rng, side, 150) + 0.4 * noise(rng, side, 70)
    edge = 0.10 * noise(rng, side, 9) + 0.05 * noise(rng, side, 26) + 0.02 * noise(rng, side, 80)
    pool = 0.6 * noise(rng, side, 7) + 0.4 * noise(rng, side, 22)
    paints = rgb("1f5fa8", "c8324a", "e8a020", "2a8a6a", "6a3a9a", "e0602a", "20304f", "3aa0b8", "a8246a")
    light = rgb("fbf6ea")[0] * (1 + 0.025 * grain[..., None])
    for k, (cx, cy) in enumerate(scatter(rng, lambda p: np.full(len(p), 0.105), 900)):
        radius = rng.uniform(0.05, 0.14)
        window = window_around(cx, cy, radius * 1.5, side)
        turn, squeeze = rng.uniform(0, np.pi), rng.uniform(0.55, 1)
        across = (x[window] - cx) * np.cos(turn) + (y[window] - cy) * np.sin(turn)
        down = (y[window] - cy) * np.cos(turn) - (x[window] - cx) * np.sin(turn)
        inside = radius * (1 + 2.5 * edge[window]) - np.hypot(across, down / squeeze)
        rim = np.exp(-np.maximum(inside, 0) / 0.006)
        density = 0.55 + 0.45 * pool[window] * (-1) ** k + 1.3 * rim + 0.18 * grain[window] + 2 * across
        density = np.clip(density, 0.08, 2.2) * smoothstep(-0.0012, 0.0012, inside) * rng.uniform(0.5, 1.2)
        light[window] *= np.power(paints[rng.integers(len(paints))] + 0.02, density[..., None] * 0.8)
    return to_image(light)
