"""The report's sections on the experiment: one network trained in several ways."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from PIL import Image

from stylecore.johnson.style_model import OBJECTIVE
from stylecore.sheet import Row, contact_sheet
from training.report.data import SMOOTHING, Curve, Network, ReportData, ReportRun, smoothed
from training.report.pictures import ReportPictures
from training.report.plots import Panel
from training.report.text import NONE, difference, in_words, loss_text, number, percent, plain, table

RECIPE = "training/recipes/experiment.yaml"
SEEDS = ("starry_night_seed_0", "starry_night_seed_1")
ONE_BLOCK = "starry_night_one_block"
SMALL_STYLE_WEIGHT = "starry_night_small_style_weight"
STOPPED_EARLY = "starry_night_stopped_early"
BATCHES_OF_4 = ("starry_night_seed_0_batches_of_4", "starry_night_seed_1_batches_of_4")
EXPERIMENT = {
    SEEDS[0]: ("five residual blocks, seed 0", "--seed 0"),
    SEEDS[1]: ("five residual blocks, seed 1", "--seed 1"),
    ONE_BLOCK: ("one residual block", "--residual-blocks 1"),
    SMALL_STYLE_WEIGHT: ("small style weight", "--style-weight 1e9 --iterations 1000 --checkpoints 1000"),
    STOPPED_EARLY: ("stopped early", "--schedule constant --iterations 300 --checkpoints 300"),
    BATCHES_OF_4[0]: ("batches of 4, seed 0", "--seed 0 --batch-size 4 --checkpoints 3500"),
    BATCHES_OF_4[1]: ("batches of 4, seed 1", "--seed 1 --batch-size 4 --checkpoints 3500"),
}
"""The runs of the experiment, with their names in the report and their flags of `make train`."""

ALONE = "starry_night_half_width_bold"
DISTILLED = "starry_night_half_width_taught"
_NARROW = (
    "--width 0.5 --init-from models:/starry_night@half-width --style-weight 5e10 --style-size 512 --iterations 1500 "
    "--checkpoints 1500 --warmup 50 --seed 2"
)
WIDTHS = {
    "starry_night_bolder": (
        "full width",
        "--init-from models:/starry_night@bold --style-weight 5e10 --style-size 512 --iterations 2000 "
        "--checkpoints 1000 2000 --learning-rate 1e-3 --warmup 50 --seed 1",
    ),
    ALONE: ("half the width", _NARROW),
    DISTILLED: ("half the width, distilled", f"{_NARROW} --teacher models:/starry_night@bolder"),
    "starry_night_half_width_long": (
        "half the width, distilled for longer",
        "--width 0.5 --init-from models:/starry_night@half-width-taught --style-weight 5e10 --style-size 512 "
        "--batch-size 4 --checkpoints 3500 --warmup 50 --seed 3 --teacher models:/starry_night@bolder",
    ),
}
"""The network of full width and the narrow ones, of which two distill it, likewise."""

PAPER_EQUIVALENT = (50.0, 100.0)
"""The networks of Johnson et al. (2016), figure 5, have the loss of this many iterations of Gatys et al."""
IRRELEVANT_SETTINGS = {
    *("run_name", "output_dir", "checkpoints", "preview_size", "preview_photos", "evaluate_sizes"),
    *("workers", "save_minutes", "log_every"),
    "batch_size",  # of one process; the global one says how many photos an iteration has
}
"""Settings that do not make a run a different experiment."""


def the_runs(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The runs of the experiment, and the settings in which they differ."""
    reference = _reference(data)
    missing = [f"`{name}`" for name in EXPERIMENT if name not in data.runs]
    text = [f"Not in this store: {', '.join(missing)}. Their sections say how to train them."] if missing else []
    if reference is None:
        return text
    rows = [
        (
            f"`{run.name}`",
            label,
            _differences(run, reference) if run is not reference else "all others are compared with this one",
            run.params.get("iterations", NONE),
            run.status.lower(),
        )
        for label, run in _experiment(data).items()
    ]
    shown = ("style_size", "crop", "global_batch_size", "content_weight", "style_weight", "learning_rate", "schedule")
    settings = [f"{in_words([name])} {plain(reference.params.get(name, NONE))}" for name in shown]
    heading = ("run", "name here", "differences", "iterations", "status")
    return [table(heading, rows), f"Settings of `{reference.name}`: {', '.join(settings)}.", *text]


def two_seeds(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The network trained with two seeds: the size of random differences."""
    text = (
        "The same network, photos and settings; only the initial weights and the order of photos and crops differ. "
        "Differences between other runs that are not larger than these may be random."
    )
    return [text, *_side_by_side(data, pictures, "seeds", SEEDS), *_total(data, *SEEDS)]


def one_block(data: ReportData, pictures: ReportPictures) -> list[str]:
    """One residual block beside the five of the reference."""
    text = (
        "A network with one residual block instead of the five of Johnson et al. is cheaper and has a smaller "
        "receptive field."
    )
    names = (_reference_name(data), ONE_BLOCK)
    return [text, *_side_by_side(data, pictures, "blocks", names), *_total(data, *names)]


def small_style_weight(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The run with a small style weight beside the reference."""
    text = (
        "With a small style weight a network takes over colors more than strokes: the original experiment saw this. "
        "The first style layers respond to colors and fine grain, the last ones to strokes and shapes."
    )
    names = (SMALL_STYLE_WEIGHT, _reference_name(data))
    compared = _side_by_side(data, pictures, "small_style_weight", names, by_weight=True)
    return [text, *compared, *_layers(data, *names, at_end=False)]


def stopped_early(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The run of a few hundred iterations beside the reference."""
    text = "After a few hundred iterations the original experiment saw the style's colors, and weak detail."
    names = (STOPPED_EARLY, _reference_name(data))
    return [text, *_side_by_side(data, pictures, "stopped_early", names), *_layers(data, *names, at_end=True)]


def iterations(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The reference at its checkpoints, and the equivalent iterations of all networks."""
    run = _reference(data)
    if run is None or not run.checkpoints:
        return [_missing(data, SEEDS[0])]
    networks = [Network(_label(run.name), step, run) for step in run.checkpoints]
    columns = [Network(f"{step} iterations", step, run) for step in run.checkpoints]
    text = [results_table(networks), *pictures.by_network("iterations", columns, photos=3)]
    totals = [(step, run.evaluation(step, size_of([run])).get("total")) for step in run.checkpoints]
    for (before, first), (after, second) in pairwise((step, value) for step, value in totals if value):
        text.append(f"The total loss after {after} iterations is {difference(second, first)} after {before}.")
    curves = _of_checkpoints(data, "equivalent_gatys_iterations")
    if any(curves.values()):
        best, label = max((value, label) for label, curve in curves.items() for _, value in curve)
        band = ("Johnson et al. (2016)", PAPER_EQUIVALENT)
        panel = Panel("", "equals iterations of Gatys et al.", curves, markers=True, band=band)
        text += [
            pictures.plot("equivalent_iterations", "Equivalent against training iterations", [panel]),
            f"The highest figure of the experiment is {best:.1f} ({label}). The networks of the paper, after "
            f"40,000 iterations with batches of 4, equal {PAPER_EQUIVALENT[0]:g} to {PAPER_EQUIVALENT[1]:g}.",
        ]
    return text


def batches_of_4(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Both seeds with the batches of the paper, beside the smaller batches of the others."""
    text = "Johnson et al. train with batches of 4. The other runs have half as many photos an iteration."
    compared = _side_by_side(data, pictures, "batches", (*SEEDS, *BATCHES_OF_4))
    pairs = zip(SEEDS, BATCHES_OF_4, strict=True)
    return [text, *compared, *(sentence for pair in pairs for sentence in _total(data, *pair))]


def half_painted(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The photo, the mean of both, the picture that the reference makes of it."""
    text = (
        "A blend needs no training: each pixel is the mean of the photo's and the stylized picture's pixel. On the "
        "command line: `python -m stylecore stylize photo.jpg --style starry_night --strength 0.5 -o out.jpg`."
    )
    run = _reference(data)
    if run is None or not run.checkpoints:
        return [_missing(data, SEEDS[0])]
    network, rows = Network(run.name, run.checkpoints[-1], run), []
    for photo in pictures.photos([network])[:3]:
        content, stylized = pictures.open(run.previews[photo][0]), pictures.stylized(network, photo)
        rows.append(Row("", [content, Image.blend(content, stylized.resize(content.size), 0.5), stylized]))
    if not rows:
        return [text, f"`{run.name}` has no sample pictures in this store."]
    sheet = contact_sheet(["photo", "50 %", f"stylized, {network.iterations} iterations"], rows)
    return [text, pictures.sheet("half_painted", sheet, "Photo, half painted, stylized")]


def widths(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Networks of half the width beside the network of full width, from which two of them are distilled."""
    text = (
        "Half the width is a quarter of the multiplications. The first two narrow networks were trained alike, except "
        "that the loss of a distilled network has one more term: the mean squared difference of its pixels to the "
        "pixels of the network of full width (Hinton et al. 2015). The last one continues the second, with batches "
        "of 4."
    )
    return [text, *_side_by_side(data, pictures, "widths", WIDTHS), *_total(data, ALONE, DISTILLED)]


def spots(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Burnt-in spots at the checkpoints and during training."""
    text = [
        "Such networks are known to burn spots into their pictures, black, white or of pure colors, which fade with "
        "training. Left: the share of the sample photos that such spots cover, at the checkpoints. Right: the share "
        f"of black and white values in the pictures made during training, the mean over {SMOOTHING} iterations."
    ]
    measured = _of_checkpoints(data, "spot_share")
    burnt_in = {
        label: smoothed(run.curves.get("output/saturated_share", ())) for label, run in _experiment(data).items()
    }
    if not any(measured.values()) and not any(burnt_in.values()):
        return [*text, "No run of the experiment in this store has been measured."]
    panels = [
        Panel("sample photos", "covered by burnt-in spots, %", _in_percent(measured), markers=True),
        Panel("training photos", "values at black or white, %", _in_percent(burnt_in)),
    ]
    text.append(pictures.plot("spots", "Burnt-in spots against training iterations", panels, columns=2))
    if any(measured.values()):
        value, step, label = max((value, step, label) for label, curve in measured.items() for step, value in curve)
        largest = f"The largest share at a checkpoint is {percent(value, 2)} ({label}, {step} iterations)."
        text.append(largest if value else "No checkpoint of the experiment has any burnt-in spots.")
    return text


def losses(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The loss curves of training."""
    runs = {label: run for label, run in _experiment(data).items() if "loss/total" in run.curves}
    if not runs:
        return ["No run of the experiment in this store has loss curves."]
    single = {label: run.curves["loss/total"] for label, run in runs.items()}
    total = {label: smoothed(curve) for label, curve in single.items()}
    panels = [Panel("total, weighted as trained", "total loss", total, pale=single, logarithmic="y")]
    for kind in ("content", "style"):
        curves = {label: smoothed(run.by_weight(f"loss/{kind}")) for label, run in runs.items()}
        panels.append(Panel(kind, f"{kind} loss / its weight", curves, logarithmic="y"))
    return [
        f"Losses on the training photos: pale as logged, strong the mean over {SMOOTHING} iterations. Total losses of "
        "runs with different weights are not comparable; the other panels are.",
        pictures.plot("losses", "Loss curves of the experiment", panels, height=2.6),
    ]


# Shared by the sections


def size_of(runs: Iterable[ReportRun]) -> int:
    """The smallest size in pixels at which all these runs were evaluated; without one, the smallest of any."""
    evaluated = [run.sizes for run in runs if run.sizes]
    return min(set.intersection(*evaluated) or set.union(*evaluated)) if evaluated else 256


def figures(network: Network, size: int) -> tuple[str, str]:
    """Equivalent iterations of Gatys et al. and burnt-in spots of a network, as table cells."""
    found = network.evaluation(size)
    spots = found.get("spot_share")
    return number(found.get("equivalent_gatys_iterations")), NONE if spots is None else percent(spots, 2)


def results_table(networks: Iterable[Network], *, by_weight: bool = False) -> str:
    """The evaluations of networks. With `by_weight`, content and style losses are divided by their weights."""
    networks = list(networks)
    size = size_of(network.run for network in networks)
    rows = []
    for network in networks:
        found = network.evaluation(size)
        losses = [found.get("total")]
        for kind in ("content", "style"):
            weight = network.run.number(f"{kind}_weight") if by_weight else 1.0
            losses.append(found[kind] / weight if kind in found else None)
        rows.append((network.name, str(network.iterations), *map(loss_text, losses), *figures(network, size)))
    kinds = ("content / its weight", "style / its weight") if by_weight else ("content", "style")
    measures = ("equals iterations of Gatys et al.", "burnt-in spots")
    return table(("network", "iterations", f"total loss, {size} px", *kinds, *measures), rows)


def _reference(data: ReportData) -> ReportRun | None:
    """The run that the others are compared with: of the two seeds the first one that has a checkpoint."""
    runs = [data.runs[name] for name in SEEDS if name in data.runs]
    return next((run for run in runs if run.checkpoints), runs[0] if runs else None)


def _reference_name(data: ReportData) -> str:
    reference = _reference(data)
    return reference.name if reference else SEEDS[0]


def _experiment(data: ReportData) -> dict[str, ReportRun]:
    """The runs of the experiment by their names in the report."""
    return {label: data.runs[name] for name, (label, _) in EXPERIMENT.items() if name in data.runs}


def _label(name: str) -> str:
    return (EXPERIMENT | WIDTHS)[name][0]


def _missing(data: ReportData, name: str) -> str:
    """A sentence that a run, or its checkpoint, is missing, and the command that trains it."""
    if name in data.runs:
        return f"The run `{name}` has no checkpoint in this store yet; it is {data.runs[name].status.lower()}."
    _, flags = (EXPERIMENT | WIDTHS)[name]
    return (
        f"The run `{name}` is not in this store. To train it:\n\n"
        f'    make train RECIPE={RECIPE} PHOTOS=path/to/photos ARGS="--run-name {name} {flags}"'
    )


def _side_by_side(
    data: ReportData, pictures: ReportPictures, file: str, names: Iterable[str], *, by_weight: bool = False
) -> list[str]:
    """Runs that are missing, the evaluations of all checkpoints, and sample pictures of the last ones."""
    names = list(names)
    runs = {name: data.runs[name] for name in names if name in data.runs and data.runs[name].checkpoints}
    text = [_missing(data, name) for name in names if name not in runs]
    if runs:
        networks = [Network(_label(name), step, run) for name, run in runs.items() for step in run.checkpoints]
        last = [Network(_label(name), run.checkpoints[-1], run) for name, run in runs.items()]
        text += [results_table(networks, by_weight=by_weight), *pictures.by_network(file, last, photos=2)]
    return text


def _total(data: ReportData, one: str, other: str) -> list[str]:
    """A sentence on the total losses of two runs at their last common checkpoint; nothing when there is none."""
    runs = [data.runs[name] for name in (one, other) if name in data.runs]
    if len(runs) < 2:
        return []
    if settings := runs[0].differing(runs[1], OBJECTIVE):
        return [f"The losses of these runs cannot be compared: they differ in {in_words(settings)}."]
    step = max(set(runs[0].checkpoints) & set(runs[1].checkpoints), default=0)
    first, second = (run.evaluation(step, size_of(runs)).get("total") for run in runs)
    if not first or not second:
        return []
    compared = f"{difference(second, first)} with {_label(one)}"
    return [f"After {step} iterations the total loss with {_label(other)} is {compared}."]


def _layers(data: ReportData, one: str, other: str, *, at_end: bool) -> list[str]:
    """The training losses by layer at the end of a run, and those of another at its end, or after as many steps."""
    if one not in data.runs or other not in data.runs:
        return []
    runs = [data.runs[one], data.runs[other]]
    curves = [smoothed(run.by_weight("loss/content")) for run in runs]
    if not all(curves):
        return []
    steps = [curve[-1][0] for curve in curves]
    steps = steps if at_end else [min(steps)] * 2
    if any(curve[0][0] > step for curve, step in zip(curves, steps, strict=True)):  # one has only begun
        return []
    rows = []
    for key in sorted(key for key in runs[0].curves if key == "loss/content" or key.startswith("loss/style/")):
        first, second = (
            [value for at, value in smoothed(run.by_weight(key)) if at <= step][-1]
            for run, step in zip(runs, steps, strict=True)
        )
        layer = key.removeprefix("loss/style/").removeprefix("loss/")
        rows.append((layer, loss_text(first), loss_text(second), f"{first / second:.2f}"))
    labels = [f"{_label(name)}, {step}" for name, step in zip((one, other), steps, strict=True)]
    return [
        f"They differ in: {_differences(*runs)}.",
        f"Training losses by layer, divided by their weights (mean of {SMOOTHING} iterations):",
        table(("layer", *labels, "ratio"), rows),
    ]


def _of_checkpoints(data: ReportData, figure: str) -> dict[str, Curve]:
    """One figure of every checkpoint of the experiment, at one size."""
    experiment = _experiment(data)
    size = size_of(experiment.values())
    return {
        label: [(step, found[figure]) for step in run.checkpoints if figure in (found := run.evaluation(step, size))]
        for label, run in experiment.items()
    }


def _in_percent(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    return {label: [(step, 100 * value) for step, value in curve] for label, curve in curves.items()}


def _differences(run: ReportRun, reference: ReportRun) -> str:
    """The settings that make a run a different experiment: "style weight 1e9 instead of 1e10"."""
    found = [
        f"{in_words([key])} {plain(run.params[key])} instead of {plain(value)}"
        for key, value in sorted(reference.params.items())
        if key not in IRRELEVANT_SETTINGS and run.params.get(key, value) != value
    ]
    return ", ".join(found) or "nothing"
