"""The quantized network: a small sidecar of its .safetensors, `starry_night.int8.json`.

It lists the convolutions that are computed in 8 bits, with the range of their input values. The 8-bit weights are
computed from the network's weights. `python -m training.quantize` measures the ranges and writes the sidecar.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

from stylecore.errors import StylecoreError
from stylecore.files import write_whole
from stylecore.johnson.transform_net import TransformNet

FORMAT = "stylecore.int8/1"
SUFFIX = ".int8.json"


@dataclass(frozen=True)
class Quantization:
    """The 8-bit computation of one network.

    Attributes:
        network: `network_digest` of the network.
        ranges: name of a convolution ("encoder.0") to the least and largest value of its input; convolutions that
            are not named stay float32.
        psnr_median, psnr_least: in dB against float32, over the held-out photos, on the processor of the
            quantization (see `stylecore.inference.openvino`: not all have bfloat16).
        calibration_photos, held_out_photos: numbers of photos for measuring the ranges and the result.
    """

    network: str
    ranges: dict[str, tuple[float, float]]
    psnr_median: float
    psnr_least: float
    calibration_photos: int
    held_out_photos: int


def network_digest(network: TransformNet) -> str:
    """SHA-256 over the network's form and its weights rounded to float16.

    It is the same for a file in half precision (`StyleModel.save(half=True)`) and for another card.
    """
    form = dataclasses.asdict(network.config)
    if not form["input_noise"]:
        del form["input_noise"]  # older networks have no such setting
    digest = hashlib.sha256(json.dumps(form, sort_keys=True).encode())
    for name, tensor in sorted(network.state_dict().items()):
        values = tensor.detach().cpu()
        values = values.half() if values.is_floating_point() else values
        digest.update(f"{name} {tuple(values.shape)} ".encode())
        digest.update(values.contiguous().numpy().tobytes())
    return digest.hexdigest()


def sidecar_of(path: str | Path) -> Path:
    """The sidecar of a style file, for its quantized network: `a/b.int8.json` for `a/b.safetensors`."""
    return Path(path).with_suffix(SUFFIX)


def write_quantization(quantization: Quantization, path: Path) -> None:
    """Write the sidecar, completely or not at all.

    Raises:
        StylecoreError: when it cannot be written.
    """
    text = json.dumps({"format": FORMAT, **dataclasses.asdict(quantization)}, indent=1) + "\n"
    write_whole(path, text.encode())


def read_quantization(path: Path, network: TransformNet) -> Quantization:
    """Read a sidecar.

    Raises:
        StylecoreError: when it cannot be read, is damaged, or belongs to another network.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        ranges = {name: (float(low), float(high)) for name, (low, high) in values.pop("ranges").items()}
        if not all(math.isfinite(low) and math.isfinite(high) and low < high for low, high in ranges.values()):
            raise ValueError("a range is not one")
        quantization = Quantization(ranges=ranges, **values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StylecoreError(
            f"{path} is no sidecar of a quantized network ({error}); remove it, or `python -m training.quantize` "
            "the network again."
        ) from error
    if quantization.network != network_digest(network):
        raise StylecoreError(
            f"{path} belongs to another network than the file beside it; remove it, or `python -m training.quantize` "
            "the network again."
        )
    return quantization
