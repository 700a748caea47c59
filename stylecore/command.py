"""The end of a command: a mistake of the user is one sentence on standard error."""

import argparse
import io
import signal
import sys
import threading
from collections.abc import Callable

from stylecore.errors import StylecoreError

NO_MEMORY = ("out of memory", "not enough memory", "allocate memory")
"""How PyTorch says it, on GPUs and on CPUs."""


def run_command(
    run: Callable[[argparse.Namespace], int | None],
    options: argparse.Namespace,
    *,
    mistakes: tuple[type[Exception], ...] = (StylecoreError,),
) -> int:
    """Run a command; returns its exit status: 0 if it returns none, 2 for a mistake of the user, 130 after Ctrl-C.

    Args:
        run: the command.
        options: its argument.
        mistakes: the exceptions that are one sentence for the user. An OSError is one, too. When a program that
            reads the output stops, as in `... | head`, the status is 1.
    """
    before = None
    if threading.current_thread() is threading.main_thread():  # a command that is ended removes what is half written
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if isinstance(sys.stdout, io.TextIOWrapper):  # a title, or a file's name, may have letters that it cannot write
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return run(options) or 0
    except mistakes as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except OSError as error:  # a full disk, a folder without permission
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"error: {what}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in NO_MEMORY):
            raise
        print("error: there is not enough memory; use smaller pictures.", file=sys.stderr)
        return 2
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
