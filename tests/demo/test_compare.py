"""Versions side by side."""

from pathlib import Path

import pytest

from demo.catalogue import BundleCatalogue
from demo.compare_tab import choices_of, compare, first_choice, loss_text
from demo.stylizer import Stylizer
from stylecore.errors import StylecoreError
from tests.demo.conftest import LIMITS


def test_every_version_has_its_picture_iterations_and_losses(catalogue: BundleCatalogue, photo: Path) -> None:
    stylizer = Stylizer(catalogue, LIMITS)
    entries = catalogue.styles()
    chosen = first_choice(entries)
    assert chosen == ["night/1", "night/2", "night/3"]
    assert {choice for _, choice in choices_of(entries)} == {*chosen, "wave/1"}
    shown = list(compare(stylizer, str(photo), chosen))
    assert [len(pictures) for pictures in shown] == [1, 2, 3]
    captions = [caption for _, caption in shown[-1]]
    assert captions[0].startswith("The Night, 1,000 iterations\ncontent loss 2 · style loss 1 · ")
    assert captions[2].startswith("The Night, 3,000 iterations (best)\ncontent loss 0.667 · style loss 0.333 · ")
    assert len({Path(file).read_bytes() for file, _ in shown[-1]}) == 3


@pytest.mark.parametrize(("chosen", "says"), [([], "at least one"), (["night/1"] * 7, "at most 6")])
def test_none_and_too_many_are_refused(catalogue: BundleCatalogue, photo: Path, chosen: list[str], says: str) -> None:
    with pytest.raises(StylecoreError, match=says):
        list(compare(Stylizer(catalogue, LIMITS), str(photo), chosen))


def test_losses_are_short() -> None:
    assert [loss_text(value) for value in (0.01234, 12.34, 123456.7, float("nan"))] == [
        *("0.0123", "12.3", "123,457", "not finite")
    ]
