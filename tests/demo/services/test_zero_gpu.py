"""ZeroGPU, with a `spaces` that does what Hugging Face's does: what goes in and out of the decorated is pickled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.services import zero_gpu

REPOSITORY = Path(__file__).resolve().parents[3]

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

PAGE = """
import sys
import torch
from demo.services import zero_gpu
from demo.services.catalogue import BundleCatalogue
from demo.services.gatys import Painter
from demo.services.stylize import Stylizer
from stylecore.inference.engine import Engine
from tests.demo.conftest import LIMITS
from tests.small_vgg import small_vgg

bundle, photo = sys.argv[1:]
assert zero_gpu.PRESENT and zero_gpu.DEVICE == "cpu"
import spaces

catalogue = BundleCatalogue(bundle)
stylizer = Stylizer(catalogue, LIMITS)
result = stylizer.stylize(photo, "night", "1", 96)
expected = Engine(catalogue.open("night", "1"), "cpu").stylize(result.content / 255)
assert (result.stylized / 255 - expected).abs().max() < 0.01 + 1 / 255
assert spaces.asked == [("stylize", zero_gpu.STYLIZE_SECONDS)], spaces.asked

painter = Painter(small_vgg, stylizer)
assert painter.device_name == "ZeroGPU"
job = painter.job(photo, photo, steps=3, longest_side=32)
assert 0 < painter.estimate(32, 24, 3) < 1  # not measured
steps = list(painter.paint(job, painter.photo(job)))
assert [step.step for step in steps] == [1, 2, 3]
assert steps[-1].picture().shape == painter.photo(job).pixels.shape
assert steps[-1].losses["total"] < steps[0].losses["total"]
assert spaces.asked[1:] == [("paint", zero_gpu.SECONDS_TO_START + zero_gpu.LEAST_GATYS_SECONDS)], spaces.asked

# Only gr.Error comes back with its words.
import gradio as gr
try:
    list(zero_gpu.paint(torch.full((3, 8, 8), 2.0), torch.rand(3, 8, 8), small_vgg(), job.config))
except gr.Error as error:
    print("refused:", error.message)
"""


def run(code: str, *arguments: Path, path: Path, variable: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(path), zero_gpu.VARIABLE: variable},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_networks_run_on_the_borrowed_gpu_and_nothing_else_does(bundle: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "spaces.py").write_text(SPACES)
    said = run(PAGE, bundle, photo, path=tmp_path, variable="true")
    assert said.startswith("refused: The content picture has values outside [0, 1]")


@pytest.mark.slow
def test_without_zero_gpu_nothing_changes(tmp_path: Path) -> None:
    assert not zero_gpu.PRESENT
    assert zero_gpu.DEVICE is None
    assert not hasattr(zero_gpu.stylize, "__wrapped__")
    # `spaces` is installed on every Space, also where there is only a CPU; the variable alone is not enough either.
    code = "import sys; from demo.services import zero_gpu; print(zero_gpu.PRESENT, 'spaces' in sys.modules)"
    (tmp_path / "spaces.py").write_text(SPACES)
    assert run(code, path=tmp_path, variable="") == "False False\n"
    assert run(code, path=tmp_path / "nowhere", variable="true") == "False False\n"
