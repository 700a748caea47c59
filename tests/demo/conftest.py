"""Tiny real styles in a bundle, photos, and a page that is served."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import gradio as gr
import httpx
import numpy as np
import pytest
import torch
from gradio_client import Client

from demo.app import build_demo, launch_options
from demo.services.catalogue import BUNDLE_FORMAT, BundleCatalogue
from demo.services.limits import Limits
from stylecore.files import file_sha256
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.pictures.write import save_picture
from tests.small_vgg import small_vgg

NETWORK = TransformNetConfig(residual_blocks=1, width=0.25)
LIMITS = Limits(smallest_side=16, stylize_side=96, stylize_max_side=128, compare_side=96, photo_pixels=250_000)


def make_style(seed: int, network: TransformNetConfig = NETWORK, **card: object) -> StyleModel:
    torch.manual_seed(seed)
    return StyleModel(TransformNet(network), StyleCard(network=network, **card))  # type: ignore[arg-type]


def began_with(start: StyleModel, style: StyleModel) -> StyleModel:
    """The style with weights half way to those of a start: such networks can be mixed."""
    mean = {name: (value + start.network.state_dict()[name]) / 2 for name, value in style.network.state_dict().items()}
    style.network.load_state_dict(mean)
    return style


def write_bundle(folder: Path, versions: list[tuple[StyleModel, str, list[str]]]) -> Path:
    """A bundle as `python -m training.registry export` writes it, of (model, version, aliases)."""
    folder.mkdir(exist_ok=True)
    styles = []
    for model, version, aliases in versions:
        file = folder / f"{model.card.name}-{version}.safetensors"
        model.save(file)
        about = {"name": model.card.name, "version": version, "aliases": aliases}
        styles.append({**about, "file": file.name, "sha256": file_sha256(file)})
    (folder / "manifest.json").write_text(json.dumps({"format": BUNDLE_FORMAT, "styles": styles}))
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The styles "night" (versions 1, 2 and the champion 3) and "wave", without the pictures they were trained on."""
    night = [make_style(seed, name="night", title="The Night", artist="A. Painter", year="1889") for seed in (1, 2, 3)]
    night = [
        StyleModel(
            model.network,
            replace(model.card, iterations=1000 * n, losses={"loss/content": 2.0 / n, "loss/style": 1.0 / n}),
        )
        for n, model in enumerate(night, start=1)
    ]
    versions = [
        (night[0], "1", ["iterations-1000"]),
        (night[1], "2", ["iterations-2000"]),
        (night[2], "3", ["iterations-3000", "champion"]),
        (began_with(night[2], make_style(4, name="wave", title="<b>Wave</b>")), "1", ["champion"]),
    ]
    return write_bundle(tmp_path_factory.mktemp("styles") / "bundle", versions)


@pytest.fixture(scope="session")
def catalogue(bundle: Path) -> BundleCatalogue:
    return BundleCatalogue(bundle)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """61 x 45 pixels, half of them transparent."""
    torch.manual_seed(0)
    alpha = torch.ones(1, 45, 61)
    alpha[:, :, :20] = 0
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    save_picture(torch.rand(3, 45, 61), path, alpha=alpha)
    return path


@pytest.fixture(scope="session")
def page(catalogue: BundleCatalogue) -> Iterator[tuple[gr.Blocks, str]]:
    """The served page and its address."""
    demo = build_demo(catalogue, load_vgg=small_vgg, limits=LIMITS)
    with serving(demo) as url:
        yield demo, url


@pytest.fixture(scope="session")
def http() -> Iterator[httpx.Client]:
    """Asks by HTTP, with the patience that a busy machine needs."""
    with httpx.Client(timeout=200) as client:
        yield client


@contextmanager
def serving(demo: gr.Blocks, limits: Limits = LIMITS, **options: Any) -> Iterator[str]:
    """Serve a page; gives its address."""
    options |= launch_options(limits)
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **options)
    try:
        yield url
    finally:
        demo.close()


def client_of(url: str, **options: Any) -> Client:
    """A program that uses the page, with the patience that a busy machine needs."""
    return Client(url, verbose=False, httpx_kwargs={"timeout": 200}, **options)


def write_film(path: Path, count: int, size: tuple[int, int] = (64, 48), rate: int = 10) -> Path:
    """A film of so many frames with a silent track of sound."""
    width, height = size
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=rate)
        pictures.width, pictures.height, pictures.pix_fmt = width, height, "yuv420p"
        sounds = container.add_stream("aac", rate=48000, layout="mono")
        for number in range(count):
            shade = np.linspace(0, 200, width, dtype=np.uint8)[None, :, None] + np.uint8(number % 50)
            pixels = np.ascontiguousarray(np.broadcast_to(shade, (height, width, 3)))
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for start in range(0, 48000 * count // rate, 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            samples.sample_rate, samples.pts = 48000, start
            container.mux(sounds.encode(samples))
        container.mux(sounds.encode(None))
    return path
