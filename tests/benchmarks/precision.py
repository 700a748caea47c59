"""How near the fast runtimes are to PyTorch, and tiles to the whole picture:
`python precision.py '{"what": "runtimes", "styles": {"name": file}, ...}'`.

Answers lines of JSON, one for every style and runtime, with the PSNR in dB of each photo.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from stylecore.errors import StylecoreError
from stylecore.inference import engine as engine_module
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleModel
from stylecore.pictures.read import fit, load_picture, resize
from training.quantize import psnr, read_photos


def runtimes(styles: dict[str, str], folder: str | None, side: int) -> None:
    # Of a folder's photos those that ranges are not measured on.
    photos = [fit(photo, side) for photo in read_photos(Path(folder) if folder else None).held_out]
    for name, file in styles.items():
        model = StyleModel.load(file)
        exact = Engine(model, "cpu", "torch")
        wanted = [exact.paint(photo) for photo in photos]
        for runtime in ["openvino"] + ["openvino-int8"] * (model.quantization is not None):
            engine = Engine(model, "cpu", runtime)
            near = [psnr(engine.paint(photo), good) for photo, good in zip(photos, wanted, strict=True)]
            print(json.dumps({"style": name, "runtime": runtime, "decibels": near}), flush=True)


def tiles(styles: dict[str, str], photo: str, width: int, height: int) -> None:
    pixels = resize(load_picture(photo).pixels, (height, width))
    usual = engine_module.LARGEST_WHOLE
    for name, file in styles.items():
        engine = Engine(StyleModel.load(file), "cpu", "openvino")
        engine_module.LARGEST_WHOLE = pixels.numel()
        whole = engine.paint(pixels)
        engine.release_memory()
        engine_module.LARGEST_WHOLE = usual
        near = [psnr(engine.paint(pixels), whole)]
        print(json.dumps({"style": name, "runtime": engine.runtime, "decibels": near}), flush=True)


if __name__ == "__main__":
    try:
        options = json.loads(sys.argv[1])
        {"runtimes": runtimes, "tiles": tiles}[options.pop("what")](**options)
    except StylecoreError as error:
        sys.exit(f"error: {error}")
