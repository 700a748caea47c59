"""The report's contact sheets: sample pictures of the tracker in rows and columns, labelled."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from PIL import Image, ImageDraw, ImageFont

from stylecore.cli.sheet import INK, PAPER
from stylecore.errors import StylecoreError
from training.tracking.store import fetch, without_password

HEIGHT = 200
"""Pixels of a picture on a sheet; three or four side by side then are as wide as GitHub shows them."""
QUALITY = 78
GAP = 10
LINE = 30
FONT = 20


@dataclass(frozen=True)
class Row:
    """Pictures side by side; None leaves the place of a column empty. The label, if any, stands above them."""

    label: str
    pictures: Sequence[Image.Image | None]


def open_picture(client: MlflowClient, address: str) -> Image.Image:
    """A picture of the store.

    Raises:
        StylecoreError: when it is not there, or no picture.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = fetch(client, address, Path(temporary))
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except OSError as error:
            where = without_password(client.tracking_uri)
            raise StylecoreError(f"A picture of the MLflow store at {where} cannot be read: {error}.") from error


def blended(photo: Image.Image, stylized: Image.Image, strength: float) -> Image.Image:
    """The photo painted over with this much of the stylized picture, as `stylecore.color.blend` does."""
    return Image.blend(photo, stylized if stylized.size == photo.size else stylized.resize(photo.size), strength)


def contact_sheet(columns: Sequence[str], rows: Sequence[Row], height: int = HEIGHT) -> Image.Image:
    """The rows, below one line of headings if there are any; every picture in its own shape, `height` pixels high."""
    fitted = [[None if each is None else _fitted(each, height) for each in row.pictures] for row in rows]
    font = ImageFont.load_default(FONT)
    widths = [
        max([each.width for row in fitted if (each := row[column]) is not None] or [0])
        for column in range(len(columns))
    ]
    widths = [max(width, round(font.getlength(label))) for width, label in zip(widths, columns, strict=True)]
    tops, bottom = [], LINE + GAP // 2 if any(columns) else GAP
    for row in rows:
        bottom += LINE if row.label else 0
        tops.append(bottom)
        bottom += height + GAP
    sheet = Image.new("RGB", (GAP + sum(width + GAP for width in widths), bottom), PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [GAP + sum(width + GAP for width in widths[:column]) for column in range(len(columns))]
    for left, label in zip(lefts, columns, strict=True):
        draw.text((left, GAP // 2), label, INK, font)
    for row, top, pictures in zip(rows, tops, fitted, strict=True):
        if row.label:
            draw.text((GAP, top - LINE + 3), row.label, INK, font)
        for left, picture in zip(lefts, pictures, strict=True):
            if picture is not None:
                sheet.paste(picture, (left, top))
    return sheet


def height_for(pictures: Sequence[Image.Image | None], width: int) -> int:
    """The height of pictures that fill a row of this many pixels, no more than that of the other sheets."""
    there = [each for each in pictures if each is not None]
    return max(1, min(HEIGHT, round((width - GAP * len(there)) / sum(each.width / each.height for each in there))))


def _fitted(image: Image.Image, height: int) -> Image.Image:
    width = max(1, round(image.width * height / image.height))
    return image.resize((min(width, 2 * height), height), Image.Resampling.LANCZOS)
