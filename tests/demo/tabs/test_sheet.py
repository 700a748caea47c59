"""The sheet of all styles on one photo."""

from pathlib import Path

from demo.services.catalogue import BundleCatalogue
from demo.services.stylize import Stylizer
from demo.tabs.sheet import sheet
from tests.demo.conftest import LIMITS


class OfAnna(BundleCatalogue):
    """A bundle whose style "wave" is Anna's alone."""

    def _is_shown(self, name: str, owner: str = "") -> bool:
        return name != "wave" or owner == "anna"


def test_a_visitors_own_styles_are_on_the_sheet(bundle: Path, photo: Path) -> None:
    stylizer = Stylizer(OfAnna(bundle), LIMITS)
    for owner, chosen, count in (("", "", 1), ("anna", "", 2), ("boris", "wave", 2)):
        *progress, last = sheet(stylizer, str(photo), 1.0, False, owner, chosen)
        assert len(progress) == count
        assert all('aria-live="off"' in said for said, _ in progress)
        assert f"{count} style" in last[0]
        assert 'aria-live="polite"' in last[0]
