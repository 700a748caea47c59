"""How a command ends: what the user can mend is one sentence on standard error."""

import argparse
import sys
from collections.abc import Callable

from stylecore.errors import StylecoreError


def run_command(
    run: Callable[[argparse.Namespace], int | None],
    options: argparse.Namespace,
    *,
    mistakes: tuple[type[Exception], ...] = (StylecoreError,),
) -> int:
    """Run it; returns its exit status, 0 without one; 2 for what the user can mend, 130 when interrupted.

    Args:
        run: the command.
        options: what it is called with.
        mistakes: the exceptions that are one sentence for the user. What the system says of a file is one, too.
            A program that reads the output and stops, as `... | head` does, makes the status 1.
    """
    try:
        return run(options) or 0
    except mistakes as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except OSError as error:  # a disk that is full, a folder that may not be read or written
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: {what}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
