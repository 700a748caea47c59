"""The pictures of the report: opened from the MLflow store, arranged in sheets, saved to the report's folder."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from stylecore.sheet import Row, contact_sheet
from training.report.data import Network, ReportRun
from training.report.plots import Panel, plot
from training.tracking.store import MlflowClient, fetch_picture

QUALITY = 78
"""JPEG quality of the sheets."""


@dataclass(frozen=True)
class ReportPictures:
    """Opens pictures of the store, each once, and saves the report's pictures to a folder."""

    client: MlflowClient
    folder: Path
    _opened: dict[str, Image.Image] = field(default_factory=dict, repr=False)

    def open(self, address: str) -> Image.Image:
        """A picture of the store; see `fetch_picture` for what it raises."""
        if address not in self._opened:
            self._opened[address] = fetch_picture(self.client, address)
        return self._opened[address]

    def stylized(self, network: Network, photo: str) -> Image.Image:
        """The sample picture that a network made of a photo."""
        return self.open(network.run.previews[photo][network.iterations])

    def style_picture(self, run: ReportRun) -> list[Image.Image]:
        """The run's style picture, or nothing."""
        return [self.open(run.style_picture)] if run.style_picture else []

    def sheet(self, name: str, image: Image.Image, description: str) -> str:
        """Save a contact sheet; returns the Markdown that shows it."""
        image.save(self.folder / f"{name}.jpg", quality=QUALITY)
        return f"![{description}](report/{name}.jpg)"

    def plot(self, name: str, description: str, panels: Sequence[Panel], columns: int = 1, height: float = 3.4) -> str:
        """Save a plot, see `plots.plot`; returns the Markdown that shows it."""
        plot(panels, self.folder / f"{name}.png", columns, height)
        return f"![{description}](report/{name}.png)"

    def photos(self, networks: Sequence[Network]) -> list[str]:
        """The sample photos that are in the store with a stylized picture by every one of these networks."""
        first = networks[0].run.previews
        return [
            photo
            for photo in sorted(first)
            if 0 in first[photo] and all(each.iterations in each.run.previews.get(photo, {}) for each in networks)
        ]

    def by_network(self, name: str, networks: Sequence[Network], photos: int) -> str:
        """A sheet with a column for each network, beside the photo; nothing when they share no sample photo."""
        rows = [
            Row(
                "", [self.open(networks[0].run.previews[photo][0]), *(self.stylized(each, photo) for each in networks)]
            )
            for photo in self.photos(networks)[:photos]
        ]
        if not rows:
            return ""
        labels = [network.name for network in networks]
        return self.sheet(name, contact_sheet(["photo", *labels], rows), f"The photo; {'; '.join(labels)}")


def file_name(name: str) -> str:
    """The name with only those characters that a file's name and an address can have."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
