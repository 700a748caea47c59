"""Write the report from the command line: `python -m training.report`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.command import run_command
from training.registry.published import PUBLISHED
from training.report import write_report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m training.report", description="Write the report on the experiment from the MLflow store."
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="the MLflow store (default: $MLFLOW_TRACKING_URI, else mlruns/mlflow.db)"
    )
    parser.add_argument(
        "--to", dest="folder", type=Path, default=PUBLISHED, metavar="FOLDER", help="default: mlruns/published"
    )
    return run_command(run, parser.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Run the command; StylecoreError when it cannot be done."""
    report = write_report(options.folder, options.tracking_uri)
    files = list((report.parent / "report").iterdir())
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    print(f"{report}: {len(files)} pictures, {megabytes:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
