"""The report's tables, sentences and pictures on the experiment: one network trained in several ways."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from PIL import Image

from stylecore.sheet import Row, contact_sheet
from training.report.data import Curve, Network, NotInStoreError, ReportData, ReportRun, smoothed
from training.report.pictures import ReportPictures
from training.report.plots import Panel
from training.report.text import NONE, difference, in_words, loss_text, number, percent, plain, table

REFERENCE = "starry_night_seed_0"
"""The run that the others are compared with."""
EXPERIMENT = {
    REFERENCE: "five residual blocks, seed 0",
    "starry_night_seed_1": "five residual blocks, seed 1",
    "starry_night_one_block": "one residual block",
    "starry_night_small_style_weight": "small style weight",
    "starry_night_stopped_early": "stopped early",
    "starry_night_seed_0_batches_of_4": "batches of 4, seed 0",
    "starry_night_seed_1_batches_of_4": "batches of 4, seed 1",
}
"""The runs of the experiment, with their names in the report."""
WIDTHS = {
    "starry_night_bolder": "full width",
    "starry_night_half_width_bold": "half the width",
    "starry_night_half_width_taught": "half the width, distilled",
    "starry_night_half_width_long": "half the width, distilled for longer",
}
"""The network of full width and the narrow ones, of which two distill it, likewise."""
SIZE = 256
"""Side in pixels of the evaluations that are compared."""
PAPER_EQUIVALENT = (50.0, 100.0)
"""The networks of Johnson et al. (2016), figure 5, have the loss of this many iterations of Gatys et al."""
IRRELEVANT_SETTINGS = {
    *("run_name", "output_dir", "checkpoints", "preview_size", "preview_photos", "evaluate_sizes"),
    *("workers", "save_minutes", "log_every"),
    "batch_size",  # of one process; the global one says how many photos an iteration has
}
"""Settings that do not make a run a different experiment."""


@dataclass(frozen=True)
class Experiment:
    """Each method makes the Markdown of one place in the report's template."""

    data: ReportData
    pictures: ReportPictures

    def the_runs(self) -> str:
        """The runs, and the settings in which they differ."""
        rows = [
            (
                f"`{run.name}`",
                label,
                self.differences(run.name) if run.name != REFERENCE else "all others are compared with this one",
                run.params.get("iterations", NONE),
                run.status.lower(),
            )
            for label, run in self._by_label().items()
        ]
        return table(("run", "name here", "differences", "iterations", "status"), rows)

    def settings(self) -> str:
        """Those of the reference that one asks for first."""
        names = (
            "style_size",
            "crop",
            "global_batch_size",
            "content_weight",
            "style_weight",
            "learning_rate",
            "schedule",
        )
        params = self.data.run(REFERENCE).params
        return ", ".join(f"{in_words([name])} {plain(params.get(name, NONE))}" for name in names)

    def differences(self, name: str) -> str:
        """The settings that make a run another one than the reference: "style weight 1e9 instead of 1e10"."""
        params = self.data.run(name).params
        found = [
            f"{in_words([key])} {plain(params[key])} instead of {plain(value)}"
            for key, value in sorted(self.data.run(REFERENCE).params.items())
            if key not in IRRELEVANT_SETTINGS and params.get(key, value) != value
        ]
        return ", ".join(found) or "nothing"

    def side_by_side(self, file: str, *names: str, by_weight: bool = False) -> str:
        """The evaluations of all checkpoints of runs, and sample pictures of the last ones."""
        runs = [self.data.run(name) for name in names]
        networks = [Network(_label(run.name), step, run) for run in runs for step in run.checkpoints]
        last = [Network(_label(run.name), run.checkpoints[-1], run) for run in runs]
        shown = self.pictures.by_network(file, last, photos=2)
        return f"{results_table(networks, by_weight=by_weight)}\n\n{shown}"

    def total(self, one: str, other: str) -> str:
        """A sentence on the total losses of two runs at their last common checkpoint; nothing when there is none."""
        runs = [self.data.run(name) for name in (one, other)]
        step = max(set(runs[0].checkpoints) & set(runs[1].checkpoints), default=0)
        first, second = (run.evaluation(step, SIZE).get("total") for run in runs)
        if not first or not second:
            return ""
        compared = f"{difference(second, first)} with {_label(one)}"
        return f"After {step} iterations the total loss with {_label(other)} is {compared}."

    def layers(self, name: str, *, at_end: bool) -> str:
        """The training losses by layer at the end of a run, and those of the reference then, or at its own end."""
        runs = [self.data.run(name), self.data.run(REFERENCE)]
        steps = [run.curves["loss/content"][-1][0] for run in runs]
        steps = steps if at_end else [min(steps)] * 2
        rows = []
        for key in sorted(key for key in runs[0].curves if key == "loss/content" or key.startswith("loss/style/")):
            first, second = (
                [value for at, value in smoothed(run.by_weight(key)) if at <= step][-1]
                for run, step in zip(runs, steps, strict=True)
            )
            layer = key.removeprefix("loss/style/").removeprefix("loss/")
            rows.append((layer, loss_text(first), loss_text(second), f"{first / second:.2f}"))
        labels = [f"{_label(run.name)}, {step}" for run, step in zip(runs, steps, strict=True)]
        return table(("layer", *labels, "ratio"), rows)

    def iterations(self) -> str:
        """The reference at its checkpoints, and the equivalent iterations of all networks."""
        run = self.data.run(REFERENCE)
        columns = [Network(f"{step} iterations", step, run) for step in run.checkpoints]
        text = [
            results_table(Network(_label(run.name), step, run) for step in run.checkpoints),
            self.pictures.by_network("iterations", columns, photos=3),
        ]
        totals = [(step, run.evaluation(step, SIZE).get("total")) for step in run.checkpoints]
        for (before, first), (after, second) in pairwise((step, value) for step, value in totals if value):
            text.append(f"The total loss after {after} iterations is {difference(second, first)} after {before}.")
        curves = self._of_checkpoints("equivalent_gatys_iterations")
        best, label = max((value, label) for label, curve in curves.items() for _, value in curve)
        band = ("Johnson et al. (2016)", PAPER_EQUIVALENT)
        panel = Panel("", "equals iterations of Gatys et al.", curves, markers=True, band=band)
        text += [
            self.pictures.plot("equivalent_iterations", "Equivalent against training iterations", [panel]),
            f"The highest figure of the experiment is {best:.1f} ({label}). The networks of the paper, after "
            f"40,000 iterations with batches of 4, equal {PAPER_EQUIVALENT[0]:g} to {PAPER_EQUIVALENT[1]:g}.",
        ]
        return "\n\n".join(text)

    def half_painted(self) -> str:
        """The photo, the mean of both, the picture that the reference makes of it."""
        run = self.data.run(REFERENCE)
        network, rows = Network(run.name, run.checkpoints[-1], run), []
        for photo in self.pictures.photos([network])[:3]:
            content, stylized = self.pictures.open(run.previews[photo][0]), self.pictures.stylized(network, photo)
            rows.append(Row("", [content, Image.blend(content, stylized.resize(content.size), 0.5), stylized]))
        sheet = contact_sheet(["photo", "50 %", f"stylized, {network.iterations} iterations"], rows)
        return self.pictures.sheet("half_painted", sheet, "Photo, half painted, stylized")

    def spots(self) -> str:
        """Burnt-in spots at the checkpoints and during training."""
        measured = self._of_checkpoints("spot_share")
        burnt_in = {
            label: smoothed(run.curves.get("output/saturated_share", ())) for label, run in self._by_label().items()
        }
        panels = [
            Panel("sample photos", "covered by burnt-in spots, %", _in_percent(measured), markers=True),
            Panel("training photos", "values at black or white, %", _in_percent(burnt_in)),
        ]
        plot = self.pictures.plot("spots", "Burnt-in spots against training iterations", panels, columns=2)
        value, step, label = max((value, step, label) for label, curve in measured.items() for step, value in curve)
        largest = f"The largest share at a checkpoint is {percent(value, 2)} ({label}, {step} iterations)."
        return f"{plot}\n\n{largest if value else 'No checkpoint of the experiment has any burnt-in spots.'}"

    def losses(self) -> str:
        """The loss curves of training."""
        runs = self._by_label()
        single = {label: run.curves["loss/total"] for label, run in runs.items()}
        total = {label: smoothed(curve) for label, curve in single.items()}
        panels = [Panel("total, weighted as trained", "total loss", total, pale=single, logarithmic="y")]
        for kind in ("content", "style"):
            curves = {label: smoothed(run.by_weight(f"loss/{kind}")) for label, run in runs.items()}
            panels.append(Panel(kind, f"{kind} loss / its weight", curves, logarithmic="y"))
        return self.pictures.plot("losses", "Loss curves of the experiment", panels, height=2.6)

    def _by_label(self) -> dict[str, ReportRun]:
        """The runs of the experiment that are in the store, by their names in the report."""
        runs = {label: self.data.runs[name] for name, label in EXPERIMENT.items() if name in self.data.runs}
        if not runs:
            raise NotInStoreError("a run of the experiment")
        return runs

    def _of_checkpoints(self, figure: str) -> Mapping[str, Curve]:
        """One figure of every checkpoint of the experiment."""
        found = {
            label: [(step, run.evaluation(step, SIZE).get(figure)) for step in run.checkpoints]
            for label, run in self._by_label().items()
        }
        curves = {label: [(step, each) for step, each in curve if each is not None] for label, curve in found.items()}
        if not any(curves.values()):
            raise NotInStoreError(f"{in_words([figure])} of the experiment")
        return curves


def figures(network: Network) -> tuple[str, str]:
    """Equivalent iterations of Gatys et al. and burnt-in spots of a network, as table cells."""
    found = network.evaluation(SIZE)
    spots = found.get("spot_share")
    return number(found.get("equivalent_gatys_iterations")), NONE if spots is None else percent(spots, 2)


def results_table(networks: Iterable[Network], *, by_weight: bool = False) -> str:
    """The evaluations of networks. With `by_weight`, content and style losses are divided by their weights."""
    rows = []
    for network in networks:
        found = network.evaluation(SIZE)
        losses = [found.get("total")]
        for kind in ("content", "style"):
            weight = network.run.number(f"{kind}_weight") if by_weight else 1.0
            losses.append(found[kind] / weight if kind in found else None)
        rows.append((network.name, str(network.iterations), *map(loss_text, losses), *figures(network)))
    kinds = ("content / its weight", "style / its weight") if by_weight else ("content", "style")
    measures = ("equals iterations of Gatys et al.", "burnt-in spots")
    return table(("network", "iterations", f"total loss, {SIZE} px", *kinds, *measures), rows)


def _label(name: str) -> str:
    return (EXPERIMENT | WIDTHS)[name]


def _in_percent(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    return {label: [(step, 100 * value) for step, value in curve] for label, curve in curves.items()}
