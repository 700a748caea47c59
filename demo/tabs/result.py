"""What the Stylize tab shows of a result: the files, a line about the picture, and how it was made."""

import html
import math
from dataclasses import dataclass
from pathlib import Path

from demo.page import address_of, save_for_browser
from demo.services.catalogue import title_of
from demo.services.previews import preview_photo
from demo.services.stylize import Stylized, Stylizer, Wanted, settings_of
from demo.status import status_line
from demo.words import file_name, seconds_text
from stylecore.errors import StylecoreError


@dataclass(frozen=True)
class Answer:
    """What the tab shows for one request.

    Attributes:
        before, png, jpeg: files in Gradio's cache: the photo, and the painting twice.
        pictures, status: HTML: what before_after.js needs of them, and the line below.
    """

    before: str
    png: str
    jpeg: str
    pictures: str
    status: str


def stylize(stylizer: Stylizer, photo: str | None, wanted: Wanted) -> Answer:
    """Stylize the photo, or the sample photo while there is none, and write the files that the page shows.

    Raises:
        StylecoreError: as `Stylizer.stylize`.
    """
    sample = preview_photo() if photo is None else None
    source = photo or sample
    if source is None:
        raise StylecoreError("there is no photo yet; upload one.")
    style, version = wanted.asked
    result = stylizer.stylize(source, style, version, wanted.longest_side, wanted.brush)
    pixels = result.finish(wanted.strength, wanted.keep_colors)
    name = file_name(Path(source).stem, style)
    settings = settings_of(result, wanted.strength, wanted.keep_colors)
    png = save_for_browser(pixels, "PNG", name, alpha=result.alpha, exif=result.exif, settings=settings)
    jpeg = save_for_browser(pixels, "JPEG", name, exif=result.exif, settings=settings)
    transparent = result.alpha is not None
    before = save_for_browser(
        result.content / 255, "PNG" if transparent else "JPEG", f"{name}-before", alpha=result.alpha
    )
    pictures = _before_after(result, before, png if transparent else jpeg)
    return Answer(before, png, jpeg, pictures, describe(result, sample is not None))


def _before_after(result: Stylized, before: str, after: str) -> str:
    """The pictures as the attributes of an element that is not seen, for before_after.js."""
    height, width = result.size
    return (
        f'<div class="pictures" hidden data-before="{address_of(before)}" data-after="{address_of(after)}" '
        f'data-width="{width}" data-height="{height}" data-style="{html.escape(title_of(result.card))}" '
        f'data-transparent="{str(result.alpha is not None).lower()}"></div>'
    )


def describe(result: Stylized, is_sample: bool) -> str:
    """The line below the picture, and behind one click how it was made; HTML."""
    height, width = result.size
    parts = [
        f"<strong>{html.escape(title_of(result.card))}</strong>",
        f"{width} &times; {height} pixels",
        seconds_text(result.seconds),
    ]
    source_height, source_width = result.source_size
    if result.source_size != result.size:
        parts.insert(2, f"reduced from {source_width} &times; {source_height}")
    notes = [f"About your photo: {html.escape(notice)}." for notice in result.notices]
    if is_sample:
        notes.append("This is a sample photo. Drop your own to paint it.")
    line = status_line(" · ".join(parts) + "".join(f"<br>{note}" for note in notes))
    facts = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in how_it_was_made(result).items())
    return f'{line}<details class="how"><summary>How it was made</summary><dl>{facts}</dl></details>'


def how_it_was_made(result: Stylized) -> dict[str, str]:
    """The network and what computed it, in words."""
    network = result.card.network
    version = f"version {result.version}"
    if result.card.iterations:
        version += f", {result.card.iterations:,} iterations"
    height, width = result.painted_size
    painted = f"{width} \N{MULTIPLICATION SIGN} {height} pixels"
    if result.tiles > 1:
        painted += f", in {result.tiles} tiles"
    if result.painted_size != result.size:
        painted += ", then enlarged" if math.prod(result.painted_size) < math.prod(result.size) else ", then reduced"
    threads = f", {result.threads} thread{'' if result.threads == 1 else 's'}" if result.threads else ""
    return {
        "Network": f"{result.card.name}, {version}",
        "Size of the network": f"{network.residual_blocks} residual blocks, width {network.width:g}",
        "Painted at": painted,
        "Computed by": f"{result.runtime} on {result.device}{threads}",
    }
