"""Every setting of a training run: its default, its meaning, its flag, its line in a recipe."""

import argparse
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_type_hints

import torch
import yaml
from pydantic import TypeAdapter, ValidationError

from stylecore.errors import StylecoreError
from stylecore.flags import add_flags, check_limits, read_flags, setting
from stylecore.johnson.style_model import PAINTED_SIDE, StyleCard
from stylecore.johnson.transform_net import NormalizationLayer, Output, Padding, TransformNetConfig, Upsampling
from stylecore.losses import ContentNormalization, StyleNormalization
from stylecore.preprocessing import CAFFE, IMAGENET
from training.judge import LEAST_SIDE
from training.tracking.journal import END_SECONDS

REPOSITORY = Path(__file__).resolve().parent.parent
LEAST_REDUCED_SIDE = 16
"""Least side in pixels of a crop at the smallest scale of the loss: VGG halves it four times."""
Schedule = Literal["constant", "cosine"]
Precision = Literal["no", "bf16", "fp16"]


def computed_precision(wanted: Precision, cpu: bool) -> Precision:
    """The precision, but "no" for bfloat16 that the device does not compute: emulated, it takes many times as long."""
    if wanted != "bf16":
        return wanted
    if torch.cuda.is_available() and not cpu:
        return wanted if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    there = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return wanted if there else "no"


@dataclass(frozen=True)
class TrainConfig:
    """The settings: flags of train.py, keys of a recipe, MLflow params, and the StyleCard's `training`.

    The defaults are those of Johnson et al. (2016), section 4.1, where the paper states them (four style layers of
    VGG-16, 256-pixel pictures, batches of 4, Adam with a rate of 1e-3), but for the losses: content at
    relu3_3, as the authors' code has it, which leaves room for strokes wider than an edge; the style loss at full and
    at half size, which the report's comparison found to help; both relative, so that one style weight fits every
    painting (by itself that changed little). recipes/experiment.yaml has the losses of the public implementations.
    """

    name: str = setting("", "the style's name: the registered model and the --style of the command line")
    run_name: str = setting("", "the run's name and its folder below --output-dir; the style's name when left out")
    style_image: str = setting("", "the style picture, a file")
    title: str = setting("", "title of the style picture")
    artist: str = setting("", "its artist")
    year: str = setting("", "its year")
    credit: str = setting("", "where the reproduction comes from")
    license: str = setting("", "the reproduction's license")

    residual_blocks: int = setting(5, "residual blocks of the transformation network, 1 to 9")
    width: float = setting(1.0, "multiplies the network's channels 32, 64, 128")
    normalization: NormalizationLayer = setting("instance", "normalization after every convolution but the last")
    padding: Padding = setting("reflect", "reflection in every convolution, or the paper's reflection at the start")
    upsampling: Upsampling = setting("nearest", "nearest neighbor and convolution, or the paper's transposed one")
    output: Output = setting("linear", "form of the output; the paper's scaled tanh burns in white spots early")
    input_noise: float = setting(
        0.0, "standard deviation of the noise added to photos, in training and in use, so that flat areas get strokes"
    )
    init_from: str = setting("", "start from this trained style, a file or a models:/ URI, instead of from scratch")

    teacher: str = setting("", "distill this trained style too, a file or a models:/ URI, of any form of network")
    teacher_weight: float = setting(500, "weight of the mean squared difference to the teacher's pixels", least=0)

    content_layer: str = setting("relu3_3", "content layer of VGG-16")
    content_weight: float = setting(1.0, "weight of the content loss", least=0)
    style_layers: tuple[str, ...] = setting(("relu1_2", "relu2_2", "relu3_3", "relu4_3"), "style layers of VGG-16")
    content_normalization: ContentNormalization = setting(
        "relative", "the content loss: a mean of squares, or relative to the photo's own activations"
    )
    style_weight: float = setting(1.0, "weight of the style loss, summed over the style layers and scales", least=0)
    style_normalization: StyleNormalization = setting(
        "relative",
        "the style loss of a layer: mean of the squared differences of Gram matrices, as in public implementations; "
        "their sum, as in the paper; or relative to the painting's own Gram matrix",
    )
    style_layer_weights: tuple[float, ...] = setting((), "a weight for each style layer; all 1 when left out", least=0)
    loss_scales: tuple[int, ...] = setting(
        (1, 2), "the style loss compares picture and painting at 1 / scale of their size: 1, 1 2 or 1 2 4", least=1
    )
    total_variation_weight: float = setting(0.0, "weight of the total variation loss on [0, 1] pixels", least=0)
    steadiness_weight: float = setting(
        0.0,
        "weight of the steadiness loss: a photo moved by 1 to 3 pixels should get the same strokes, moved alike",
        least=0,
    )
    steadiness_every: int = setting(
        1, "iterations from one steadiness loss to the next, which weighs so many times more: it costs a pass", least=1
    )
    grid_weight: float = setting(
        0.0,
        "weight of the grid loss: no pattern should repeat at the pixels that the network halves and doubles",
        least=0,
    )
    style_size: int = setting(256, "short side of the style picture in pixels: larger gives larger strokes", least=32)
    painted_side: int = setting(
        PAINTED_SIDE,
        "longest side in pixels at which strokes are as large as the painting's; larger photos are painted at it",
        least=32,
    )
    vgg_weights: str = setting("", "a file with VGG-16's weights; found automatically when left out")

    photos: str = setting(
        "detection-datasets/coco", "content photos: a folder, a dataset on the hub, or `samples` of installed packages"
    )
    streaming: bool = setting(False, "read a dataset during training, instead of downloading it before")
    crop: int = setting(256, "side of the square training crops in pixels, a multiple of 4", least=32)
    smallest_crop: float = setting(
        0.5, "side of the smallest crop as a share of the photo's short side", least=0.01, most=1
    )
    batch_size: int = setting(4, "photos for each process and backward pass", least=1)
    gradient_accumulation: int = setting(1, "backward passes for each optimizer step", least=1)
    workers: int = setting(2, "processes that read photos, beside each training process", least=0)

    iterations: int = setting(3500, "optimizer steps, at most so many if there are --minutes", least=1)
    minutes: float = setting(
        0.0,
        "end after so many minutes of training, over all resumes, to which the schedule is fitted; 0: no such end",
        least=0,
    )
    checkpoints: tuple[int, ...] = setting((1000, 1500, 3500), "iterations whose network is saved and registered")
    learning_rate: float = setting(1e-3, "Adam's rate, after warm-up", least=1e-9)
    bias_rate: float = setting(
        1.0, "times that rate for biases and for the scales and shifts of the normalizations", least=0
    )
    schedule: Schedule = setting("constant", "the rate stays constant, or falls to zero along half a cosine")
    warmup: int = setting(0, "iterations over which the rate rises linearly from zero", least=0)
    gradient_clip: float = setting(
        0.0, "largest norm of the gradient, which limits single bad batches; 0 for none", least=0
    )
    seed: int = setting(0, "seed of the initial weights, the order of the photos and the crops", least=0)

    preview_photos: tuple[str, ...] = setting((), "photos shown stylized at every checkpoint; samples when left out")
    preview_size: int = setting(512, "longest side of those pictures in pixels", least=32)
    evaluate_sizes: tuple[int, ...] = setting(
        (256,),
        "sizes in pixels at which the checkpoints are evaluated on the preview photos; none: no evaluation",
        least=32,
    )
    gatys_iterations: int = setting(
        100,
        "the evaluation optimizes by Gatys et al. for at most so many iterations, to compare; 0 leaves it out",
        least=0,
    )
    judge_sizes: tuple[int, ...] = setting(
        (640,), "longest sides in pixels for the judge, if checkpoints are evaluated; none: no judge", least=LEAST_SIDE
    )
    log_every: int = setting(10, "iterations between two points of the curves", least=1)
    save_minutes: float = setting(5.0, "minutes between two saved states to resume from")
    output_dir: str = setting("runs", "folder for states, checkpoints and the journal for MLflow")
    end_seconds: float = setting(
        END_SECONDS, "seconds to wait at the end for a slow or missing MLflow server", least=0
    )
    mixed_precision: Precision = setting(
        "no", "autocast of the networks, not of Gram matrices; a device without bfloat16 trains in float32"
    )
    compile: bool = setting(False, "compile the networks with torch.compile, which needs a C++ compiler on a CPU")
    cpu: bool = setting(False, "train on the CPU even if there is a GPU")

    @property
    def folder(self) -> Path:
        """The folder of this run's states and checkpoints."""
        return Path(self.output_dir) / (self.run_name or self.name)

    @property
    def network(self) -> TransformNetConfig:
        """The network to train. With a tanh its values are 0 to 255 around the mean, as in the authors' code."""
        values = CAFFE if self.output == "tanh" else IMAGENET
        return TransformNetConfig(
            residual_blocks=self.residual_blocks,
            width=self.width,
            normalization=self.normalization,
            padding=self.padding,
            upsampling=self.upsampling,
            output=self.output,
            input_values=values,
            output_values=values,
            input_noise=self.input_noise,
        )

    @property
    def style_layer_shares(self) -> dict[str, float]:
        """Style layer to its weight."""
        return dict(zip(self.style_layers, self.style_layer_weights or [1.0] * len(self.style_layers), strict=True))

    def for_card(self) -> dict[str, Any]:
        """Every setting in the form of a StyleCard: JSON has no tuples."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}

    @classmethod
    def of_card(cls, settings: Mapping[str, Any]) -> "TrainConfig":
        """The settings that `for_card` wrote; those that are unknown here are left out."""
        known = {each.name for each in dataclasses.fields(cls)}
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()}
        return cls(**{name: value for name, value in values.items() if name in known})

    def learning_rate_at(self, iteration: int, share: float = 0.0) -> float:
        """Adam's rate for optimizer step `iteration`, counted from 1; `share` of --minutes is over."""
        if iteration <= self.warmup:
            return self.learning_rate * iteration / self.warmup
        if self.schedule == "constant":
            return self.learning_rate
        progress = share if self.minutes else (iteration - self.warmup) / max(1, self.iterations - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def check(self) -> None:
        """Raise StylecoreError for the first setting that cannot work, before anything is loaded."""
        if not self.name:
            raise StylecoreError("the style needs a name: pass --name, or a --recipe that has one.")
        if not self.style_image:
            raise StylecoreError("there is no style picture: pass --style-image, or a --recipe that has one.")
        check_limits(self)
        if self.crop % 4:
            raise StylecoreError(f"--crop is {self.crop}, and must be a multiple of 4: the network halves twice.")
        if len({Path(photo).stem for photo in self.preview_photos}) < len(self.preview_photos):
            raise StylecoreError(
                "--preview-photos has two files of the same name, by which they are shown; rename one."
            )
        if not self.loss_scales or len(set(self.loss_scales)) < len(self.loss_scales):
            raise StylecoreError("--loss-scales are different whole numbers, such as 1 2.")
        reduced = self.crop // max(self.loss_scales)
        if reduced < LEAST_REDUCED_SIDE:
            raise StylecoreError(
                f"--loss-scales has {max(self.loss_scales)}, which leaves {reduced} pixels of a crop of {self.crop}; "
                f"at least {LEAST_REDUCED_SIDE} are needed."
            )
        if not self.style_layers:
            raise StylecoreError("--style-layers is empty; give at least one layer.")
        if self.style_layer_weights and len(self.style_layer_weights) != len(self.style_layers):
            raise StylecoreError(
                f"--style-layer-weights has {len(self.style_layer_weights)} numbers for {len(self.style_layers)} "
                "style layers; give one for each, or none."
            )
        _ = StyleCard(self.name, network=self.network)  # raises for an impossible name or network


def parse_config(arguments: Sequence[str] | None = None) -> tuple[TrainConfig, str]:
    """Read the settings: flags win over the recipe, and the recipe wins over the defaults.

    Returns:
        The configuration, checked, and --resume: "no" or "auto".

    Raises:
        StylecoreError: for a recipe or a setting that is not valid.
        SystemExit: for flags that argparse refuses, and after --help.
    """
    parser = argparse.ArgumentParser(
        prog="accelerate launch training/train.py",
        description="Train a transformation network (Johnson et al. 2016) on any number of processes.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--recipe", type=Path, help="YAML file with settings; flags win over it", default=None)
    parser.add_argument(
        "--resume", choices=("no", "auto"), default="no", help="auto: continue from the newest saved state, if any"
    )
    add_flags(parser, TrainConfig())
    options, given = parse_given(parser, arguments)
    settings = read_recipe(options.recipe) if options.recipe else {}
    config = TrainConfig(**settings | given)
    config.check()
    return config, options.resume


def parse_given(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The parsed flags, and those settings of a TrainConfig that were given: defaults must not replace a recipe."""
    not_given = object()
    names = [each.name for each in dataclasses.fields(TrainConfig)]
    options = parser.parse_args(arguments, argparse.Namespace(**dict.fromkeys(names, not_given)))
    values = read_flags(options, TrainConfig)
    return options, {name: value for name, value in values.items() if value is not not_given}


def read_recipe(path: Path) -> dict[str, Any]:
    """Settings of a YAML recipe, converted to their fields' types.

    Raises:
        StylecoreError: when the file cannot be read, or a setting is unknown or of another type.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # texts: YAML has its own ideas of 1e5
    except (OSError, UnicodeDecodeError) as error:
        raise StylecoreError(f"cannot read the recipe {path}: {getattr(error, 'strerror', error)}.") from error
    except yaml.YAMLError as error:
        raise StylecoreError(f"the recipe {path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise StylecoreError(f"the recipe {path} must consist of `setting: value` lines.")
    hints = get_type_hints(TrainConfig)
    unknown = sorted(str(name) for name in content if name not in hints)
    if unknown:
        raise StylecoreError(
            f"the recipe {path} has unknown settings: {', '.join(unknown)}; `train.py --help` lists them all."
        )
    settings = {}
    for name, value in content.items():
        try:
            settings[name] = TypeAdapter(hints[name]).validate_python(value)
        except ValidationError as error:
            raise StylecoreError(f"{name} in {path} is {value!r}: {error.errors()[0]['msg']}.") from None
    return settings


def find_file(name: str) -> Path:
    """A path relative to the current folder, or else to the repository, so that recipes work in any folder.

    Raises:
        StylecoreError: when there is no such file in either place.
    """
    for candidate in (Path(name), REPOSITORY / name) if name else ():
        if candidate.exists():
            return candidate
    raise StylecoreError(f"there is no file {name}, neither here nor in the repository.")
