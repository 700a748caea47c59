"""The runs in folders from the command line: `python -m training.tracking`.

python -m training.tracking status FOLDER...
python -m training.tracking sync FOLDER... --to URI
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.tracking import TrackingError
from training.tracking.folders import journals, status, sync


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m training.tracking", description="Runs in folders.")
    commands = parser.add_subparsers(dest="command", required=True)
    send = commands.add_parser("sync", help="send runs to MLflow")
    where = "by default $MLFLOW_TRACKING_URI, or a run's own"
    send.add_argument("--to", "--tracking-uri", dest="to", metavar="URI", help=where)
    for command in (send, commands.add_parser("status", help="say what is there, what is sent and what is missing")):
        folder = "a run's folder, such as runs/my_run, or a folder of runs"
        command.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help=folder)
    options = parser.parse_args(arguments)
    mistakes = 0
    try:
        for each in runs_in(options.folders):
            try:
                if options.command == "status":
                    print(status(each))
                else:
                    print(f"{each}: {sync(each, options.to)} records sent; everything is in MLflow.", flush=True)
            except (TrackingError, OSError) as error:
                mistakes += 1
                _say(error)
    except OSError as error:  # for instance a name that is too long
        mistakes += 1
        _say(error)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 2 if mistakes else 0


def _say(error: TrackingError | OSError) -> None:
    text = f"{error.filename}: {error.strerror}." if isinstance(error, OSError) else error
    print(f"error: {text}", file=sys.stderr)


def runs_in(folders: Sequence[Path]) -> list[Path]:
    """The folders of runs, and in place of a folder of runs the runs in it."""
    found: list[Path] = []
    for folder in folders:
        inside = [] if journals(folder) or not folder.is_dir() else sorted(folder.iterdir())
        found += [each for each in inside if journals(each)] or [folder]
    return found


if __name__ == "__main__":
    sys.exit(main())
