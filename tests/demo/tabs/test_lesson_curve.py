"""The loss curve of a lesson in the page."""

import re

from demo.tabs.your_style import HEIGHT, WIDTH, curve


def heights(points: list[tuple[float, float]]) -> list[int]:
    drawn = re.findall(r"(\d+),(\d+)", re.search(r'points="([^"]*)"', curve(points))[1])  # type: ignore[index]
    assert [int(x) for x, _ in drawn] == [round(WIDTH * x / points[-1][0]) for x, _ in points]
    return [HEIGHT - int(y) for _, y in drawn]


def test_every_tenfold_fall_of_the_loss_is_as_high() -> None:
    assert curve([(0, 3)]) == ""
    first, second, third = heights([(0, 266), (5, 26.6), (10, 2.66)])
    assert first - second == second - third == round(0.95 * HEIGHT / 2)
    assert 0 < third < first < HEIGHT


def test_a_loss_that_hardly_moves_is_drawn_nearly_level() -> None:
    first, second = heights([(0, 5.0), (1, 4.9)])
    assert 0 < first - second < HEIGHT / 10
