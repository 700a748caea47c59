"""Write the page without a server, and upload it to a static Hugging Face Space.

python -m demo.static                       # writes build/static
python -m demo.static user/name             # uploads it, and prints the address
python -m demo.static user/name --dry-run   # writes it, uploads nothing
"""

import argparse
import sys
from collections.abc import Sequence

from demo.deploy import add_flags, hub_for, show_and_upload
from demo.static.folder import FOLDER, write_static
from stylecore.command import run_command


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (2 for what the user can mend, after one sentence on stderr)."""
    parser = argparse.ArgumentParser(prog="python -m demo.static", description="The page without a server.")
    add_flags(parser, FOLDER)
    parser.add_argument("--styles", nargs="+", default=(), metavar="NAME", help="only these; all by default")
    return run_command(_run, parser.parse_args(arguments))


def _run(options: argparse.Namespace) -> None:
    hub = hub_for(options)
    folder = write_static(options.folder, tracking_uri=options.tracking_uri, styles=tuple(options.styles))
    show_and_upload(folder, hub, options, kind="static")


if __name__ == "__main__":
    sys.exit(main())
