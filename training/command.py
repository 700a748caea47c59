"""How the commands of `training` end: as all commands do, and a sentence of the tracker is one for the user, too."""

import argparse
from collections.abc import Callable

from stylecore import command
from stylecore.errors import StylecoreError
from training.tracking import TrackingError


def run_command(run: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """Run it; returns the exit status, see stylecore.command."""
    return command.run_command(run, options, mistakes=(StylecoreError, TrackingError))
