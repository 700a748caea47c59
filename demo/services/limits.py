"""How much of the server one visitor may use. Every limit of the page is here, once."""

from dataclasses import dataclass

from stylecore.errors import StylecoreError

# Each a `concurrency_id`: a queue of its own, of which one request runs at a time; of `LIVE` two.
MODEL = "model"
"""What takes seconds: a stylization, a comparison."""
BATCH = "batch"
"""One picture after another, each waiting in the queue of the stylizations: all styles on one photo, one style on
several."""
LONG = "long"
"""What takes minutes: a painting by Gatys' method."""
FILM = "film"
"""A film, which takes minutes too."""
LIVE = "live"
"""The webcam, frame by frame."""


@dataclass(frozen=True)
class Limits:
    """Sides and sizes in pixels.

    Attributes:
        photo_pixels: width times height of the largest photo that is decoded.
        file_size: of an upload, in Gradio's notation.
        queue: requests that may wait in each of the queues above.
        waiting_each: of them from one person; of a batch, a painting, a film or a webcam everyone has one at a time
            anyway.
        behind_proxy: visitors are distinguished by the address that a proxy passes on, instead of by their sessions.
        smallest_side, stylize_side, stylize_max_side: longest side of the stylized picture: least, proposed, most.
        least_brush, largest_brush: size of the brush; a finer one takes the network longer.
        sheet_side: longest side of each picture on a sheet of all styles.
        live_side, live_seconds: longest side of the webcam's frames; when it stops by itself.
        batch_photos: photos of one zip, at most.
        film_seconds: length of a film, at most.
        film_pixels: width times height of a film's frames, at most; 4K has 8.3 million.
        film_side, film_max_side: longest side of the painted film: proposed, most.
        film_work_seconds: when a film ends, finished or not.
        compare_side: longest side of the pictures that are compared.
        compare_versions: networks that are compared at once, at most.
        gatys_side, gatys_max_side: longest side of a painting by Gatys' method, which takes hundreds of passes:
            proposed, most.
        gatys_steps, gatys_max_steps: steps: proposed, most.
        gatys_larger_steps: steps when a finished painting goes on at twice the size.
        gatys_seconds: when a painting ends, finished or not.
        lesson_minutes: what a visitor may choose for teaching a painting.
        lessons_waiting: lessons that wait or are under way, at most; a visitor has one of them.
        lessons_kept, lesson_hours: styles that were taught here are kept until there are more, or so long.
        lesson_painting_side, lesson_photo_side: longest side of the painting that is kept, and of the visitor's photo.
        lesson_megabytes: free on the disk, or else no lesson begins.
        lesson_memory_megabytes: free memory, or else no lesson begins.
        previews: previews shown while Gatys' method paints, at most.
        remembered_megabytes: of network results kept, so that other settings of the same picture answer at once.
    """

    photo_pixels: int = 50_000_000
    file_size: str = "80mb"
    queue: int = 16
    waiting_each: int = 4
    behind_proxy: bool = False
    smallest_side: int = 128
    stylize_side: int = 1024
    stylize_max_side: int = 4096
    least_brush: float = 0.5
    largest_brush: float = 4.0
    sheet_side: int = 512
    live_side: int = 320
    live_seconds: float = 60.0
    batch_photos: int = 20
    film_seconds: float = 30.0
    film_pixels: int = 9_000_000
    film_side: int = 640
    film_max_side: int = 1280
    film_work_seconds: float = 600.0
    compare_side: int = 640
    compare_versions: int = 6
    gatys_side: int = 512
    gatys_max_side: int = 1024
    gatys_steps: int = 120
    gatys_max_steps: int = 500
    gatys_larger_steps: int = 40
    gatys_seconds: float = 600.0
    lesson_minutes: tuple[float, ...] = (2, 5, 10, 30)
    lessons_waiting: int = 4
    lessons_kept: int = 20
    lesson_hours: float = 24.0
    lesson_painting_side: int = 1600
    lesson_photo_side: int = 512
    lesson_megabytes: int = 500
    lesson_memory_megabytes: int = 2000
    previews: int = 100
    remembered_megabytes: int = 256

    @property
    def megabytes(self) -> int:
        """Of an upload."""
        return int(self.file_size.removesuffix("mb"))


def check_range(what: str, value: float, least: float, most: float) -> None:
    """Raise StylecoreError for a number beyond the limits, or for what is none: programs may send anything."""
    if not isinstance(value, int | float):
        raise StylecoreError(f"the {what} must be a number, not {value!r}.")
    if not least <= value <= most:  # false for NaN too
        raise StylecoreError(f"the {what} may be {least:g} to {most:g} here, not {value:g}.")
