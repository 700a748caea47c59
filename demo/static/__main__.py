"""Write the page without a server, and upload it to a static Hugging Face Space.

python -m demo.static                       # writes build/static
python -m demo.static user/name             # uploads it, and prints the address
python -m demo.static user/name --dry-run   # writes it and shows what would be uploaded
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi

from demo.deploy import checked_name, create_space, files_of, listing, logged_in, upload_folder
from demo.static.folder import FOLDER, write_static
from stylecore.command import run_command
from stylecore.errors import StylecoreError


def upload_static(hub: HfApi, name: str, folder: Path, *, private: bool = False) -> str:
    """Make the static Space like the folder: files that are not there are removed from it. Returns its address.

    Raises:
        StylecoreError: when the hub refuses something or does not answer.
    """
    url = create_space(hub, name, "static", private)
    upload_folder(hub, name, folder)
    return url


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (2 for what the user can mend, after one sentence on stderr)."""
    parser = argparse.ArgumentParser(prog="python -m demo.static", description="The page without a server.")
    parser.add_argument("name", nargs="?", metavar="USER/NAME", help="of the Space; without it, nothing is uploaded")
    parser.add_argument("--dry-run", action="store_true", help="write the folder and show it, upload nothing")
    parser.add_argument("--private", action="store_true", help="a new Space is seen by its owner alone")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where it is written (default: build/static)")
    parser.add_argument("--styles", nargs="+", default=(), metavar="NAME", help="only these; all by default")
    parser.add_argument("--tracking-uri", metavar="URI", help="the MLflow store")
    return run_command(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> None:
    if options.name == "" and not options.dry_run:  # of `make deploy-static`
        raise StylecoreError(
            "which Space? make deploy-static SPACE=user/name, or DRY_RUN=1 to see what would be in it."
        )
    name = checked_name(options.name) if options.name else ""
    hub = logged_in() if name and not options.dry_run else None
    folder = write_static(options.folder, tracking_uri=options.tracking_uri, styles=tuple(options.styles))
    print(listing(files_of(folder)))
    print(f"Written to {folder}", flush=True)
    if hub is None:
        print("Nothing was uploaded.")
        return
    print(upload_static(hub, name, folder, private=options.private))


if __name__ == "__main__":
    sys.exit(main())
