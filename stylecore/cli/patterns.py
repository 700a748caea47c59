"""`python -m stylecore patterns`: draw a style picture by code."""

import argparse
import io
from pathlib import Path

from stylecore.errors import StylecoreError
from stylecore.files import write_whole
from stylecore.patterns import PATTERNS, SIZE, draw

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
JPEG_QUALITY = 92


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="the pattern")
    parser.add_argument("-o", "--output", metavar="FILE", help="picture to write (.jpg .png)")
    parser.add_argument("--size", type=int, default=SIZE, help="width and height in pixels")
    parser.add_argument("--seed", type=int, default=0, help="decides what is random in it")
    parser.add_argument("--list", action="store_true", help="list the patterns and end")


def run(options: argparse.Namespace) -> int:
    if options.list:
        for name, pattern in PATTERNS.items():
            print(f"{name:15} {(pattern.__doc__ or '').splitlines()[0]}")
        return 0
    if not options.name or not options.output:
        raise StylecoreError("which pattern, and where to? Pass a NAME and -o FILE; --list lists the names.")
    format = FORMATS.get(Path(options.output).suffix.lower())
    if format is None:
        raise StylecoreError(f"{options.output} must end in .jpg or .png.")
    content = io.BytesIO()
    draw(options.name, options.size, options.seed).save(content, format, quality=JPEG_QUALITY, optimize=True)
    write_whole(options.output, content.getvalue())
    return 0
