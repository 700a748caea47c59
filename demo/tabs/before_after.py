"""The photo and its painting over each other: what before_after.js, which shows them, needs of a result."""

import html
from dataclasses import dataclass

from demo.page import address_of


@dataclass(frozen=True)
class BeforeAfter:
    """The two pictures of a result.

    Attributes:
        before, after: files in Gradio's cache, of the same size.
        size: (height, width) in pixels.
        style: title of the painting.
        transparent: whether the pictures are.
    """

    before: str
    after: str
    size: tuple[int, int]
    style: str
    transparent: bool = False


def before_after_html(shown: BeforeAfter) -> str:
    """The pictures as the attributes of an element that is not seen."""
    height, width = shown.size
    return (
        f'<div class="pictures" hidden data-before="{address_of(shown.before)}" '
        f'data-after="{address_of(shown.after)}" data-width="{width}" data-height="{height}" '
        f'data-style="{html.escape(shown.style)}" data-transparent="{str(shown.transparent).lower()}"></div>'
    )
