"""VGG A to E of Table 1 of Simonyan and Zisserman (2015), arXiv:1409.1556."""

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

from stylecore.errors import StylecoreError
from stylecore.preprocessing import IMAGENET, Preprocessing

Configuration = Literal["A", "A-LRN", "B", "C", "D", "E"]
Pooling = Literal["max", "average"]

# One tuple a block, one number a convolution: its kernel size. Every block ends with 2 x 2 pooling.
# "A-LRN" is A with local response normalization after the first convolution. D is VGG-16, E is VGG-19.
KERNEL_SIZES: dict[Configuration, tuple[tuple[int, ...], ...]] = {
    "A": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "A-LRN": ((3,), (3,), (3, 3), (3, 3), (3, 3)),
    "B": ((3, 3), (3, 3), (3, 3), (3, 3), (3, 3)),
    "C": ((3, 3), (3, 3), (3, 3, 1), (3, 3, 1), (3, 3, 1)),
    "D": ((3, 3), (3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    "E": ((3, 3), (3, 3), (3, 3, 3, 3), (3, 3, 3, 3), (3, 3, 3, 3)),
}
BLOCK_CHANNELS = (64, 128, 256, 512, 512)
CLASSIFIER_SIDE = 7  # a 224-pixel picture after five poolings
CLASSIFIER_WIDTH = 4096


class VGG(nn.Module):
    """One of the six configurations, with named layers.

    Layers are called `convB_I`, `reluB_I` and `poolB` (block B, convolution I of the block), and `lrn1_1` in
    A-LRN. The network gets RGB pixels in [0, 1] and converts them for its weights.

    Departures from the paper: none in the layers. ReLU is never in place, so the activation of a `conv` layer is the
    convolution's output (torchvision's network overwrites it). Local response
    normalization has the constants of Krizhevsky et al. (2012), to whom the paper refers: n = 5, k = 2,
    alpha = 1e-4, beta = 0.75.

    Args:
        configuration: column of Table 1.
        classifier: with the three fully connected layers (for 224 x 224 pictures).
        pooling: "max" as in the paper, or "average", which Gatys et al. (2016), section 2, found to give
            slightly more appealing results. The mean of four activations is smaller than their maximum; like
            most public implementations we do not rescale it, so deep layers weigh less with "average".
        preprocessing: of the weights.
    """

    def __init__(
        self,
        configuration: Configuration = "D",
        *,
        classifier: bool = False,
        pooling: Pooling = "max",
        preprocessing: Preprocessing = IMAGENET,
    ) -> None:
        super().__init__()
        if configuration not in KERNEL_SIZES:
            raise StylecoreError(
                f"there is no VGG configuration {configuration!r}; choose from {', '.join(KERNEL_SIZES)}."
            )
        if pooling not in ("max", "average"):
            raise StylecoreError(f"pooling {pooling!r} is unknown; choose max or average.")
        self.configuration = configuration
        self.preprocessing = preprocessing
        self.layers = nn.ModuleDict()
        in_channels = 3
        for block, (kernel_sizes, out_channels) in enumerate(
            zip(KERNEL_SIZES[configuration], BLOCK_CHANNELS, strict=True), start=1
        ):
            for index, kernel_size in enumerate(kernel_sizes, start=1):
                self.layers[f"conv{block}_{index}"] = nn.Conv2d(
                    in_channels, out_channels, kernel_size, padding=kernel_size // 2
                )
                self.layers[f"relu{block}_{index}"] = nn.ReLU()
                if configuration == "A-LRN" and block == index == 1:
                    # torch divides alpha by the window's size, Krizhevsky et al. do not.
                    self.layers["lrn1_1"] = nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)
                in_channels = out_channels
            self.layers[f"pool{block}"] = nn.MaxPool2d(2) if pooling == "max" else nn.AvgPool2d(2)
        self.classifier = _classifier() if classifier else None

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the feature layers, shallow to deep."""
        return tuple(self.layers)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features after the last pooling, (N, 512, H // 32, W // 32), or class scores (N, 1000).

        Args:
            pixels: (N, 3, H, W), RGB in [0, 1]; 224 x 224 when there is a classifier.
        """
        features = self.activations(pixels, ["pool5"])["pool5"]
        return features if self.classifier is None else self.classifier(features.flatten(1))

    def activations(self, pixels: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Activations of the named layers; nothing deeper than the deepest of them is computed.

        Args:
            pixels: (N, 3, H, W), RGB in [0, 1].
            layers: any of `layer_names`.

        Returns:
            Layer name to (N, C_l, H_l, W_l), in the order of `layers`.

        Raises:
            StylecoreError: for an unknown layer, or a picture that is too small for the deepest layer.
        """
        wanted = list(layers)
        unknown = [name for name in wanted if name not in self.layers]
        if unknown:
            raise StylecoreError(
                f"VGG {self.configuration} has no layer {', '.join(map(repr, unknown))}; "
                f"its layers are {', '.join(self.layer_names)}."
            )
        reached: dict[str, Tensor] = {}
        x = self.preprocessing.apply(pixels)
        remaining = set(wanted)
        for name, layer in self.layers.items():
            if not remaining:
                break
            if name.startswith("pool") and min(x.shape[-2:]) < 2:
                deepest = max(map(self.layer_names.index, wanted))
                poolings = sum(layer.startswith("pool") for layer in self.layer_names[: deepest + 1])
                raise StylecoreError(
                    f"a picture of {pixels.shape[-1]} x {pixels.shape[-2]} pixels is too small for "
                    f"{self.layer_names[deepest]}: VGG halves it at every pooling, so use at least {2**poolings} "
                    "pixels a side."
                )
            x = layer(x)
            if name in remaining:
                reached[name] = x
                remaining.remove(name)
        return {name: reached[name] for name in wanted}


def _classifier() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(BLOCK_CHANNELS[-1] * CLASSIFIER_SIDE**2, CLASSIFIER_WIDTH),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(CLASSIFIER_WIDTH, CLASSIFIER_WIDTH),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(CLASSIFIER_WIDTH, 1000),
    )
