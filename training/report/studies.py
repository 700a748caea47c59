"""The report's tables and pictures of what training.experiments measured: ratios, training losses, time."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from stylecore.gatys.config import DEFAULTS
from stylecore.sheet import Row, contact_sheet, height_for
from training.experiments.costs import GATYS, STYLIZE, spread
from training.judge import SIZES
from training.report.data import NotInStoreError, ReportData, ReportRun
from training.report.pictures import ReportPictures, file_name
from training.report.plots import Panel
from training.report.text import NONE, loss_text, number, percent, table

GRID_WIDTH = 1300
"""Pixels of a row of ratios."""
HEIGHT = 256
"""Pixels of a picture on the sheet of training losses."""


@dataclass(frozen=True)
class Studies:
    """Each method makes the Markdown of one place in the report's template."""

    data: ReportData
    pictures: ReportPictures

    def grids(self) -> str:
        """The grids of the method of Gatys et al., from most content to most style."""
        if not self.data.grids:
            raise NotInStoreError("a grid of `training.experiments.gatys_grid`")
        return "\n\n".join(self._grid(grid, runs) for grid, runs in self.data.grids.items())

    def _grid(self, grid: str, runs: Sequence[ReportRun]) -> str:
        name = f"ratios_{file_name(grid)}"
        text = [f"**{runs[0].params.get('photo', grid)}** in the style of **{runs[0].params.get('style', '?')}**"]
        if cells := self._cells(runs):
            images = [image for _, image in cells]
            sheet = contact_sheet([label for label, _ in cells], [Row("", images)], height_for(images, GRID_WIDTH))
            text.append(self.pictures.sheet(name, sheet, f"{grid}, from the photo to the style"))
        losses = {
            run.number("ratio"): [run.by_weight(f"loss/{kind}")[-1][1] for kind in ("content", "style")]
            for run in runs
        }
        rows = [
            (
                f"{ratio:g}",
                percent(ratio / (1 + ratio)),
                str(run.curves["loss/total"][-1][0]),
                *map(loss_text, losses[ratio]),
                f"{run.curves['perf/seconds'][-1][1]:.0f}",
            )
            for ratio, run in zip(losses, runs, strict=True)
        ]
        text.append(
            table(("alpha / beta", "alpha of both", "steps", "content / alpha", "style / beta", "seconds"), rows)
        )
        panels = [
            Panel(
                kind,
                f"{kind} loss / its weight",
                {kind: [(ratio, each[index]) for ratio, each in losses.items()]},
                across="alpha / beta",
                logarithmic="xy",
                markers=True,
            )
            for index, kind in enumerate(("content", "style"))
        ]
        text.append(self.pictures.plot(f"{name}_losses", "Losses against alpha / beta", panels, 2))
        return "\n\n".join(text)

    def _cells(self, runs: Sequence[ReportRun]) -> list[tuple[str, Image.Image]]:
        """The pictures of a grid with their labels, from the photo to the style picture."""
        cells: list[tuple[str, Image.Image]] = []
        for run in runs:
            previews = run.previews.get(run.params.get("photo", ""), {})
            if 0 in previews and not cells:
                cells.append(("photo", self.pictures.open(previews[0])))
            if previews and max(previews):
                cells.append((f"alpha/beta {run.number('ratio'):g}", self.pictures.open(previews[max(previews)])))
        return [*cells, *(("style", image) for image in self.pictures.style_picture(runs[0]))] if cells else []

    def trained_by_objectives(self) -> str:
        """A sentence on what the networks of the comparison of training losses have in common."""
        one = self._by_objective()[0].params
        return (
            f"{len(self.data.objectives)} networks, each begun with `{one['init_from'].removeprefix('models:/')}` and "
            f"trained for {one['iterations']} iterations of {one['global_batch_size']} photos of {one['crop']} pixels."
        )

    def objectives(self) -> str:
        """A table of every combination by the judge, and a sheet of the same photo painted by each."""
        runs, rows = self._by_objective(), []
        for run in runs:
            found = run.evaluation(run.checkpoints[-1], SIZES[0])
            digits = {"style_error": 3, "content_change": 2, "grid": 1}
            measured = (number(found.get(name), each) for name, each in digits.items())
            rows.append((*reversed(_combination(run)), *measured))
        heading = ("style loss", "scales", "content layer", "style error", "content change", "grid, dB")
        return f"{table(heading, rows)}\n\n{self._sheet(runs)}"

    def _by_objective(self) -> list[ReportRun]:
        if not self.data.objectives:
            raise NotInStoreError("a comparison by `training.experiments.objectives`")
        return sorted(self.data.objectives, key=_combination)

    def _sheet(self, runs: Sequence[ReportRun]) -> str:
        """A column for each normalization, a row for each content layer and set of scales."""
        found = {_combination(run): run.previews for run in runs}
        columns = sorted({normalization for _, _, normalization in found})
        photo = min(name for previews in found.values() for name in previews)
        rows = []
        for layer, scales in sorted({key[:2] for key in found}):
            previews = [found.get((layer, scales, column), {}).get(photo, {}) for column in columns]
            images = [self.pictures.open(steps[max(steps)]) if steps else None for steps in previews]
            rows.append(Row(f"{layer}, scales {scales}", images))
        sheet = contact_sheet(columns, rows, HEIGHT)
        return self.pictures.sheet("objectives", sheet, "The same photo by every training loss")

    def machine(self) -> str:
        """What the measurements of time were made with."""
        names = ("processor", "cores", "threads", "style")
        return ", ".join(f"{name} {self._costs().params.get(name, '?')}" for name in names)

    def painting_times(self) -> str:
        """Seconds of the method of Gatys et al."""
        steps, rows = int(self._costs().number("gatys_steps")), []
        for size, seconds in self._measured(GATYS):
            of_a_painting = f"{statistics.median(seconds) / steps * DEFAULTS.steps:.0f}"
            rows.append((f"{size} x {size}", str(steps), spread(seconds), of_a_painting))
        return table(("picture, pixels", "steps", "seconds", f"seconds for {DEFAULTS.steps} steps"), rows)

    def stylizing_times(self) -> str:
        """Milliseconds of a trained network."""
        rows = [(f"{size} x {size}", spread(values, 0)) for size, values in self._measured(STYLIZE)]
        return table(("photo, pixels", "milliseconds"), rows)

    def training_times(self) -> str:
        """Seconds for 500 iterations of every run of the report."""
        runs = [*self.data.runs.values(), *(network.run for network in self.data.gallery)]
        runs += [run for pair in self.data.transfer_pairs for run in pair]
        rows: list[Sequence[str]] = []
        for run in {run.run_id: run for run in runs}.values():
            photos = run.number("global_batch_size")
            # The first point includes the start.
            seconds = [500 * photos / rate for _, rate in run.curves.get("perf/images_per_second", ())[1:] if rate > 0]
            if len(seconds) < 2:
                continue
            low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
            rows.append(
                (
                    f"`{run.name}`",
                    run.params.get("residual_blocks", NONE),
                    f"{photos:.0f} x {run.params.get('crop', '?')} px",
                    run.tags.get("device", NONE),
                    f"{middle:.0f} ({low:.0f} to {high:.0f})",
                )
            )
        return table(("run", "blocks", "photos an iteration", "device", "seconds per 500 iterations"), rows)

    def _costs(self) -> ReportRun:
        if self.data.costs is None:
            raise NotInStoreError("a measurement by `training.experiments.costs`")
        return self.data.costs

    def _measured(self, prefix: str) -> list[tuple[int, list[float]]]:
        """The sizes at which `training.experiments.costs` measured something, such as "stylize/milliseconds_"."""
        return sorted(
            (int(key.removeprefix(prefix)), [value for _, value in curve])
            for key, curve in self._costs().curves.items()
            if key.startswith(prefix)
        )


def _combination(run: ReportRun) -> tuple[str, str, str]:
    """Content layer, scales and normalization of the style loss."""
    scales = " ".join(character for character in run.params["loss_scales"] if character.isdigit())
    return run.params["content_layer"], scales, run.params["style_normalization"]
