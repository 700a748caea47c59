"""The journals of training runs from the command line: `python -m training.tracking`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.command import run_command
from training.tracking.replay import replay


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (2 for what the user can mend, after one sentence on stderr)."""
    parser = argparse.ArgumentParser(prog="python -m training.tracking", description="The journals of training runs.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("replay", help="send to MLflow what a run could not send")
    command.add_argument(
        "run_folder", type=Path, metavar="RUN_DIR", help="the run's folder, such as runs/starry_night"
    )
    command.add_argument("--tracking-uri", default=None, help="the store; the run's own when left out")
    return run_command(_run_replay, parser.parse_args(arguments))


def _run_replay(options: argparse.Namespace) -> None:
    sent = replay(options.run_folder, options.tracking_uri)
    print(f"{options.run_folder}: {sent} records sent; everything is in MLflow.")


if __name__ == "__main__":
    sys.exit(main())
