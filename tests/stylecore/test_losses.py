import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stylecore.losses import (
    content_loss,
    gram_matrix,
    paper_content_scale,
    paper_style_scale,
    style_loss,
    total_variation_loss,
)

sizes = {"channels": st.integers(1, 6), "height": st.integers(1, 7), "width": st.integers(1, 7)}


def raw_gram(activation: torch.Tensor) -> torch.Tensor:
    """Gatys et al. (2016), equation 3, summed out: (C, H, W) to (C, C), not divided by anything."""
    channels, height, width = activation.shape
    gram = torch.zeros(channels, channels, dtype=activation.dtype)
    for row in range(height):
        for column in range(width):
            position = activation[:, row, column]
            gram += position[:, None] * position[None, :]
    return gram


def two_activations(channels: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(channels * 100 + height * 10 + width)
    return tuple(torch.randn(channels, height, width, generator=generator) for _ in range(2))  # type: ignore[return-value]


@settings(deadline=None)
@given(count=st.integers(1, 3), **sizes)
def test_gram_matrix_is_the_sum_over_positions_divided_by_the_size(
    count: int, channels: int, height: int, width: int
) -> None:
    batch = torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(0))
    gram = gram_matrix(batch)
    assert gram.shape == (count, channels, channels)
    expected = torch.stack([raw_gram(one) for one in batch]) / (channels * height * width)
    torch.testing.assert_close(gram, expected)
    torch.testing.assert_close(gram, gram.transpose(1, 2))
    assert torch.linalg.eigvalsh(gram.double()).min() > -1e-6


def test_gram_matrix_by_hand() -> None:
    activation = torch.tensor([[[[1.0, 2.0]], [[3.0, -1.0]]]])  # 2 channels, 1 x 2
    assert torch.equal(gram_matrix(activation), torch.tensor([[[5.0, 1.0], [1.0, 10.0]]]) / 4)


def test_gram_matrix_does_not_know_where_things_are() -> None:
    activation = torch.randn(1, 4, 5, 6)
    shuffled = activation.flatten(2)[..., torch.randperm(30)].view(1, 4, 6, 5)
    torch.testing.assert_close(gram_matrix(shuffled), gram_matrix(activation))


def test_gram_matrix_takes_channels_last() -> None:
    activation = torch.randn(2, 4, 5, 6)
    torch.testing.assert_close(gram_matrix(activation.to(memory_format=torch.channels_last)), gram_matrix(activation))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_gram_matrix_of_half_precision_does_not_overflow(kind: torch.dtype) -> None:
    gram = gram_matrix(torch.full((1, 2, 8, 8), 200.0, dtype=kind))
    assert gram.dtype == torch.float32
    assert torch.equal(gram, torch.full((1, 2, 2), 20_000.0))


@settings(deadline=None)
@given(**sizes)
def test_style_loss_and_the_papers_differ_by_the_stated_factor(channels: int, height: int, width: int) -> None:
    generated, style = two_activations(channels, height, width)
    n, m = channels, height * width
    difference = raw_gram(generated) - raw_gram(style)
    ours = style_loss(gram_matrix(generated[None]), gram_matrix(style[None]))

    paper = (difference.square() / (4 * n**2 * m**2)).sum()  # Gatys et al. (2016), equation 4
    torch.testing.assert_close(ours * paper_style_scale(n), paper)
    johnson = ((difference / (n * m)).square()).sum()  # Johnson et al. (2016), equation 4
    torch.testing.assert_close(ours * n**2, johnson)
    # Gatys' own code: Gram / (H W), mean squared error, weight 1000 / C^2.
    torch.testing.assert_close(ours * 1e3, 1e3 / n**2 * (difference / m).square().mean())


@settings(deadline=None)
@given(**sizes)
def test_content_loss_and_the_papers_differ_by_the_stated_factor(channels: int, height: int, width: int) -> None:
    generated, content = two_activations(channels, height, width)
    ours = content_loss(generated[None], content[None])
    half_the_sum = (generated - content).square().sum() / 2  # Gatys et al. (2016), equation 1
    torch.testing.assert_close(ours * paper_content_scale(channels, height * width), half_the_sum)
    johnson = (generated - content).square().sum() / (channels * height * width)  # equation 2
    torch.testing.assert_close(ours, johnson)


def test_losses_of_a_batch_are_the_mean_of_its_pictures() -> None:
    batch, target = torch.randn(3, 4, 5, 6), torch.randn(4, 5, 6)
    each = [content_loss(one, target) for one in batch]
    torch.testing.assert_close(content_loss(batch, target.expand(3, -1, -1, -1)), torch.stack(each).mean())
    grams, target_gram = gram_matrix(batch), gram_matrix(target[None])
    each = [style_loss(one[None], target_gram) for one in grams]
    for shape in (target_gram, target_gram[0], target_gram.expand(3, -1, -1)):
        torch.testing.assert_close(style_loss(grams, shape), torch.stack(each).mean())


def test_losses_are_zero_at_the_target_and_have_a_gradient_elsewhere() -> None:
    activation = torch.randn(1, 4, 5, 6)
    assert content_loss(activation, activation) == 0
    assert style_loss(gram_matrix(activation), gram_matrix(activation)) == 0
    moved = (activation + 0.1).requires_grad_()
    (content_loss(moved, activation) + style_loss(gram_matrix(moved), gram_matrix(activation))).backward()
    assert moved.grad is not None
    assert moved.grad.abs().min() > 0


@settings(deadline=None)
@given(height=st.integers(2, 9), width=st.integers(2, 9))
def test_total_variation_of_a_checkerboard_is_two(height: int, width: int) -> None:
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    checkerboard = ((rows + columns) % 2).float().expand(1, 3, height, width)
    assert total_variation_loss(checkerboard).item() == 2.0


@settings(deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), value=st.floats(0, 1))
def test_total_variation_of_a_flat_picture_is_zero(height: int, width: int, value: float) -> None:
    assert total_variation_loss(torch.full((1, 3, height, width), value)).item() == 0.0


@settings(deadline=None)
@given(height=st.integers(2, 9), width=st.integers(2, 9))
def test_total_variation_of_slopes(height: int, width: int) -> None:
    # 0.5 a pixel downward and 0.25 to the right.
    slope = 0.5 * torch.arange(height)[:, None] + 0.25 * torch.arange(width)
    assert total_variation_loss(slope).item() == 0.5**2 + 0.25**2
    assert total_variation_loss(slope[:1]).item() == 0.25**2
    assert total_variation_loss(slope[:, :1]).item() == 0.5**2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradient_of_the_gram_matrix_is_that_of_its_definition(layout: torch.memory_format) -> None:
    activation = torch.randn(2, 3, 5, 4, dtype=torch.float32).to(memory_format=layout).requires_grad_()
    weights = torch.randn(2, 3, 3)  # not symmetric
    (ours,) = torch.autograd.grad((gram_matrix(activation) * weights).sum(), activation)
    features = activation.reshape(2, 3, 20)
    (expected,) = torch.autograd.grad((features @ features.transpose(1, 2) / 60 * weights).sum(), activation)
    torch.testing.assert_close(ours, expected)
    assert ours.is_contiguous(memory_format=layout)


def test_the_relative_style_loss_is_0_for_the_painting_itself_and_1_for_nothing() -> None:
    target = gram_matrix(torch.randn(1, 4, 5, 6))
    assert style_loss(target.expand(2, 4, 4), target, "relative") == 0
    torch.testing.assert_close(style_loss(torch.zeros(2, 4, 4), target, "relative"), torch.tensor(1.0))


def test_the_relative_style_loss_does_not_depend_on_the_unit_of_the_activations() -> None:
    ours, painting = torch.randn(1, 4, 5, 6), torch.randn(1, 4, 7, 8)
    losses = [style_loss(gram_matrix(unit * ours), gram_matrix(unit * painting), "relative") for unit in (1, 100)]
    torch.testing.assert_close(*losses)


def test_the_normalizations_of_the_style_loss_differ_by_a_factor_of_the_layer_alone() -> None:
    target = gram_matrix(torch.randn(1, 4, 7, 8))
    pictures = [gram_matrix(torch.randn(2, 4, 5, 6)) for _ in range(2)]
    for normalization, factor in (("sum", 4.0**2), ("relative", float(1 / target.square().mean()))):
        for gram in pictures:
            ratio = style_loss(gram, target, normalization) / style_loss(gram, target)  # type: ignore[arg-type]
            torch.testing.assert_close(ratio, torch.tensor(factor))


def test_the_relative_content_loss_is_that_of_every_picture_by_itself() -> None:
    photos = torch.stack([torch.randn(3, 5, 4), 100 * torch.randn(3, 5, 4)])
    assert content_loss(photos, photos, "relative") == 0
    torch.testing.assert_close(content_loss(torch.zeros_like(photos), photos, "relative"), torch.tensor(1.0))
    moved = photos * torch.tensor([1.0, 1.5])[:, None, None, None]
    torch.testing.assert_close(content_loss(moved, photos, "relative"), torch.tensor(0.125))


def test_relative_losses_of_activations_that_are_zero_are_numbers() -> None:
    nothing = torch.zeros(1, 2, 3, 3)
    assert content_loss(nothing, nothing, "relative") == 0
    assert style_loss(gram_matrix(nothing), gram_matrix(nothing), "relative") == 0
