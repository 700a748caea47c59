"""`python -m stylecore import`: another project's network as a style file."""

import argparse

CARD_FLAGS = ("title", "artist", "year", "credit", "license")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        help="fast-style-transfer .npz, folder with manifest.json or TensorFlow checkpoint; "
        "pytorch/examples .pth; Johnson's .t7",
    )
    parser.add_argument("--name", required=True, help="the style's name: letters, digits, '_' and '-'")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="style file to write, .safetensors")
    for flag in CARD_FLAGS:
        # A flag that is not given must not replace the importer's value.
        parser.add_argument(f"--{flag}", default=argparse.SUPPRESS, help=f"{flag} of the style picture, for its card")


def run(options: argparse.Namespace) -> int:
    from stylecore.errors import StylecoreError
    from stylecore.importers.import_style import import_style

    if not options.output.endswith(".safetensors"):
        raise StylecoreError(f"-o {options.output} must end in .safetensors.")
    card = {flag: getattr(options, flag) for flag in CARD_FLAGS if hasattr(options, flag)}
    model = import_style(options.file, options.name, **card)
    model.save(options.output)
    print(f"{options.output}: {options.name}, {model.card.network.residual_blocks} residual blocks")
    if model.card.license:
        print(f"license of this network: {model.card.license}")
    return 0
