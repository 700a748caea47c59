"""How the commands of `training` end: what the user can mend is one sentence on standard error."""

import argparse
import sys
from collections.abc import Callable

from stylecore.errors import StylecoreError
from training.tracking.errors import TrackingError


def run_command(run: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Run it; returns the exit status: 0, 2 for what the user can mend, 130 when interrupted, 1 when nobody reads."""
    try:
        run(options)
    except (StylecoreError, TrackingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as `... list | head` does
        return 1
    except OSError as error:  # a disk that is full, a folder that may not be read or written
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: {what}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 0
