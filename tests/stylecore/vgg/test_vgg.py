import functools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import stylecore.vgg.network
from stylecore.errors import StylecoreError
from stylecore.preprocessing import CAFFE, IMAGENET
from stylecore.vgg.network import KERNEL_SIZES, VGG


@pytest.fixture(scope="module")
def torchvision_vgg() -> Any:
    """Imports more than a second of PyTorch, which collecting the tests need not have."""
    from torchvision.models import vgg

    return vgg


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same networks with few channels, where a test is about their form."""
    monkeypatch.setattr(stylecore.vgg.network, "BLOCK_CHANNELS", (2, 3, 4, 4, 4))
    monkeypatch.setattr(stylecore.vgg.network, "CLASSIFIER_WIDTH", 8)


@pytest.mark.parametrize(
    ("configuration", "layers", "parameters"),
    [
        ("A", 11, 132_863_336),
        ("A-LRN", 11, 132_863_336),
        ("B", 13, 133_047_848),
        ("C", 16, 133_638_952),
        ("D", 16, 138_357_544),
        ("E", 19, 143_667_240),
    ],
)
def test_size_of_every_configuration_is_that_of_the_paper(configuration: str, layers: int, parameters: int) -> None:
    millions = {"A": 133, "A-LRN": 133, "B": 133, "C": 134, "D": 138, "E": 144}  # Table 2
    with torch.device("meta"):
        vgg = VGG(configuration, classifier=True)
    counted = sum(parameter.numel() for parameter in vgg.parameters())
    assert counted == parameters
    assert round(counted / 1e6) == millions[configuration]
    assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in vgg.modules()) == layers


def test_names_of_the_layers() -> None:
    with torch.device("meta"):
        assert VGG("D").layer_names == (
            *("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"),
            *("conv2_1", "relu2_1", "conv2_2", "relu2_2", "pool2"),
            *("conv3_1", "relu3_1", "conv3_2", "relu3_2", "conv3_3", "relu3_3", "pool3"),
            *("conv4_1", "relu4_1", "conv4_2", "relu4_2", "conv4_3", "relu4_3", "pool4"),
            *("conv5_1", "relu5_1", "conv5_2", "relu5_2", "conv5_3", "relu5_3", "pool5"),
        )
        assert [n for n in VGG("E").layer_names if n.startswith("conv5")] == [f"conv5_{i}" for i in range(1, 5)]
        assert VGG("A-LRN").layer_names[:4] == ("conv1_1", "relu1_1", "lrn1_1", "pool1")


def test_configuration_c_ends_its_deep_blocks_with_one_by_one_convolutions() -> None:
    with torch.device("meta"):
        vgg = VGG("C")
    pointwise = [n for n, layer in vgg.layers.items() if getattr(layer, "kernel_size", None) == (1, 1)]
    assert pointwise == ["conv3_3", "conv4_3", "conv5_3"]


def test_response_normalization_is_that_of_krizhevsky(narrow: None) -> None:
    vgg = VGG("A-LRN")
    got = vgg.activations(torch.rand(1, 3, 2, 2), ["relu1_1", "lrn1_1"])
    # Two channels lie within one window of five: b = a / (2 + 1e-4 * sum a^2) ^ 0.75.
    a = got["relu1_1"]
    expected = a / (2 + 1e-4 * a.square().sum(dim=1, keepdim=True)) ** 0.75
    torch.testing.assert_close(got["lrn1_1"], expected)
    big = vgg.layers["lrn1_1"](torch.full((1, 2, 1, 1), 100.0))
    torch.testing.assert_close(big, torch.full((1, 2, 1, 1), 100 / 4**0.75))


@pytest.mark.parametrize("configuration", ["A", "B", "D", "E"])
def test_activations_equal_those_of_torchvision(torchvision_vgg: Any, configuration: str, narrow: None) -> None:
    channels = {64: 2, 128: 3, 256: 4, 512: 4, "M": "M"}
    layers = [channels[layer] for layer in torchvision_vgg.cfgs[configuration]]
    theirs = torchvision_vgg.make_layers(layers, batch_norm=False)
    ours = VGG(configuration)
    values = list(theirs.state_dict().values())
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    for layer in theirs:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False

    pixels = torch.rand(1, 3, 33, 38)
    mean, std = torch.tensor(IMAGENET.mean).view(3, 1, 1), torch.tensor(IMAGENET.std).view(3, 1, 1)
    x = (pixels - mean) / std
    with torch.no_grad():
        got = ours.activations(pixels, ours.layer_names)
        for name, layer in zip(ours.layer_names, theirs, strict=True):
            x = layer(x)
            torch.testing.assert_close(got[name], x, msg=f"{name} differs")
        assert torch.equal(ours(pixels), got["pool5"])


@pytest.mark.parametrize(("configuration", "name"), [("D", "vgg16"), ("E", "vgg19")])
def test_classifier_has_the_names_and_shapes_of_torchvision(
    torchvision_vgg: Any, configuration: str, name: str
) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision_vgg, name)().classifier.state_dict()
        ours = VGG(configuration, classifier=True).classifier.state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}


def test_classifier_gives_a_score_for_every_class(narrow: None) -> None:
    vgg = VGG("D", classifier=True).eval()
    pixels = torch.rand(2, 3, 224, 224)
    scores = vgg(pixels)
    assert scores.shape == (2, 1000)
    features = vgg.activations(pixels, ["pool5"])["pool5"]
    assert features.shape == (2, 4, 7, 7)
    torch.testing.assert_close(scores, vgg.classifier(features.flatten(1)))


def test_relu_leaves_the_activation_of_its_convolution_alone(narrow: None) -> None:
    vgg = VGG("D")
    pairs = [(name, name.replace("conv", "relu")) for name in vgg.layer_names if name.startswith("conv")]
    got = vgg.activations(torch.rand(1, 3, 32, 32), [name for pair in pairs for name in pair])
    for conv, relu in pairs:
        assert (got[conv] < 0).any()
        assert torch.equal(got[relu], got[conv].relu())


def test_nothing_deeper_than_the_deepest_layer_is_computed(narrow: None) -> None:
    vgg = VGG("E")
    computed: list[str] = []
    for name, layer in vgg.layers.items():
        layer.register_forward_hook(lambda *_, name=name: computed.append(name))
    got = vgg.activations(torch.rand(1, 3, 16, 16), ["relu3_1", "conv1_2"])
    assert computed == list(vgg.layer_names[: vgg.layer_names.index("relu3_1") + 1])
    assert list(got) == ["relu3_1", "conv1_2"]  # in the order asked for
    computed.clear()
    assert vgg.activations(torch.rand(1, 3, 16, 16), []) == {}
    assert computed == []


def test_pooling(narrow: None) -> None:
    torch.manual_seed(1)
    average, maximum = VGG("D", pooling="average"), VGG("D")
    maximum.load_state_dict(average.state_dict())
    pixels = torch.rand(1, 3, 8, 6)
    got = average.activations(pixels, ["relu1_2", "pool1"])
    relu = got["relu1_2"]
    windows = [relu[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    torch.testing.assert_close(got["pool1"], sum(windows) / 4)
    torch.testing.assert_close(maximum.activations(pixels, ["pool1"])["pool1"], torch.stack(windows).amax(dim=0))


@settings(deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), count=st.integers(1, 2))
def test_activations_are_halved_and_rounded_down_at_every_pooling(height: int, width: int, count: int) -> None:
    vgg, pixels = empty_vgg(), torch.empty(count, 3, height, width, device="meta")
    sizes = [(height >> halvings, width >> halvings) for halvings in range(5)]
    reached = sum(0 not in size for size in sizes)
    found = vgg.activations(pixels, [f"relu{block}_1" for block in range(1, reached + 1)])
    assert [tuple(activation.shape) for activation in found.values()] == [
        (count, channels, *size) for channels, size in zip((64, 128, 256, 512, 512), sizes[:reached], strict=False)
    ]
    for block in range(reached + 1, 6):
        with pytest.raises(StylecoreError, match=f"relu{block}_1.* at least {2 ** (block - 1)} pixels"):
            vgg.activations(pixels, [f"relu{block}_1"])


@functools.cache
def empty_vgg() -> VGG:
    with torch.device("meta"):
        return VGG("D")


def test_preprocessing_is_folded_in(narrow: None) -> None:
    caffe = VGG("D", preprocessing=CAFFE)
    seen: list[torch.Tensor] = []
    caffe.layers["conv1_1"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 1
    caffe.activations(red, ["conv1_1"])
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([-103.939, -116.779, 255 - 123.68]))


def test_gradients_reach_the_pixels(narrow: None) -> None:
    pixels = torch.rand(1, 3, 16, 16, requires_grad=True)
    VGG("E").activations(pixels, ["relu4_2"])["relu4_2"].sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0


def test_mistakes_are_named(narrow: None) -> None:
    with pytest.raises(StylecoreError, match=r"'relu3_4'.*its layers are conv1_1, relu1_1"):
        VGG("D").activations(torch.rand(1, 3, 8, 8), ["relu1_1", "relu3_4"])
    with pytest.raises(StylecoreError, match="choose from A, A-LRN, B, C, D, E"):
        VGG("F")  # type: ignore[arg-type]
    with pytest.raises(StylecoreError, match="choose max or average"):
        VGG("D", pooling="median")  # type: ignore[arg-type]


def test_every_configuration_has_five_blocks() -> None:
    assert all(len(blocks) == 5 for blocks in KERNEL_SIZES.values())
