"""The settings that a link to the page carries: `?style=starry_night&strength=0.7&brush=2`. Never a photo."""

import math
from collections.abc import Mapping

from demo.services.catalogue import Catalogue
from demo.services.limits import Limits
from demo.services.stylize import SHARE, Wanted
from stylecore.errors import StylecoreError
from stylecore.inference.painting import BRUSH
from stylecore.library import CHAMPION


def settings_of_link(query: Mapping[str, str], catalogue: Catalogue, limits: Limits) -> Wanted:
    """The settings of a link's query. What is missing, or means nothing here, is as if there were no link."""
    style, version, mix = query.get("style", ""), query.get("version", CHAMPION), query.get("mix", "")
    return Wanted(
        style=style if _is_there(catalogue, style) else "",
        version=version if _is_there(catalogue, style, version) else CHAMPION,
        mix=mix if _is_there(catalogue, mix) else "",
        share=_number(query, "share", 0, 1, SHARE),
        strength=_number(query, "strength", 0, 1, 1.0),
        brush=_number(query, "brush", limits.least_brush, limits.largest_brush, BRUSH),
        longest_side=int(_number(query, "size", limits.smallest_side, limits.stylize_max_side, limits.stylize_side)),
        keep_colors=query.get("colors") == "photo",
    )


def _is_there(catalogue: Catalogue, style: str, version: str = CHAMPION) -> bool:
    try:
        catalogue.find(style).resolve(version)
    except StylecoreError:
        return False
    return True


def _number(query: Mapping[str, str], key: str, least: float, most: float, default: float) -> float:
    try:
        value = float(query.get(key, default))
    except ValueError:
        return default
    return min(max(value, least), most) if math.isfinite(value) else default
