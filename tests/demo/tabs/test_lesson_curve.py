"""The loss curve of a lesson in the page, and its files."""

import re
from pathlib import Path

from demo.services.teach.lessons import new_lesson
from demo.tabs.your_style import HEIGHT, WIDTH, _served, curve


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


def test_a_copy_that_is_cut_short_is_not_handed_out(tmp_path: Path) -> None:
    """Two looks at one lesson may copy its style at once."""
    lesson, file = new_lesson("anna", "Waves", 2), tmp_path / "style.safetensors"
    assert _served(lesson, file) is None
    file.write_bytes(b"whole")
    copy = Path(_served(lesson, file) or "")
    copy.write_bytes(b"who")
    assert Path(_served(lesson, file) or "").read_bytes() == b"whole"
    assert copy.name == f"{lesson.style}.safetensors"
