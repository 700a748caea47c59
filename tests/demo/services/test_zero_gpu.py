"""ZeroGPU, with a `spaces` that does what Hugging Face's does: what goes in and out of the decorated is pickled."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch

from demo import services
from demo.services import gatys, stylize, zero_gpu
from demo.services.catalogue import BundleCatalogue
from stylecore.inference.engine import Engine
from tests.demo.conftest import LIMITS
from tests.small_vgg import small_vgg

SPACES = """
import functools, inspect, pickle

asked = []  # function, seconds


def GPU(duration):
    def decorate(task):
        def start(args, kwargs):
            asked.append((task.__name__, duration(*args, **kwargs) if callable(duration) else duration))
            return pickle.loads(pickle.dumps((args, kwargs)))

        @functools.wraps(task)
        def call(*args, **kwargs):
            args, kwargs = start(args, kwargs)
            return pickle.loads(pickle.dumps(task(*args, **kwargs)))

        @functools.wraps(task)
        def generate(*args, **kwargs):
            args, kwargs = start(args, kwargs)
            for result in task(*args, **kwargs):
                yield pickle.loads(pickle.dumps(result))

        return generate if inspect.isgeneratorfunction(task) else call

    return decorate
"""


@pytest.fixture
def imported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Imports `zero_gpu` as a process does whose environment has this variable, and maybe the package `spaces`."""

    def again(variable: str, *, installed: bool = True) -> Any:
        file = tmp_path / "spaces.py"
        file.write_text(SPACES) if installed else file.unlink(missing_ok=True)
        sys.modules.pop("spaces", None)
        monkeypatch.setenv(zero_gpu.VARIABLE, variable)
        monkeypatch.delitem(sys.modules, zero_gpu.__name__)
        importlib.invalidate_caches()
        return importlib.import_module(zero_gpu.__name__)

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(services, "zero_gpu", zero_gpu)  # what the import replaces comes back
    yield again
    sys.modules.pop("spaces", None)


def test_networks_run_on_the_borrowed_gpu_and_nothing_else_does(
    bundle: Path, photo: Path, imported_again: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    borrowed = imported_again("true")
    for module in (stylize, gatys):
        monkeypatch.setattr(module, "zero_gpu", borrowed)
    assert borrowed.PRESENT
    assert borrowed.DEVICE == "cpu"
    asked = sys.modules["spaces"].asked

    catalogue = BundleCatalogue(bundle)
    stylizer = stylize.Stylizer(catalogue, LIMITS)
    result = stylizer.stylize(photo, "night", "1", 96)
    expected = Engine(catalogue.open("night", "1"), "cpu").stylize(result.content / 255)
    assert (result.stylized / 255 - expected).abs().max() < 0.01 + 1 / 255
    assert asked == [("stylize", borrowed.STYLIZE_SECONDS)]

    painter = gatys.Painter(small_vgg, stylizer)
    assert painter.device_name == "ZeroGPU"
    job = painter.job(photo, photo, steps=3, longest_side=32)
    assert 0 < painter.estimate(32, 24, 3) < 1  # not measured
    steps = list(painter.paint(job, painter.photo(job)))
    assert [step.step for step in steps] == [1, 2, 3]
    assert steps[-1].picture().shape == painter.photo(job).pixels.shape
    assert steps[-1].losses["total"] < steps[0].losses["total"]
    assert asked[1:] == [("paint", borrowed.SECONDS_TO_START + borrowed.LEAST_GATYS_SECONDS)]

    # Only gr.Error comes back with its words.
    with pytest.raises(gr.Error, match=r"The content picture has values outside \[0, 1\]"):
        list(borrowed.paint(torch.full((3, 8, 8), 2.0), torch.rand(3, 8, 8), small_vgg(), job.config))


def test_without_zero_gpu_nothing_changes(imported_again: Callable[..., Any]) -> None:
    assert not zero_gpu.PRESENT
    # `spaces` is installed on every Space, also where there is only a CPU; the variable alone is not enough either.
    for variable, installed in (("", True), ("true", False)):
        module = imported_again(variable, installed=installed)
        assert not module.PRESENT
        assert module.DEVICE is None
        assert not hasattr(module.stylize, "__wrapped__")
        assert "spaces" not in sys.modules
