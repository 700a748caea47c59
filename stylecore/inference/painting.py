"""How a style is applied to a photo or a film; `stylize`, `sheet` and `video` have the same flags for it."""

from dataclasses import dataclass

from stylecore.flags import check_limits, setting

BRUSH = 1.0
"""At 1, strokes cover the same share of the picture as in the painting."""
DETAIL = 0.5
"""The share of the photo's fine detail that is added to an enlarged picture."""


@dataclass(frozen=True)
class Painting:
    """How a style is applied: `strength` and `keep_colors` as in `color.blend`, the others as in `Engine.stylize`.

    Raises:
        StylecoreError: a value is out of its range.
    """

    strength: float = setting(1.0, "0 is the photo, 1 the full style", least=0, most=1)
    keep_colors: bool = setting(False, "keep the photo's colors, take the style's strokes")
    brush: float = setting(
        BRUSH,
        "size of the strokes: 1 as in the painting, 2 twice as large and four times as fast, 0.5 finer",
        least=0.1,
        most=4,
    )
    detail: float = setting(
        DETAIL, "how much of a large photo's fine detail is added over the strokes, 0 to 1", least=0, most=1
    )

    def __post_init__(self) -> None:
        check_limits(self)
