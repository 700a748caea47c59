"""The runs in folders from the command line: `python -m training.tracking`.

python -m training.tracking status FOLDER...
python -m training.tracking sync FOLDER... --to URI
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.tracking import TrackingError
from training.tracking.folders import in_order, journals, status, sync


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.tracking", description="Runs in folders.")
    commands = parser.add_subparsers(dest="command", required=True)
    send = commands.add_parser("sync", aliases=["replay"], help="send runs to MLflow; replay also removes the files")
    where = "by default $MLFLOW_TRACKING_URI, or a run's own"
    send.add_argument("--to", "--tracking-uri", dest="to", metavar="URI", help=where)
    send.add_argument("--remove-files", action="store_true", help="remove the files that have arrived")
    for command in (send, commands.add_parser("status", help="say what is there, what is sent and what is missing")):
        folder = "a run's folder, such as runs/my_run, or a folder of runs"
        command.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help=folder)
    options = parser.parse_args(arguments)
    mistakes = 0
    for each in in_order(runs_in(options.folders)):
        try:
            if options.command == "status":
                print(status(each))
            else:
                sent = sync(each, options.to, remove_files=options.remove_files or options.command == "replay")
                print(f"{each}: {sent} records sent; everything is in MLflow.", flush=True)
        except TrackingError as error:
            mistakes += 1
            print(f"error: {error}", file=sys.stderr)
        except OSError as error:
            mistakes += 1
            print(f"error: {error.filename}: {error.strerror}.", file=sys.stderr)
        except KeyboardInterrupt:
            print("error: interrupted", file=sys.stderr)
            return 130
    return 2 if mistakes else 0


def runs_in(folders: Sequence[Path]) -> list[Path]:
    """The folders of runs, and in place of a folder of runs the runs in it."""
    found: list[Path] = []
    for folder in folders:
        inside = [] if journals(folder) or not folder.is_dir() else sorted(folder.iterdir())
        found += [each for each in inside if journals(each)] or [folder]
    return found


if __name__ == "__main__":
    sys.exit(main())
