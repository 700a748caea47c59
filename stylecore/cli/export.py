"""`python -m stylecore export`: a style's network as an ONNX file."""

import argparse

WEIGHTS = ("float32", "float16", "int8")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("style", metavar="STYLE", help="name or file, see `python -m stylecore styles`")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="file to write, .onnx")
    parser.add_argument(
        "--weights",
        default="float16",
        choices=WEIGHTS,
        help="how weights are stored: float16 in half the size; int8 in a quarter, less exact. Computed in float32",
    )


def run(options: argparse.Namespace) -> int:
    from stylecore.errors import StylecoreError
    from stylecore.files import write_whole
    from stylecore.inference.onnx_graph import export_onnx
    from stylecore.library import open_style

    if not options.output.endswith(".onnx"):
        raise StylecoreError(f"-o {options.output} must end in .onnx.")
    model = open_style(options.style)
    content = export_onnx(model, options.weights)
    write_whole(options.output, content)
    print(f"{options.output}: {model.card.name}, {len(content) / 1e6:.2f} MB, weights in {options.weights}")
    print("pixels (N, 3, H, W), RGB from 0 to 1, H and W multiples of 4, to stylized (N, 3, H, W)")
    return 0
