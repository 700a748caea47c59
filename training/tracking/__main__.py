"""The journals of training runs from the command line: `python -m training.tracking`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.tracking import TrackingError
from training.tracking.replay import replay


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.tracking", description="The journals of training runs.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("replay", help="send the unsent records of a run to MLflow")
    command.add_argument(
        "run_folder", type=Path, metavar="RUN_DIR", help="the run's folder, such as runs/starry_night"
    )
    command.add_argument("--tracking-uri", default=None, help="the store; by default the run's")
    options = parser.parse_args(arguments)
    try:
        sent = replay(options.run_folder, options.tracking_uri)
    except TrackingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    print(f"{options.run_folder}: {sent} records sent; everything is in MLflow.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
