"""What the commands of `training` share: how they end, and the tables that they print."""

import argparse
import sys
from collections.abc import Callable, Sequence

from stylecore import command
from stylecore.errors import StylecoreError
from training.tracking import TrackingError

STOPPED = 143
"""Exit status of a training after SIGTERM or Ctrl-C."""


class Stopped(Exception):  # noqa: N818 (a request, not an error)
    """A training was stopped by SIGTERM or Ctrl-C; its state has been saved."""


def run_command(run: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """Run a command; returns the exit status, see stylecore.command. A TrackingError is one sentence for the user."""
    try:
        return command.run_command(run, options, mistakes=(StylecoreError, TrackingError))
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return STOPPED


def text_table(rows: Sequence[Sequence[str]], *, right: bool = True) -> str:
    """Rows of cells as lines with aligned columns, to the right or to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        [cell.rjust(width) if right else cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in rows
    )
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)
