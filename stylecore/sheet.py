"""Sheets: one picture of several pictures side by side, with labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stylecore.pictures.read import picture_from_image

BACKGROUND = (250, 249, 246)
TEXT_COLOR = (40, 38, 34)
FONT_SIZE = 20

CELL_GAP = 16
LABEL_HEIGHT = 44
"""Pixels below a picture of `compose`, with the gap to the next row."""

ROW_HEIGHT = 200
"""Pixels of a picture of `contact_sheet`: three or four side by side have the width that GitHub shows."""
ROW_GAP = 10
LINE_HEIGHT = 30


@dataclass(frozen=True)
class Row:
    """Pictures side by side; None leaves a column empty. The label, if any, is above them."""

    label: str
    pictures: Sequence[Image.Image | None]


def compose(cells: Sequence[tuple[str, Image.Image]], columns: int | None = None) -> Tensor:
    """Pictures of one size in rows, each with its label below, as one picture (3, H, W) in [0, 1].

    Args:
        cells: labels and pictures; a label that is too long is cut off.
        columns: pictures in a row; a balanced sheet when left out.
    """
    columns = min(columns or round(len(cells) ** 0.5 + 0.49), len(cells))
    rows = -(-len(cells) // columns)
    width, height = cells[0][1].size
    font = _font()
    pictures, texts = [], []
    for index, (label, image) in enumerate(cells):
        left = CELL_GAP + index % columns * (width + CELL_GAP)
        top = CELL_GAP + index // columns * (height + LABEL_HEIGHT)
        while font.getlength(label) > width and len(label) > 2:
            label = f"{label[:-2].rstrip()}…"
        pictures.append((image, left, top))
        texts.append((label, left, top + height + 6))
    size = (CELL_GAP + columns * (width + CELL_GAP), CELL_GAP + rows * (height + LABEL_HEIGHT))
    return picture_from_image(_drawn(size, pictures, texts), max_pixels=size[0] * size[1]).pixels


def contact_sheet(columns: Sequence[str], rows: Sequence[Row], height: int = ROW_HEIGHT) -> Image.Image:
    """Rows of pictures, `height` pixels high, each with its own aspect; the headings, if any, are above them."""
    fitted = [[None if each is None else _fitted(each, height) for each in row.pictures] for row in rows]
    font = _font()
    lefts, right = [], ROW_GAP
    for column, heading in enumerate(columns):
        widths = [each.width for row in fitted if (each := row[column]) is not None]
        lefts.append(right)
        right += max([*widths, round(font.getlength(heading))]) + ROW_GAP
    pictures = []
    texts = [(heading, left, ROW_GAP // 2) for left, heading in zip(lefts, columns, strict=True)]
    bottom = LINE_HEIGHT + ROW_GAP // 2 if any(columns) else ROW_GAP
    for row, images in zip(rows, fitted, strict=True):
        if row.label:
            texts.append((row.label, ROW_GAP, bottom + 3))
            bottom += LINE_HEIGHT
        pictures += [(image, left, bottom) for left, image in zip(lefts, images, strict=True) if image is not None]
        bottom += height + ROW_GAP
    return _drawn((right, bottom), pictures, texts)


def height_for(pictures: Sequence[Image.Image | None], width: int) -> int:
    """The height of pictures that fill a row of this width in pixels, at most that of other sheets."""
    there = [each for each in pictures if each is not None]
    free = width - ROW_GAP * len(there)
    return max(1, min(ROW_HEIGHT, round(free / sum(each.width / each.height for each in there))))


def _drawn(
    size: tuple[int, int],
    pictures: Sequence[tuple[Image.Image, int, int]],
    texts: Sequence[tuple[str, int, int]],
) -> Image.Image:
    """A sheet of (width, height) with pictures and texts, each with its left and top pixel."""
    sheet = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), _font()
    for image, left, top in pictures:
        sheet.paste(image, (left, top))
    for text, left, top in texts:
        draw.text((left, top), text, TEXT_COLOR, font)
    return sheet


def label_of(title: str, otherwise: str) -> str:
    """The title of a style, or the other words if it has none, or one in letters that Pillow's font does not have."""
    try:
        title.encode("latin-1")
    except UnicodeEncodeError:
        return otherwise
    return title or otherwise


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


def _fitted(image: Image.Image, height: int) -> Image.Image:
    width = max(1, round(image.width * height / image.height))
    return image.resize((min(width, 2 * height), height), Image.Resampling.LANCZOS)
