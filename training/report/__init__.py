"""The report on the repeated experiment: `mlruns/published/REPORT.md` with its plots and pictures.

    python -m training.report

Everything in it comes from the MLflow store, so everybody who has the runs (`python -m training.registry restore`) can
write it again. It names what is missing in the store, with the command that makes it. Sentences about figures are
computed from the figures.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from stylecore.errors import StylecoreError
from training.registry.published import swap_folder
from training.report.costs import costs
from training.report.data import ReportData, read_report_data
from training.report.experiment import (
    EXPERIMENT,
    WIDTHS,
    batches_of_4,
    half_painted,
    iterations,
    losses,
    one_block,
    small_style_weight,
    spots,
    stopped_early,
    the_runs,
    two_seeds,
    widths,
)
from training.report.pictures import ReportPictures
from training.report.studies import objectives, ratios
from training.report.styles import from_scratch_or_not, gallery, strokes
from training.tracking.store import MlflowClient, connect

_INTRODUCTION = """\
# The experiment, repeated

Students once trained the network of Johnson et al. (2016) on *The Starry Night* and compared it with the method of
Gatys et al. (2016). This report repeats their comparisons. `python -m training.evaluate` measured the losses,
equivalent iterations and burnt-in spots on sample photos that no network was trained on. "Equals iterations of Gatys
et al." is the iteration at which L-BFGS, begun with noise, reaches the network's loss (figure 5 of Johnson et al.).
Where L-BFGS did not reach it, the figure is the iteration at which it was stopped, so no figure is too high.

Everything here is read from MLflow. `python -m training.registry restore` puts the published runs into a store, and
`python -m training.report` writes this report again.
"""


def write_report(folder: Path, tracking_uri: str | None = None) -> Path:
    """Write REPORT.md and its pictures in `report/` to a folder, over older ones; returns the report's file.

    Raises:
        StylecoreError: when the store cannot be read, or the folder cannot be written.
    """
    client = connect(tracking_uri)
    folder = Path(folder).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".report.") as temporary:
            pictures = Path(temporary) / "report"
            pictures.mkdir()
            new = Path(temporary) / "REPORT.md"
            new.write_text(render_report(client, pictures), encoding="utf-8")
            swap_folder(pictures, folder / "report")
            os.replace(new, folder / "REPORT.md")
    except OSError as error:
        raise StylecoreError(f"The report cannot be written to {folder}: {error.strerror or error}.") from error
    return folder / "REPORT.md"


SECTIONS: dict[str, Callable[[ReportData, ReportPictures], list[str]]] = {
    "The runs": the_runs,
    "Two seeds": two_seeds,
    "Five residual blocks and one": one_block,
    "A small style weight": small_style_weight,
    "Stopped early": stopped_early,
    "1000, 1500 and 3500 iterations": iterations,
    "Batches of two and of four": batches_of_4,
    "Half painted": half_painted,
    "Content and style by the method of Gatys et al.": ratios,
    "The gallery": gallery,
    "Strokes as large as the painting's": strokes,
    "What each change of the loss is worth": objectives,
    "From a trained network, or from scratch": from_scratch_or_not,
    "Half the width, alone and distilled": widths,
    "What it costs": costs,
    "Burnt-in spots": spots,
    "Loss curves": losses,
}
"""Title to section. A section returns its paragraphs as Markdown."""


def render_report(client: MlflowClient, folder: Path) -> str:
    """The report as Markdown. Its pictures are saved to a folder, which the Markdown calls `report`."""
    data = read_report_data(client, [*EXPERIMENT, *WIDTHS], EXPERIMENT)
    pictures = ReportPictures(client, folder)
    text = [_INTRODUCTION.strip()]
    for number, (title, section) in enumerate(SECTIONS.items()):
        text += [f"## {number}. {title}" if number else f"## {title}", *section(data, pictures)]
    return "\n\n".join(text) + "\n"
