"""What the Stylize tab shows of a result: the files, a line about the picture, and how it was made."""

import html
import math
from dataclasses import dataclass
from pathlib import Path

from demo.page import refusal, save_for_browser, status_line
from demo.services.catalogue import title_of
from demo.services.previews import preview_photo
from demo.services.stylize import Stylized, Stylizer, settings_of
from demo.tabs.before_after import BeforeAfter
from demo.words import file_name, seconds_text
from stylecore.errors import StylecoreError
from stylecore.inference.brush import BRUSH


@dataclass(frozen=True)
class Answer:
    """What the tab shows for one request: the pictures, files in Gradio's cache, and HTML about them."""

    pictures: BeforeAfter
    png: str
    jpeg: str
    status: str


def stylize(
    stylizer: Stylizer,
    photo: str | None,
    style: str,
    version: str,
    longest_side: float,
    strength: float,
    keep_colors: bool,
    brush: float = BRUSH,
) -> Answer:
    """Stylize the photo, or the sample photo while there is none, and write the files that the page shows.

    Raises:
        StylecoreError: as `Stylizer.stylize`.
    """
    sample = preview_photo() if photo is None else None
    source = photo or sample
    if source is None:
        raise StylecoreError("there is no photo yet; upload one.")
    result = stylizer.stylize(source, style, version, int(longest_side), brush)
    pixels = result.finish(strength, keep_colors)
    name = file_name(Path(source).stem, style)
    settings = settings_of(result, strength, keep_colors)
    png = save_for_browser(pixels, "PNG", name, alpha=result.alpha, exif=result.exif, settings=settings)
    jpeg = save_for_browser(pixels, "JPEG", name, exif=result.exif, settings=settings)
    transparent = result.alpha is not None
    before = save_for_browser(
        result.content / 255, "PNG" if transparent else "JPEG", f"{name}-before", alpha=result.alpha
    )
    pictures = BeforeAfter(before, png if transparent else jpeg, result.size, title_of(result.card), transparent)
    return Answer(pictures, png, jpeg, describe(result, sample is not None))


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


def failed(sentence: str) -> str:
    """The line below the picture after an error; `sentence` is HTML."""
    return refusal(f"{sentence}<br>The picture above is the one from before.")
