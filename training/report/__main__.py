"""The report on the repeated experiment: `mlruns/published/REPORT.md` with its plots and pictures.

    python -m training.report

Everything in it comes from the MLflow store, so everybody who has the runs (`python -m training.registry restore`) can
write it again. The words are in the template REPORT.md.j2, which calls the methods of `Experiment`, `Studies` and
`Styles` for tables, pictures and sentences about figures. A section says so if what it shows is not in the store.
"""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from jinja2 import StrictUndefined, Template

from stylecore.files import swap_folder
from training.command import run_command
from training.registry.published import PUBLISHED
from training.report.data import NotInStoreError, read_report_data
from training.report.experiment import EXPERIMENT, WIDTHS, Experiment
from training.report.pictures import ReportPictures
from training.report.studies import Studies
from training.report.styles import Styles
from training.tracking.store import MlflowClient, connect

TEMPLATE = Path(__file__).with_name("REPORT.md.j2")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m training.report", description="Write the report on the experiment from the MLflow store."
    )
    parser.add_argument(
        "--to", dest="folder", type=Path, default=PUBLISHED, metavar="FOLDER", help="default: mlruns/published"
    )
    return run_command(run, parser.parse_args(arguments))


def run(options: argparse.Namespace) -> None:
    """Run the command; StylecoreError when it cannot be done."""
    report = write_report(options.folder)
    files = list((report.parent / "report").iterdir())
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    print(f"{report}: {len(files)} pictures, {megabytes:.1f} MB")


def write_report(folder: Path, tracking_uri: str | None = None) -> Path:
    """Write REPORT.md and its pictures in `report/` to a folder, over older ones; returns the report's file.

    Raises:
        StylecoreError: when the store cannot be read.
        OSError: when the folder cannot be written, or a picture of the store is damaged.
    """
    client = connect(tracking_uri)
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".report.") as temporary:
        pictures = Path(temporary) / "report"
        pictures.mkdir()
        new = Path(temporary) / "REPORT.md"
        new.write_text(render_report(client, pictures), encoding="utf-8")
        swap_folder(pictures, folder / "report")
        os.replace(new, folder / "REPORT.md")
    return folder / "REPORT.md"


def render_report(client: MlflowClient, folder: Path) -> str:
    """The report as Markdown. Its pictures are saved to a folder, which the Markdown calls `report`."""
    data, pictures = read_report_data(client, [*EXPERIMENT, *WIDTHS], EXPERIMENT), ReportPictures(client, folder)
    makers = {
        "experiment": Experiment(data, pictures),
        "studies": Studies(data, pictures),
        "styles": Styles(data, pictures),
    }
    text = []
    for section in re.split(r"^(?=## )", TEMPLATE.read_text(encoding="utf-8"), flags=re.MULTILINE):
        try:
            text.append(Template(section, undefined=StrictUndefined).render(makers).strip())
        except NotInStoreError as missing:
            heading = section.partition("\n")[0]
            restore = "`python -m training.registry restore` brings the published runs"
            text.append(f"{heading}\n\nThere is not yet {missing} in this store; {restore}.")
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(text)) + "\n"


if __name__ == "__main__":
    sys.exit(main())
