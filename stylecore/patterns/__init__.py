"""Style pictures drawn by code, each in the manner of a craft: free of rights, and the same for the same seed.

`draw` renders a pattern larger and reduces it, which smooths all edges.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image

from stylecore.errors import StylecoreError
from stylecore.patterns.crafts import batik, ink_hatching, mosaic, pointillism, stained_glass, watercolor, woodcut

Pattern = Callable[[np.random.Generator, int], Image.Image]
SIZE = 768
SMALLEST, LARGEST = 16, 2048
SUPERSAMPLING = 3

_ALL: tuple[Pattern, ...] = (stained_glass, ink_hatching, woodcut, pointillism, mosaic, batik, watercolor)
PATTERNS = {pattern.__name__: pattern for pattern in _ALL}


def draw(name: str, size: int = SIZE, seed: int = 0) -> Image.Image:
    """The pattern `name` as an RGB image of `size` by `size` pixels.

    Raises:
        StylecoreError: for an unknown name, or a size or seed out of range.
    """
    if name not in PATTERNS:
        raise StylecoreError(f"there is no pattern {name}; there are {', '.join(PATTERNS)}.")
    if not SMALLEST <= size <= LARGEST:
        raise StylecoreError(f"--size is {size}, and must be {SMALLEST} to {LARGEST}.")
    if seed < 0:
        raise StylecoreError(f"--seed is {seed}, and must be at least 0.")
    large = PATTERNS[name](np.random.default_rng(seed), size * SUPERSAMPLING)
    return large.resize((size, size), Image.Resampling.BOX)
