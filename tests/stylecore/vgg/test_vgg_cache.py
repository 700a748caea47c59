"""Where VGG's weights come from: the cache, the packages that carry them, a download."""

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from weight_files import (  # noqa: F401 - fixtures
    Tensors,
    assert_same,
    narrow,
    nothing_but_the_test_s_own_folders,
    random_tensors,
    write_keras,
    write_new_mat,
    write_torchvision,
)

import stylecore.vgg.formats
import stylecore.vgg.network
import stylecore.vgg.weights
from stylecore.errors import StylecoreError
from stylecore.files import default_cache
from stylecore.preprocessing import CAFFE, IMAGENET
from stylecore.vgg.weights import find_weights, load_vgg


def test_mistakes_in_the_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(StylecoreError, match="choose vgg16 or vgg19"):
        load_vgg("vgg11")  # type: ignore[arg-type]
    with pytest.raises(StylecoreError, match=r"there is no file .*missing\.pth"):
        load_vgg("vgg16", weights=tmp_path / "missing.pth")
    with pytest.raises(StylecoreError, match="there is no file"):
        load_vgg("vgg16", weights=tmp_path)


@pytest.mark.parametrize(
    ("write", "module", "package"), [(write_keras, "h5py", "h5py"), (write_new_mat, "scipy.io", "scipy")]
)
def test_a_missing_reader_is_named(
    write: Callable[[Path, Tensors, str], None],
    module: str,
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    narrow: None,
) -> None:
    write(tmp_path / "vgg16.file", random_tensors(), "D")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(StylecoreError, match=rf"reading .*vgg16\.file takes.*pip install {package}\.$"):
        load_vgg("vgg16", weights=tmp_path / "vgg16.file")


def only_file(folder: Path) -> Path:
    (file,) = folder.iterdir()  # and nothing temporary beside it
    return file


def test_the_cache_says_what_it_holds(tmp_path: Path, narrow: None) -> None:
    tensors = random_tensors("E", oxford=True)
    source = tmp_path / "vgg19-d01eb7cb.pth"
    write_torchvision(source, tensors, "E")
    load_vgg("vgg19", weights=source)
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    cached = only_file(tmp_path / "cache")
    assert cached.name == f"vgg19-{sha256[:8]}.safetensors"
    assert_same(load_file(cached), tensors)
    with safe_open(cached, framework="pt") as opened:
        header = opened.metadata()
    assert (header["name"], header["source"], header["source_sha256"]) == ("vgg19", source.name, sha256)
    assert json.loads(header["preprocessing"]) == {
        "channel_order": "BGR",
        "scale": 255.0,
        "mean": [103.939, 116.779, 123.68],
        "std": [1.0, 1.0, 1.0],
    }
    # It is itself a file of weights, and needs no conversion.
    moved = cached.rename(tmp_path / "mine.safetensors")
    found = find_weights("vgg19", weights=moved)
    assert (found.source, found.source_sha256) == (source.name, sha256)
    assert found.features.preprocessing == CAFFE
    assert_same(found.features.tensors, tensors)
    assert not any((tmp_path / "cache").iterdir())
    with pytest.raises(StylecoreError, match=r"mine\.safetensors holds the weights of vgg19, not of vgg16"):
        load_vgg("vgg16", weights=moved)


def test_a_converted_source_is_not_converted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, narrow: None
) -> None:
    source = tmp_path / "vgg16.pth"
    write_torchvision(source, random_tensors(), "D")
    load_vgg("vgg16", weights=source)
    with monkeypatch.context() as patch:
        patch.setattr(stylecore.vgg.weights, "read_features", None)
        load_vgg("vgg16", weights=source)
    # Another file of the same name is another source.
    other = random_tensors(oxford=True)
    write_torchvision(source, other, "D")
    assert_same(find_weights("vgg16", weights=source).features.tensors, other)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def rewrite(path: Path, **changes: str | None) -> None:
    """The same tensors under a changed header."""
    with safe_open(path, framework="pt") as opened:
        header = opened.metadata() | changes
    save_file(load_file(path), path, metadata={key: value for key, value in header.items() if value is not None})


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def lose_a_layer(path: Path) -> None:
    with safe_open(path, framework="pt") as opened:
        header = opened.metadata()
    tensors = load_file(path)
    del tensors["conv3_2.bias"]
    save_file(tensors, path, metadata=header)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_bit,
        lose_a_layer,
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"something else altogether"),
        lambda path: rewrite(path, **{"stylecore.vgg.network": "999"}),
        lambda path: rewrite(path, **{"stylecore.vgg.network": None}),
        lambda path: rewrite(path, name="vgg19"),
        lambda path: rewrite(path, source_sha256="0" * 64),
        lambda path: rewrite(path, source_sha256=None),
        lambda path: rewrite(path, tensors_sha256="0" * 64),
        lambda path: rewrite(path, preprocessing="{}"),
        lambda path: rewrite(path, preprocessing="not json"),
    ],
)
def test_a_damaged_cache_is_made_anew(
    damage: Callable[[Path], Any], tmp_path: Path, narrow: None, caplog: pytest.LogCaptureFixture
) -> None:
    source, tensors = tmp_path / "vgg16.pth", random_tensors()
    write_torchvision(source, tensors, "D")
    load_vgg("vgg16", weights=source)
    cached = only_file(tmp_path / "cache")
    good = cached.read_bytes()
    damage(cached)
    assert cached.read_bytes() != good
    with caplog.at_level(logging.WARNING):
        found = find_weights("vgg16", weights=source)
    assert len(caplog.records) == 1
    assert str(cached) in caplog.text
    assert_same(found.features.tensors, tensors)
    assert found.features.preprocessing == IMAGENET
    rewrite(cached)  # readable, with everything in its header
    assert_same(load_file(only_file(tmp_path / "cache")), tensors)
    caplog.clear()
    find_weights("vgg16", weights=source)
    assert caplog.text == ""


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, narrow: None, caplog: pytest.LogCaptureFixture
) -> None:
    source, tensors = tmp_path / "vgg16.pth", random_tensors()
    write_torchvision(source, tensors, "D")
    (tmp_path / "file").touch()
    found = find_weights("vgg16", weights=source, cache_dir=tmp_path / "file" / "cache")
    assert_same(found.features.tensors, tensors)
    assert "are not kept in" in caplog.text


def test_many_at_once_do_not_meet(tmp_path: Path, narrow: None) -> None:
    source, tensors = tmp_path / "vgg16.pth", random_tensors()
    write_torchvision(source, tensors, "D")
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: find_weights("vgg16", weights=source), range(16)):
            assert_same(found.features.tensors, tensors)
    only_file(tmp_path / "cache")


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_cache() == tmp_path / "cache"
    monkeypatch.delenv("STYLECORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "stylecore"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home" / ".cache" / "stylecore"
