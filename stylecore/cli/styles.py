"""`python -m stylecore styles`: list the styles at hand."""

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON list instead of a table")


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
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return 0
    if not styles:
        print("No styles yet: train one with `make train`, or `python -m stylecore import` one.")
    for style in styles:
        card = style.card
        picture = ", ".join(part for part in (card.title, card.artist, card.year) if part)
        form = f"{card.network.residual_blocks} residual block{'s' if card.network.residual_blocks > 1 else ''}"
        if card.network.width != 1:
            form += f", width {card.network.width:g}"
        print(f"{what_opens(style, styles):<36} {card.iterations:>6} iterations   {form:<28}  {picture}")
    return 0
