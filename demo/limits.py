"""How much of the server one visitor may use. Every limit of the page is here, once."""

from dataclasses import dataclass

# Each a `concurrency_id`: a queue of its own, of which one request runs at a time.
MODEL = "model"
"""What takes seconds: a stylization, a comparison."""
LONG = "long"
"""What takes minutes: a painting by Gatys' method. A person waits for, or runs, one of these at a time."""
LIVE = "live"
"""The webcam, frame by frame."""


@dataclass(frozen=True)
class Limits:
    """Sides and sizes in pixels.

    Attributes:
        photo_pixels: width times height of the largest photo that is decoded.
        file_size: of an upload, in Gradio's notation.
        queue: visitors who may wait.
        smallest_side, stylize_side, stylize_max_side: longest side of the stylized picture: least, proposed, most.
        compare_side: longest side of the pictures that are compared.
        gatys_side, gatys_max_side: the same for Gatys' method, which takes hundreds of passes.
        gatys_max_steps: most steps.
        gatys_seconds: when a painting ends, finished or not.
        previews: previews shown while Gatys' method paints, at most.
        remembered_megabytes: of network results kept, so that other settings of the same picture answer at once.
    """

    photo_pixels: int = 50_000_000
    file_size: str = "30mb"
    queue: int = 16
    smallest_side: int = 128
    stylize_side: int = 1024
    stylize_max_side: int = 2048
    compare_side: int = 640
    gatys_side: int = 320
    gatys_max_side: int = 768
    gatys_max_steps: int = 500
    gatys_seconds: float = 600.0
    previews: int = 100
    remembered_megabytes: int = 256
