"""`python -m stylecore styles`: list the available styles."""

import argparse
import itertools
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stylecore.library import StyleFile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--versions", action="store_true", help="list every network of a style, not only the best")
    parser.add_argument("--json", action="store_true", help="print one JSON list of every network")


def run(options: argparse.Namespace) -> int:
    from stylecore.library import find_styles, what_opens

    styles = find_styles()
    if options.json:
        rows = [
            {
                "name": style.card.name,
                "reference": what_opens(style, styles),
                "aliases": list(style.aliases),
                "iterations": style.card.iterations,
                "residual_blocks": style.card.network.residual_blocks,
                "width": style.card.network.width,
                "title": style.card.title,
                "artist": style.card.artist,
                "year": style.card.year,
                "license": style.card.license,
                "file": str(style.path),
            }
            for style in styles
        ]
        print(json.dumps(rows, indent=2))
        return 0
    if not styles:
        print("No styles yet: train one with `make train`, or `python -m stylecore import` one.")
    elif options.versions:
        for style in styles:
            print(f"{what_opens(style, styles):<36} {_iterations(style)}   {_form(style):<28}  {_picture(style)}")
    else:
        # The last style of a name is the one that the name opens.
        for name, versions in itertools.groupby(styles, lambda style: style.card.name):
            print(_summary(name, list(versions)).rstrip())
    return 0


def _summary(name: str, versions: "list[StyleFile]") -> str:
    """One line: the name, the picture, the iterations of the default network, and the aliases of the others."""
    from stylecore.library import CHAMPION

    aliases = sorted({alias for style in versions for alias in style.aliases})
    special = [f"@{alias}" for alias in aliases if alias != CHAMPION and not alias.startswith("iterations-")]
    return f"{name:<18} {_picture(versions[-1]):<58} {_iterations(versions[-1])}   {' '.join(special)}"


def _picture(style: "StyleFile") -> str:
    return ", ".join(part for part in (style.card.title, style.card.artist, style.card.year) if part)


def _iterations(style: "StyleFile") -> str:
    return f"{style.card.iterations:>6} iterations"


def _form(style: "StyleFile") -> str:
    network = style.card.network
    blocks = f"{network.residual_blocks} residual block{'s' if network.residual_blocks > 1 else ''}"
    return blocks if network.width == 1 else f"{blocks}, width {network.width:g}"
