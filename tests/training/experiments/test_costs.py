"""The measurements of the two methods: how often, of what, and what is kept."""

from pathlib import Path

import pytest
import torch

from stylecore.vgg.network import VGG
from tests.small_vgg import small_vgg
from training.experiments import costs
from training.experiments.costs import main, spread
from training.tracking.store import connect


@pytest.fixture(scope="module")
def vgg() -> VGG:
    return small_vgg()


@pytest.fixture
def style(tiny_style, vgg: VGG, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A style's file."""
    monkeypatch.setattr(costs, "load_vgg", lambda *_, **__: vgg)
    tiny_style().save(tmp_path / "tiny_waves.safetensors")
    return str(tmp_path / "tiny_waves.safetensors")


def test_every_measurement_is_a_point_of_a_curve(style: str, store: str, capsys: pytest.CaptureFixture[str]):
    arguments = ["--style", style, "--sizes", "8", "12", "--gatys-sizes", "32", "--gatys-steps", "1"]
    assert main([*arguments, "--repeats", "3"]) == 0
    client = connect(store)
    (run,) = client.search_runs([client.get_experiment_by_name("benchmarks").experiment_id])
    assert run.info.run_name == "costs"
    assert run.info.status == "FINISHED"
    assert run.data.metrics.keys() == {"stylize/milliseconds_8", "stylize/milliseconds_12", "gatys/seconds_32"}
    for key in run.data.metrics:
        history = client.get_metric_history(run.info.run_id, key)
        assert [point.step for point in history] == [1, 2, 3]
        assert all(point.value > 0 for point in history)
    assert int(run.data.params["threads"]) == torch.get_num_threads()
    assert int(run.data.params["cores"]) >= 1
    assert run.data.params["gatys_steps"] == "1"
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said] == [
        "stylizing 8 x 8",
        "stylizing 12 x 12",
        "Gatys et al. 32 x 32, 1 steps",
    ]


def test_the_first_repetition_is_not_measured() -> None:
    calls = iter(range(10))
    assert len(costs.measured(lambda: next(calls), 2)) == 2
    assert next(calls) == 3


@pytest.mark.parametrize(
    ("flag", "value"), [("--sizes", "0"), ("--gatys-sizes", "16"), ("--gatys-steps", "0"), ("--repeats", "0")]
)
def test_mistakes_are_one_sentence(flag: str, value: str, store: str, capsys: pytest.CaptureFixture[str]):
    assert main([flag, value]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {flag} is {value}")
    assert said.count("\n") == 1


def test_a_spread_is_the_median_and_its_range():
    assert spread([3.0, 1.0, 2.26]) == "2.3 (1.0 to 3.0)"
    assert spread([250.4], 0) == "250 (250 to 250)"
