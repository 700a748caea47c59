"""The report on the repeated experiment: `mlruns/published/REPORT.md` with its plots and pictures.

    python -m training.report

Everything in it comes from the MLflow store, so everybody who has the runs (`python -m training.registry restore`) can
write it again. It names what is missing in the store, with the command that makes it. Sentences about figures are
computed from the figures.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from stylecore.errors import StylecoreError
from training.command import run_command
from training.registry.published import PUBLISHED, swap_folder
from training.report import experiment, studies, styles
from training.report.data import ReportData, read_report_data
from training.report.pictures import ReportPictures
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


SECTIONS: dict[str, Callable[[ReportData, ReportPictures], list[str]]] = {
    "The runs": experiment.the_runs,
    "Two seeds": experiment.two_seeds,
    "Five residual blocks and one": experiment.one_block,
    "A small style weight": experiment.small_style_weight,
    "Stopped early": experiment.stopped_early,
    "1000, 1500 and 3500 iterations": experiment.iterations,
    "Batches of two and of four": experiment.batches_of_4,
    "Half painted": experiment.half_painted,
    "Content and style by the method of Gatys et al.": studies.ratios,
    "The gallery": styles.gallery,
    "Strokes as large as the painting's": styles.strokes,
    "What each change of the loss is worth": studies.objectives,
    "From a trained network, or from scratch": styles.from_scratch_or_not,
    "Half the width, alone and distilled": experiment.widths,
    "What it costs": studies.costs,
    "Burnt-in spots": experiment.spots,
    "Loss curves": experiment.losses,
}
"""Title to section. A section returns its paragraphs as Markdown."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m training.report", description="Write the report on the experiment from the MLflow store."
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="the MLflow store (default: $MLFLOW_TRACKING_URI, else mlruns/mlflow.db)"
    )
    parser.add_argument(
        "--to", dest="folder", type=Path, default=PUBLISHED, metavar="FOLDER", help="default: mlruns/published"
    )
    return run_command(run, parser.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Run the command; StylecoreError when it cannot be done."""
    report = write_report(options.folder, options.tracking_uri)
    files = list((report.parent / "report").iterdir())
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    print(f"{report}: {len(files)} pictures, {megabytes:.1f} MB")


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


def render_report(client: MlflowClient, folder: Path) -> str:
    """The report as Markdown. Its pictures are saved to a folder, which the Markdown calls `report`."""
    data = read_report_data(client, [*experiment.EXPERIMENT, *experiment.WIDTHS], experiment.EXPERIMENT)
    pictures = ReportPictures(client, folder)
    text = [_INTRODUCTION.strip()]
    for number, (title, section) in enumerate(SECTIONS.items()):
        text += [f"## {number}. {title}" if number else f"## {title}", *section(data, pictures)]
    return "\n\n".join(text) + "\n"


if __name__ == "__main__":
    sys.exit(main())
