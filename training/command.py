"""What the commands of `training` share: how they end, and the tables that they print."""

import argparse
from collections.abc import Callable, Sequence

from stylecore import command
from stylecore.errors import StylecoreError
from training.tracking import TrackingError


def run_command(run: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """Run a command; returns the exit status, see stylecore.command. A TrackingError is one sentence for the user."""
    return command.run_command(run, options, mistakes=(StylecoreError, TrackingError))


def text_table(rows: Sequence[Sequence[str]], *, right: bool = True) -> str:
    """Rows of cells as lines with aligned columns, to the right or to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        [cell.rjust(width) if right else cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    )
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)
