"""What the Stylize tab shows of a result: the files, a line about the picture, and how it was made."""

import math
from dataclasses import dataclass
from pathlib import Path

from demo.page import address_of, save_for_browser
from demo.services.catalogue import title_of
from demo.services.previews import preview_photo
from demo.services.stylize import Stylized, Stylizer, Wanted, settings_of
from demo.status import result_line
from demo.theme import filled_in
from demo.words import file_name, seconds_text, size_text
from stylecore.errors import StylecoreError


@dataclass(frozen=True)
class Answer:
    """What the tab shows for one request.

    Attributes:
        png, jpeg: files in Gradio's cache: the painting twice.
        pictures, status: HTML: what before_after.js needs of them, and the line below.
    """

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
    height, width = result.size
    pictures = filled_in(
        "before_after",
        before=address_of(before),
        after=address_of(png if transparent else jpeg),
        width=width,
        height=height,
        title=title_of(result.card),
        transparent=transparent,
    )
    return Answer(png, jpeg, pictures, describe(result, sample is not None))


def describe(result: Stylized, is_sample: bool) -> str:
    """The line below the picture, and behind one click how it was made; HTML."""
    facts = [f"{size_text(result.size)} pixels", seconds_text(result.seconds)]
    if result.source_size != result.size:
        facts.insert(1, f"reduced from {size_text(result.source_size)}")
    notes = [f"About your photo: {notice}." for notice in result.notices]
    if is_sample:
        notes.append("This is a sample photo. Drop your own to paint it.")
    line = result_line(title_of(result.card), *facts, notes=notes)
    return line + filled_in("how", facts=how_it_was_made(result))


def how_it_was_made(result: Stylized) -> dict[str, str]:
    """The network and what computed it, in words."""
    network = result.card.network
    version = f"version {result.version}"
    if result.card.iterations:
        version += f", {result.card.iterations:,} iterations"
    painted = f"{size_text(result.painted_size)} pixels"
    if result.painted_size != result.size:
        painted += ", then enlarged" if math.prod(result.painted_size) < math.prod(result.size) else ", then reduced"
    return {
        "Network": f"{result.card.name}, {version}",
        "Size of the network": f"{network.residual_blocks} residual blocks, width {network.width:g}",
        "Painted at": painted,
        "Computed by": f"{result.runtime} on {result.device}",
    }
