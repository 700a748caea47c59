"""Networks that others trained, as StyleModels.

Read are the variables of Engstrom's fast-style-transfer (.npz, a folder of raw variables, a TensorFlow checkpoint),
the state dicts of three PyTorch implementations, and the .t7 files of Johnson's own. A file's content says what it
is, its suffix only where the content cannot. Nothing in a file is executed.
"""

import json
import math
import re
import zipfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.importers.torch7 import Torch7Object, looks_like_torch7, read_torch7
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing

FORMATS = (
    "Engstrom's fast-style-transfer (.npz, a folder with manifest.json, a TensorFlow .ckpt), "
    "PyTorch state dicts of pytorch/examples, gordicaleksa and rrmina (.pth, .model), "
    "and Johnson's binary .t7"
)

RGB_255 = Preprocessing("RGB", 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
BGR_255 = Preprocessing("BGR", 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
RGB_255_CENTERED = Preprocessing("RGB", 255.0, (127.5, 127.5, 127.5), (1.0, 1.0, 1.0))

TENSORFLOW_TABLE_END = bytes.fromhex("57fb808b247547db")
"""The last 8 bytes of a TensorFlow checkpoint (version 1) or of its index (version 2)."""


def import_style(path: str | Path, name: str, **card_fields: Any) -> StyleModel:
    """Read a network that another project trained.

    Args:
        path: the file, or the folder with manifest.json.
        name: of the style, for its card.
        card_fields: other fields of the StyleCard. `credit` and `license` say who may use the network, by the
            project that its form belongs to; a value that is not empty takes their place.

    Returns:
        The network with its card; `training` and `iterations` stay empty.

    Raises:
        StylecoreError: when the file is missing, damaged, of no known format, or holds another network than
            Johnson's transformation network.
    """
    source = Path(path)
    found = _reader(source)(source)
    stated = {key: value for key, value in card_fields.items() if value}
    card = StyleCard(
        name=name, network=found.config, **{"credit": found.origin.credit, "license": found.origin.license} | stated
    )
    network = TransformNet(found.config)
    network.load_state_dict(_checked(source, network.state_dict(), found.state))
    return StyleModel(network, card)


@dataclass(frozen=True)
class _Origin:
    credit: str
    license: str


_ENGSTROM = _Origin(
    "network trained with Logan Engstrom's fast-style-transfer",
    "Copyright (c) 2016 Logan Engstrom; free for research use, as long as proper attribution is given and this "
    "notice is retained; other uses need the author's permission",
)
_JOHNSON = _Origin(
    "network trained with Justin Johnson's fast-neural-style",
    "free for personal or research use; commercial use needs the author's permission",
)
_PYTORCH_EXAMPLES = _Origin(
    "network trained with fast_neural_style of pytorch/examples", "BSD-3-Clause (the published networks)"
)
_GORDIC = _Origin(
    "network trained with Aleksa Gordić's pytorch-neural-style-transfer-johnson", "MIT (the published networks)"
)
_MINA = _Origin(
    "network trained with Rusty Mina's fast-neural-style-pytorch",
    "Copyright (c) 2018 Rusty Mina; free for academic or research use, as long as proper attribution is given and "
    "this notice is retained",
)


@dataclass(frozen=True)
class _Found:
    """What a file holds: the network's form, and its tensors by our names."""

    config: TransformNetConfig
    state: dict[str, Tensor]
    origin: _Origin


def _reader(source: Path) -> Callable[[Path], _Found]:  # noqa: RET503 (_refuse never returns)
    """The function that reads this file, by its content."""
    if source.is_dir():
        if (source / "manifest.json").is_file():
            return _read_manifest
        if (source / "checkpoint").is_file():
            return _read_tensorflow
        _refuse(source, "the folder holds no manifest.json")
    if not source.is_file():
        if source.with_name(source.name + ".index").is_file():
            return _read_tensorflow
        raise StylecoreError(f"there is no file {source} to import; stylecore imports {FORMATS}.")
    try:
        with source.open("rb") as file:
            head = file.read(64)
            file.seek(0, 2)
            file.seek(max(0, file.tell() - len(TENSORFLOW_TABLE_END)))
            end = file.read()
    except OSError as error:
        _refuse(source, error.strerror or "it cannot be read")
    if head.startswith(b"PK"):
        if not zipfile.is_zipfile(source):
            _refuse(source, "it is damaged or was not loaded whole")
        with zipfile.ZipFile(source) as archive:
            return _read_npz if any(name.endswith(".npy") for name in archive.namelist()) else _read_pytorch
    if head.startswith(b"\x80"):
        return _read_pytorch
    if looks_like_torch7(head):
        return _read_torch7
    if head.lstrip().startswith(b"{"):
        return _read_manifest
    if end == TENSORFLOW_TABLE_END or source.suffix in (".ckpt", ".index", ".meta") or ".data-" in source.name:
        return _read_tensorflow
    why = "it has none of the known formats, or is damaged"
    if source.suffix == ".safetensors":
        why = "a .safetensors file is a style already, which needs no import, or has none of the known formats"
    _refuse(source, why)


def _checked(source: Path, expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state as float32 with every tensor that the network needs and no other."""
    # Batch normalization counts its training batches; evaluation does not ask for the number.
    counters = {name: tensor for name, tensor in expected.items() if name.endswith("num_batches_tracked")}
    for name in (expected.keys() - counters.keys()) ^ state.keys():
        _refuse(source, f"its network is not Johnson's: {name} is {'missing' if name in expected else 'too much'}")
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape:
            _refuse(
                source,
                f"its network is not Johnson's: {name} has shape {tuple(tensor.shape)} instead of "
                f"{tuple(expected[name].shape)}",
            )
        if not torch.isfinite(tensor).all():
            _refuse(source, f"the weights of {name} are not finite numbers")
    return counters | {name: tensor.to(torch.float32).contiguous() for name, tensor in state.items()}


def _layers(residual_blocks: int, upsampling: str) -> list[str]:
    """Our names of the layers, each a convolution with its normalization, in the order of the picture's way."""
    decoder = "layer.1" if upsampling == "nearest" else "layer"
    return [
        *(f"encoder.{index}" for index in range(3)),
        *(f"residual_blocks.{block}.{part}" for block in range(residual_blocks) for part in ("first", "second")),
        *(f"decoder.{index}.{decoder}" for index in range(2)),
        "decoder.2",
    ]


def _width(source: Path, first_weight: np.ndarray | Tensor) -> float:
    """The config's width, from the number of output channels of the first convolution, the weight's dimension 0."""
    channels = first_weight.shape[0] if first_weight.ndim else 0
    if not 2 <= channels <= 128:
        _refuse(source, f"its network is not Johnson's: its first layer has {channels} channels")
    return channels / 32


def _blocks(source: Path, count: int) -> int:
    if not 1 <= count <= 9:
        _refuse(source, f"its network is not Johnson's: it has {count} residual blocks instead of 1 to 9")
    return count


def _refuse(source: Path, why: str) -> NoReturn:
    raise StylecoreError(f"cannot import {source}: {why}; stylecore imports {FORMATS}.")


# Engstrom's variables -----------------------------------------------------------------------------


def _read_npz(source: Path) -> _Found:
    try:
        with np.load(source, allow_pickle=False) as archive:
            return _engstrom(source, {name: archive[name] for name in archive.files if not _of_the_optimizer(name)})
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        _refuse(source, f"it is damaged ({error})")


def _read_manifest(source: Path) -> _Found:
    """manifest.json names the raw files beside it: {"Variable": {"filename": "Variable", "shape": [9, 9, 3, 32]}}."""
    manifest = source / "manifest.json" if source.is_dir() else source
    try:
        entries = json.loads(manifest.read_bytes())
        shapes = {name: tuple(int(size) for size in entry["shape"]) for name, entry in entries.items()}
        files = {name: str(entry["filename"]) for name, entry in entries.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        _refuse(manifest, "it does not list variables with their filename and shape")
    variables = {}
    for name, shape in shapes.items():
        if _of_the_optimizer(name):
            continue
        if Path(files[name]).name != files[name]:
            _refuse(manifest, f"the file of {name} is not in the same folder")
        try:
            data = (manifest.parent / files[name]).read_bytes()
        except OSError as error:
            _refuse(manifest, f"the file of {name} cannot be read ({error.strerror})")
        if len(data) != 4 * math.prod(shape):
            _refuse(manifest, f"the file of {name} has {len(data)} bytes instead of {4 * math.prod(shape)}")
        variables[name] = np.frombuffer(data, "<f4").reshape(shape)
    return _engstrom(manifest, variables)


def _read_tensorflow(source: Path) -> _Found:
    try:
        from tensorflow import train  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise StylecoreError(
            f"{source} is a TensorFlow checkpoint, and reading one needs TensorFlow, which is not installed: "
            "`pip install tensorflow`, or import the network's .npz."
        ) from error
    # A checkpoint of version 2 is several files and is named by what their names have in common.
    prefix = re.sub(r"\.(index|meta|data-\d+-of-\d+)$", "", str(source))
    try:
        # TensorFlow's errors have no common class of their own.
        reader = train.load_checkpoint(prefix)
        names = [name for name in reader.get_variable_to_shape_map() if not _of_the_optimizer(name)]
        variables = {name: np.asarray(reader.get_tensor(name)) for name in names}
    except Exception as error:
        _refuse(source, f"TensorFlow cannot read it ({str(error).splitlines()[0] if str(error) else error!r})")
    return _engstrom(source, variables)


def _of_the_optimizer(name: str) -> bool:
    return "Adam" in name or "beta" in name


def _engstrom(source: Path, variables: Mapping[str, np.ndarray]) -> _Found:
    """Variables without names of their own, numbered in the order of creation: weight, shift, scale of each layer."""
    names = ["Variable" if index == 0 else f"Variable_{index}" for index in range(len(variables))]
    unexpected = sorted(variables.keys() ^ set(names))
    if unexpected:
        _refuse(source, f"its variables are not numbered like Engstrom's ({unexpected[0]})")
    ordered = [variables[name] for name in names]
    if len(ordered) < 24 or (len(ordered) - 18) % 6 or any(weight.ndim != 4 for weight in ordered[::3]):
        _refuse(source, f"its {len(ordered)} variables are not those of Engstrom's network")
    residual_blocks = _blocks(source, (len(ordered) - 18) // 6)
    state: dict[str, Tensor] = {}
    for index, layer in enumerate(_layers(residual_blocks, "transposed")):
        weight, shift, scale = (_tensor(source, values) for values in ordered[3 * index : 3 * index + 3])
        # (height, width, in, out), and (height, width, out, in) of transposed convolutions; torch has it reversed.
        state[f"{layer}.convolution.weight"] = weight.permute(3, 2, 0, 1)
        state[f"{layer}.normalization.weight"] = scale
        state[f"{layer}.normalization.bias"] = shift
    config = TransformNetConfig(
        residual_blocks=residual_blocks,
        width=_width(source, state["encoder.0.convolution.weight"]),
        padding="same",
        upsampling="transposed",
        output="tanh",
        bias=False,
        normalization_epsilon=1e-3,
        normalize_output=True,
        input_values=RGB_255,
        output_values=RGB_255_CENTERED,
    )
    return _Found(config, state, _ENGSTROM)


def _tensor(source: Path, values: np.ndarray) -> Tensor:
    if values.dtype.kind != "f":
        _refuse(source, f"its weights are of type {values.dtype}, not float")
    return torch.from_numpy(np.array(values, np.float32))


# PyTorch state dicts ------------------------------------------------------------------------------


def _read_pytorch(source: Path) -> _Found:
    try:
        # A damaged file can raise nearly anything.
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        why = "it is damaged, or holds more than weights"
        raise StylecoreError(
            f"cannot import {source}: {why}, which is refused because such a file can run any program; "
            f"save the network's state_dict() alone. stylecore imports {FORMATS}."
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        _refuse(source, "it holds no state dict")
    # "module." is what torch.nn.DataParallel puts in front.
    weights = {str(name).removeprefix("module."): tensor for name, tensor in loaded.items()}
    if "conv1.conv2d.weight" in weights:
        return _pytorch_examples(source, weights)
    if "ConvBlock.0.conv_layer.weight" in weights:
        return _mina(source, weights)
    _refuse(source, "its state dict is of another network")


def _pytorch_examples(source: Path, weights: dict[str, Tensor]) -> _Found:
    """pytorch/examples, and Gordić's, who calls the last three convolutions otherwise and has other values."""
    # Before PyTorch 0.4 instance normalization saved statistics that it never used.
    weights = {name: tensor for name, tensor in weights.items() if not re.search(r"in\d+\.running_(mean|var)$", name)}
    gordic = "up3.conv2d.weight" in weights
    residual_blocks = _blocks(source, len([name for name in weights if re.fullmatch(r"res\d+\.in1\.weight", name)]))
    upsampling = ("up1.conv2d.conv2d", "up2.conv2d.conv2d") if gordic else ("deconv1.conv2d", "deconv2.conv2d")
    convolutions = [
        *(f"conv{index}.conv2d" for index in (1, 2, 3)),
        *(f"res{block}.conv{part}.conv2d" for block in range(1, residual_blocks + 1) for part in (1, 2)),
        *upsampling,
        "up3.conv2d" if gordic else "deconv3.conv2d",
    ]
    normalizations = [
        *(f"in{index}" for index in (1, 2, 3)),
        *(f"res{block}.in{part}" for block in range(1, residual_blocks + 1) for part in (1, 2)),
        *("in4", "in5"),
    ]
    values = IMAGENET if gordic else RGB_255
    config = TransformNetConfig(
        residual_blocks=residual_blocks,
        width=_width(source, weights["conv1.conv2d.weight"]),
        input_values=values,
        output_values=values,
    )
    state = _renamed(weights, _layers(residual_blocks, "nearest"), convolutions, normalizations)
    return _Found(config, state, _GORDIC if gordic else _PYTORCH_EXAMPLES)


def _mina(source: Path, weights: dict[str, Tensor]) -> _Found:
    """Rusty Mina's network. His variant with a tanh has the same tensors; it is read as the usual, linear one."""
    blocks = [name for name in weights if re.fullmatch(r"ResidualBlock\.\d+\.conv1\.conv_layer\.weight", name)]
    residual_blocks = _blocks(source, len(blocks))
    places = [
        *(f"ConvBlock.{index}" for index in (0, 2, 4)),
        *(f"ResidualBlock.{block}.conv{part}" for block in range(residual_blocks) for part in (1, 2)),
        *(f"DeconvBlock.{index}" for index in (0, 2, 4)),
    ]
    convolutions = [f"{place}.conv_layer" for place in places]
    convolutions[-3:-1] = [f"{place}.conv_transpose" for place in places[-3:-1]]
    batch = any(name.endswith("num_batches_tracked") for name in weights)
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")}
    config = TransformNetConfig(
        residual_blocks=residual_blocks,
        width=_width(source, weights["ConvBlock.0.conv_layer.weight"]),
        normalization="batch" if batch else "instance",
        upsampling="transposed",
        input_values=BGR_255,
        output_values=BGR_255,
    )
    normalizations = [f"{place}.norm_layer" for place in places[:-1]]
    return _Found(
        config, _renamed(weights, _layers(residual_blocks, "transposed"), convolutions, normalizations), _MINA
    )


def _renamed(
    weights: Mapping[str, Tensor], layers: list[str], convolutions: list[str], normalizations: list[str]
) -> dict[str, Tensor]:
    """Our names for theirs; a tensor of no known layer keeps its name, to be refused by it."""
    names = {theirs: f"{layer}.convolution" for layer, theirs in zip(layers, convolutions, strict=True)}
    # The last layer is not normalized.
    names |= {theirs: f"{layer}.normalization" for layer, theirs in zip(layers, normalizations, strict=False)}
    state = {}
    for name, tensor in weights.items():
        module, _, parameter = name.rpartition(".")
        state[f"{names[module]}.{parameter}" if module in names else name] = tensor
    return state


# Johnson's .t7 ------------------------------------------------------------------------------------


def _read_torch7(source: Path) -> _Found:
    """A checkpoint of Johnson's train.lua: a table with `model` and `opt`."""
    checkpoint = read_torch7(source)
    model = checkpoint.get("model") if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(model, Torch7Object):
        _refuse(source, "it holds no network")
    options = checkpoint.get("opt") if isinstance(checkpoint, dict) else None
    preprocessing = options.get("preprocessing") if isinstance(options, dict) else None
    if preprocessing not in (None, "vgg", "resnet"):
        _refuse(source, f"its preprocessing is {preprocessing!r}, not 'vgg' or 'resnet'")
    values = IMAGENET if preprocessing == "resnet" else CAFFE
    return _JohnsonReader(source, model).network(values)


class _JohnsonReader:
    """Walks the modules of the Lua network in the order of the paper's table and collects their tensors."""

    def __init__(self, source: Path, model: Torch7Object) -> None:
        self.source = source
        self.modules = self._modules(model)
        self.state: dict[str, Tensor] = {}
        self.normalizations: set[tuple[str, float]] = set()

    def network(self, values: Preprocessing) -> _Found:
        start = self._take(self.modules, "SpatialReflectionPadding")
        for index, kernel_size in enumerate((9, 3, 3)):
            self._convolution(self.modules, f"encoder.{index}", kernel_size, stride=min(index, 1) + 1)
            self._take(self.modules, "ReLU")
        residual_blocks = 0
        while self._next(self.modules) == "Sequential":
            self._residual_block(self.modules.popleft(), f"residual_blocks.{residual_blocks}")
            residual_blocks += 1
        nearest = self._next(self.modules) == "SpatialUpSamplingNearest"
        for index in range(2):
            if nearest:
                self._nearest(f"decoder.{index}")
            else:
                self._transposed(f"decoder.{index}.layer")
            self._take(self.modules, "ReLU")
        self._convolution(self.modules, "decoder.2", 9, normalize=False)
        self._take(self.modules, "Tanh")
        tanh_scale = self._number(self._take(self.modules, "MulConstant"), "constant_scalar")
        while self.modules:
            self._take(self.modules, "TotalVariation")  # it only adds a gradient while training
        if len(self.normalizations) != 1:
            _refuse(self.source, "its layers are normalized in different ways")
        normalization, epsilon = self.normalizations.pop()
        config = TransformNetConfig(
            residual_blocks=_blocks(self.source, residual_blocks),
            width=_width(self.source, self.state["encoder.0.convolution.weight"]),
            normalization="batch" if normalization == "SpatialBatchNormalization" else "instance",
            padding="reflect-start",
            upsampling="nearest" if nearest else "transposed",
            output="tanh",
            tanh_scale=tanh_scale,
            normalization_epsilon=epsilon,
            normalize_before_upsampling=nearest,
            input_values=values,
            output_values=values,
        )
        if any(self._number(start, side) != config.border for side in ("pad_l", "pad_r", "pad_t", "pad_b")):
            _refuse(self.source, f"its reflection padding is not {config.border} pixels, 8 for each residual block")
        return _Found(config, self.state, _JOHNSON)

    def _residual_block(self, block: Torch7Object, name: str) -> None:
        parts = self._modules(block)
        branches = self._modules(self._take(parts, "ConcatTable"))
        self._take(parts, "CAddTable")
        layers = self._modules(self._take(branches, "Sequential"))
        shortcut = self._take(branches, "ShaveImage")
        if self._number(shortcut, "size") != 2:
            _refuse(self.source, "the shortcut of a residual block is not cropped by 2")
        self._convolution(layers, f"{name}.first", 3, padding=0)
        self._take(layers, "ReLU")
        self._convolution(layers, f"{name}.second", 3, padding=0)
        if parts or branches or layers:
            _refuse(self.source, "a residual block has more layers than two convolutions")

    def _nearest(self, name: str) -> None:
        upsampling = self._take(self.modules, "SpatialUpSamplingNearest")
        if self._number(upsampling, "scale_factor") != 2:
            _refuse(self.source, "an upsampling layer does not double the size")
        # Johnson normalizes after the upsampling, which repeats values and changes no statistic: the same before it.
        self._normalization(self.modules, f"{name}.before.0")
        self._take(self.modules, "ReLU")
        self._convolution(self.modules, f"{name}.layer.1", 3)

    def _convolution(
        self,
        modules: deque[Torch7Object],
        name: str,
        kernel_size: int,
        stride: int = 1,
        padding: int | None = None,
        normalize: bool = True,
    ) -> None:
        module = self._take(modules, "SpatialConvolution", "SpatialConvolutionMM")
        padding = kernel_size // 2 if padding is None else padding
        self._expect_form(module, kernel_size, stride, padding)
        weight = self._array(module, "weight")
        if weight.ndim == 2:  # SpatialConvolutionMM's matrix: (out, in * height * width)
            weight = weight.reshape(weight.shape[0], -1, kernel_size, kernel_size)
        self.state[f"{name}.convolution.weight"] = weight
        self.state[f"{name}.convolution.bias"] = self._array(module, "bias")
        if normalize:
            self._normalization(modules, f"{name}.normalization")

    def _transposed(self, name: str) -> None:
        module = self._take(self.modules, "SpatialFullConvolution")
        self._expect_form(module, kernel_size=3, stride=2, padding=1)
        if any(self._number(module, field) != 1 for field in ("adjW", "adjH")):
            _refuse(self.source, "a transposed convolution does not double the size")
        self.state[f"{name}.convolution.weight"] = self._array(module, "weight")
        self.state[f"{name}.convolution.bias"] = self._array(module, "bias")
        self._normalization(self.modules, f"{name}.normalization")

    def _normalization(self, modules: deque[Torch7Object], name: str) -> None:
        module = self._take(modules, "InstanceNormalization", "SpatialBatchNormalization")
        kind, epsilon = _short(module), self._number(module, "eps")
        self.normalizations.add((kind, epsilon))
        self.state[f"{name}.weight"] = self._array(module, "weight")
        self.state[f"{name}.bias"] = self._array(module, "bias")
        if kind == "SpatialBatchNormalization":
            self.state[f"{name}.running_mean"] = self._array(module, "running_mean")
            if "running_var" in module.fields:
                variance = self._array(module, "running_var")
            else:  # older files have 1 / sqrt(variance + epsilon)
                variance = self._array(module, "running_std").pow(-2) - epsilon
            self.state[f"{name}.running_var"] = variance

    def _expect_form(self, module: Torch7Object, kernel_size: int, stride: int, padding: int) -> None:
        wanted = {"kW": kernel_size, "kH": kernel_size, "dW": stride, "dH": stride, "padW": padding, "padH": padding}
        for field, value in wanted.items():
            if self._number(module, field) != value:
                _refuse(
                    self.source,
                    f"its network is not Johnson's: {field} of a {_short(module)} is "
                    f"{self._number(module, field):g} instead of {value}",
                )

    def _take(self, modules: deque[Torch7Object], *classes: str) -> Torch7Object:
        if self._next(modules) not in classes:
            found = self._next(modules) or "nothing more"
            _refuse(self.source, f"its network is not Johnson's: {found} where {classes[0]} belongs")
        return modules.popleft()

    def _next(self, modules: deque[Torch7Object]) -> str | None:
        return _short(modules[0]) if modules else None

    def _modules(self, container: Torch7Object) -> deque[Torch7Object]:
        table = container.fields.get("modules")
        if not isinstance(table, dict):
            _refuse(self.source, f"a {_short(container)} holds no modules")
        modules = [table.get(float(index)) for index in range(1, len(table) + 1)]
        if not all(isinstance(module, Torch7Object) for module in modules):
            _refuse(self.source, f"the modules of a {_short(container)} are not a list of layers")
        return deque(module for module in modules if isinstance(module, Torch7Object))

    def _number(self, module: Torch7Object, field: str) -> float:
        value = module.fields.get(field)
        if not isinstance(value, float):
            _refuse(self.source, f"a {_short(module)} has no number {field}")
        return value

    def _array(self, module: Torch7Object, field: str) -> Tensor:
        value = module.fields.get(field)
        if not isinstance(value, np.ndarray):
            _refuse(self.source, f"a {_short(module)} has no tensor {field}")
        return _tensor(self.source, value)


def _short(module: Torch7Object) -> str:
    """A Lua class without its package: nn, or cudnn for the same on a GPU."""
    return module.class_name.rpartition(".")[2]
