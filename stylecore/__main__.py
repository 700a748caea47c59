"""The command line: python -m stylecore stylize|video|gatys|sheet|styles|import|export."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from stylecore.command import run_command

COMMANDS = {
    "stylize": "apply a trained style to photos",
    "video": "apply a trained style to a film, with its sound",
    "gatys": "optimize a picture by the method of Gatys et al.: any style picture, minutes instead of seconds",
    "sheet": "one photo in every style, on one labelled picture",
    "styles": "list the available styles",
    "import": "turn a network that another project trained into a style file",
    "export": "write a style's network as an ONNX file, for browsers and other programs",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 for success, 1 if some pictures failed, 2 for a mistake, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m stylecore", description="Neural style transfer.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, purpose in COMMANDS.items():
        subparser = subparsers.add_parser(
            name, help=purpose, description=purpose, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        if name in arguments[:1]:  # only this command's module is imported
            # `import` is a keyword and cannot name a module.
            module = importlib.import_module(f"stylecore.cli.{name.replace('import', 'import_style')}")
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    options = parser.parse_args(arguments)
    return run_command(options.run, options)


if __name__ == "__main__":
    sys.exit(main())
