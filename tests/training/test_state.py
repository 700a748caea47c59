from pathlib import Path

import pytest
import torch
from torch import nn

from stylecore.errors import StylecoreError
from training.config import TrainConfig
from training.state import Progress, load_state, new_optimizer, newest_state, save_state, set_learning_rate


def trained(steps: int) -> tuple[nn.Module, torch.optim.Adam]:
    torch.manual_seed(0)
    network = nn.Conv2d(3, 4, 3)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    advance(network, optimizer, 0, steps)
    return network, optimizer


def advance(network: nn.Module, optimizer: torch.optim.Adam, first: int, steps: int) -> None:
    for step in range(first, first + steps):
        optimizer.zero_grad()
        network(torch.full((1, 3, 5, 5), 1.0 + step)).square().sum().backward()
        optimizer.step()


def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path: Path) -> None:
    straight, _ = trained(6)
    save_state(tmp_path, *trained(4), Progress(4, "run", 8))
    network, optimizer = trained(1)
    state = newest_state(tmp_path)
    assert state is not None
    assert state.progress == Progress(4, "run", 8)
    load_state(state, network, optimizer)
    advance(network, optimizer, 4, 2)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), network.parameters(), strict=True))


def test_the_newest_two_states_are_kept_and_nothing_else_lies_around(tmp_path: Path) -> None:
    for iteration in (5, 10, 100, 1000):
        save_state(tmp_path, *trained(1), Progress(iteration, "", 4))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["state-0000100.safetensors", "state-0001000.safetensors"]


def test_a_torn_state_is_passed_over(tmp_path: Path) -> None:
    save_state(tmp_path, *trained(1), Progress(10, "", 4))
    good = tmp_path / "state-0000010.safetensors"
    for number, length in ((20, 200), (30, -8)):
        (tmp_path / f"state-00000{number}.safetensors").write_bytes(good.read_bytes()[:length])
    state = newest_state(tmp_path)
    assert state is not None
    assert state.path == good
    assert newest_state(tmp_path / "nowhere") is None


def test_the_state_of_another_network_is_refused(tmp_path: Path) -> None:
    save_state(tmp_path, *trained(1), Progress(10, "", 4))
    other = nn.Conv2d(3, 5, 3)
    with pytest.raises(StylecoreError, match="another network"):
        load_state(newest_state(tmp_path), other, torch.optim.Adam(other.parameters()))


def test_the_state_of_other_groups_of_weights_is_refused(tmp_path: Path) -> None:
    network, _ = trained(0)
    part = torch.optim.Adam([network.bias])
    advance(network, part, 0, 1)
    save_state(tmp_path, network, part, Progress(1, "", 4))
    load_state(newest_state(tmp_path), network, torch.optim.Adam([network.bias]))
    for weights in (network.parameters(), [network.weight]):
        with pytest.raises(StylecoreError, match="another --bias-rate"):
            load_state(newest_state(tmp_path), network, torch.optim.Adam(weights))


def test_a_state_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StylecoreError, match="cannot save the state"):
        save_state(tmp_path / "file" / "run", *trained(1), Progress(1, "", 4))


def test_weights_that_are_not_finite_are_not_saved_over_good_ones(tmp_path: Path) -> None:
    save_state(tmp_path, *trained(1), Progress(1, "", 4))
    network, optimizer = trained(2)
    with torch.no_grad():
        next(network.parameters())[0] = torch.inf
    with pytest.raises(StylecoreError, match=r"network\.weight is not finite"):
        save_state(tmp_path, network, optimizer, Progress(2, "", 4))
    assert [path.name for path in tmp_path.iterdir()] == ["state-0000001.safetensors"]


def test_biases_have_their_own_rate(tmp_path: Path) -> None:
    network = nn.Conv2d(3, 4, 3)
    before = [each.detach().clone() for each in network.parameters()]
    optimizer = new_optimizer(network, TrainConfig(bias_rate=8))
    set_learning_rate(optimizer, 1e-3)
    network(torch.ones(1, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    # Adam's first step moves every weight by its rate.
    moved = [float((each.detach() - old).abs().mean()) for each, old in zip(network.parameters(), before, strict=True)]
    assert moved == pytest.approx([1e-3, 8e-3], rel=1e-3)

    save_state(tmp_path, network, optimizer, Progress(1, "", 4))
    resumed = new_optimizer(network, TrainConfig(bias_rate=8))
    state = newest_state(tmp_path)
    assert state is not None
    load_state(state, network, resumed)
    set_learning_rate(resumed, 2e-3)
    assert [group["lr"] for group in resumed.param_groups] == pytest.approx([2e-3, 16e-3])
