"""The report's sections on the experiment: one network trained in several ways."""

from collections.abc import Callable, Iterable
from itertools import pairwise

from stylecore.johnson.style_model import OBJECTIVE
from training.report.data import SMOOTHING, STYLE, Curve, Network, ReportData, ReportRun, smoothed, value_at
from training.report.markdown import (
    NONE,
    compared,
    difference,
    in_words,
    iterations_text,
    loss_text,
    missing_run,
    no_checkpoints,
    percent,
    plain,
    results_table,
    size_of,
    table,
)
from training.report.pictures import ReportPictures
from training.report.plots import checkpoint_curves, loss_curves, spot_curves

SEEDS = ("starry_night_seed_0", "starry_night_seed_1")
ONE_BLOCK = "starry_night_one_block"
SMALL_STYLE_WEIGHT = "starry_night_small_style_weight"
STOPPED_EARLY = "starry_night_stopped_early"
BATCHES_OF_4 = ("starry_night_seed_0_batches_of_4", "starry_night_seed_1_batches_of_4")
EXPERIMENT = {
    SEEDS[0]: "five residual blocks, seed 0",
    SEEDS[1]: "five residual blocks, seed 1",
    ONE_BLOCK: "one residual block",
    SMALL_STYLE_WEIGHT: "small style weight",
    STOPPED_EARLY: "stopped early",
    BATCHES_OF_4[0]: "batches of 4, seed 0",
    BATCHES_OF_4[1]: "batches of 4, seed 1",
}
"""The runs of the experiment, and their names in the report."""
IRRELEVANT_SETTINGS = {
    *("run_name", "output_dir", "checkpoints", "preview_size", "preview_photos", "evaluate_sizes"),
    *("workers", "save_minutes", "log_every"),
    "batch_size",  # of one process; the global one says how many photos an iteration has
}
"""Settings that do not make a run a different experiment."""


def the_runs(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The runs of the experiment, and the settings in which they differ."""
    reference = reference_run(data)
    missing = [f"`{name}`" for name in EXPERIMENT if name not in data.runs]
    text = [f"Not in this tracker: {', '.join(missing)}. Their sections say how to train them."] if missing else []
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
    settings = {
        "style picture": f"{reference.params.get('style_size', NONE)} pixels on its short side",
        "crops": f"{reference.params.get('crop', NONE)} pixels",
        "photos an iteration": reference.params.get("global_batch_size", NONE),
        "content weight": plain(reference.number("content_weight")),
        "style weight": plain(reference.number("style_weight")),
        "learning rate": f"{reference.number('learning_rate'):g}, {reference.params.get('schedule', NONE)}",
    }
    return [
        table(("run", "name here", "differences", "iterations", "status"), rows),
        f"Settings of `{reference.name}`: " + ", ".join(f"{key} {value}" for key, value in settings.items()) + ".",
        *text,
    ]


def two_seeds(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The network trained with two seeds: the size of random differences."""
    text = [
        "The same network, photos and settings; only the initial weights and the order of photos and crops differ. "
        "Differences between other runs that are not larger than these may be random.",
        *compared(data, pictures, "seeds", {name: EXPERIMENT[name] for name in SEEDS}),
    ]
    return text + _compared_totals(data, SEEDS, lambda a, b: f"their total losses differ by {percent(abs(b / a - 1))}")


def one_block(data: ReportData, pictures: ReportPictures) -> list[str]:
    """One residual block beside the five of the reference."""
    reference = reference_run(data)
    names = (*([reference.name] if reference else []), ONE_BLOCK)
    text = [
        "A network with one residual block instead of the five of Johnson et al. is cheaper and has a smaller "
        "receptive field.",
        *compared(data, pictures, "blocks", {name: EXPERIMENT.get(name, name) for name in names}),
    ]
    return text + _compared_totals(
        data, names, lambda a, b: f"the total loss with one block is {difference(b, a)} than with five"
    )


def small_style_weight(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The run with a small style weight beside the reference."""
    text = (
        "With a small style weight a network takes over colors more than strokes: the original experiment saw this. "
        "The first style layers respond to colors and fine grain, the last ones to strokes and shapes."
    )
    return [text, *_beside_reference(data, pictures, SMALL_STYLE_WEIGHT, "small_style_weight", at_end=False)]


def stopped_early(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The run of a few hundred iterations beside the reference."""
    text = "After a few hundred iterations the original experiment saw the style's colors, and weak detail."
    return [text, *_beside_reference(data, pictures, STOPPED_EARLY, "stopped_early", at_end=True)]


def iterations(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The reference at its checkpoints, and the equivalent iterations of all networks."""
    run = reference_run(data)
    if run is None:
        return [missing_run(SEEDS[0])]
    if not run.checkpoints:
        return [no_checkpoints(run)]
    text = [
        results_table([Network(_label(run), step, run) for step in run.checkpoints]),
        *pictures.by_network(
            "iterations", [Network(iterations_text(step), step, run) for step in run.checkpoints], photos=3
        ),
    ]
    totals = {step: run.evaluation(step, size_of([run])).get("total") for step in run.checkpoints}
    for (before, first), (after, second) in pairwise((step, value) for step, value in totals.items() if value):
        text.append(f"From {before} to {after} iterations the total loss became {difference(second, first)}.")
    curves, gallery = _of_checkpoints(data, "equivalent_gatys_iterations")
    if any(curves.values()) or gallery:
        path = pictures.path("equivalent_iterations.png")
        checkpoint_curves(curves, gallery, path, unit="equals iterations of Gatys et al.", paper=True)
        text.append(pictures.markdown(path, "Equivalent iterations of Gatys et al. against training iterations"))
    if any(curves.values()):
        best, label = max((value, label) for label, curve in curves.items() for _, value in curve)
        text.append(
            f"The highest figure of the experiment is {best:.1f} ({label}). The networks of the paper, after "
            "40,000 iterations with batches of 4, equal 50 to 100; "
            + ("this one does too." if best >= 50 else "no network of the experiment does.")
        )
    return text


def batches_of_4(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Both seeds with the batches of the paper, beside the smaller batches of the others."""
    text = ["Johnson et al. train with batches of 4. The other runs have half as many photos an iteration."]
    text += [missing_run(name) for name in BATCHES_OF_4 if name not in data.runs]
    runs = _labelled(data, (*SEEDS, *BATCHES_OF_4))
    networks = [Network(label, run.checkpoints[-1], run) for label, run in runs.items() if run.checkpoints]
    if not networks:
        return text
    text += [results_table(networks), *pictures.by_network("batches", networks, photos=2)]
    for seed, names in enumerate(zip(SEEDS, BATCHES_OF_4, strict=True)):

        def sentence(small: float, large: float, seed: int = seed) -> str:
            return f"the total loss of seed {seed} is {difference(large, small)} with batches of 4"

        text += _compared_totals(data, names, sentence)
    return text


def spots(data: ReportData, pictures: ReportPictures) -> list[str]:
    """Burnt-in spots at the checkpoints and during training."""
    text = [
        "Such networks are known to burn spots into their pictures, black, white or of pure colors, which fade with "
        "training. Left: the share of the sample photos that such spots cover, at the checkpoints. Right: the share "
        f"of black and white values in the pictures made during training, the mean over {SMOOTHING} iterations."
    ]
    curves, _ = _of_checkpoints(data, "spot_share")
    burnt_in = {
        label: run.curves["output/saturated_share"]
        for label, run in _experiment(data).items()
        if "output/saturated_share" in run.curves
    }
    if not any(curves.values()) and not burnt_in:
        return [*text, "No run of the experiment in this tracker has been measured."]
    path = pictures.path("spots.png")
    spot_curves(curves, burnt_in, path)
    text.append(pictures.markdown(path, "Burnt-in spots against training iterations"))
    values = [(value, step, label) for label, curve in curves.items() for step, value in curve]
    if values:
        value, step, label = max(values)
        text.append(
            f"The largest share is {percent(value, 2)} ({label}, {iterations_text(step)})."
            if value
            else "No checkpoint of the experiment has any burnt-in spots."
        )
    changes = [
        f"- {label}: {percent(first, 2)} at {iterations_text(before)}, {percent(last, 2)} at {iterations_text(after)}"
        for label, curve in curves.items()
        if len(curve) > 1
        for (before, first), (after, last) in [(curve[0], curve[-1])]
        if first or last
    ]
    return [*text, "\n".join(changes)] if changes else text


def losses(data: ReportData, pictures: ReportPictures) -> list[str]:
    """The loss curves of training."""
    curves: dict[str, dict[str, Curve]] = {}
    for label, run in _experiment(data).items():
        curves[label] = {}
        if {"loss/total", "loss/content", "loss/style"} <= run.curves.keys():
            curves[label] = {"total": run.total_loss, "content": _by_weight(run, "content")}
            curves[label]["style"] = _by_weight(run, "style")
    if not any(curves.values()):
        return ["No run of the experiment in this tracker has loss curves."]
    path = pictures.path("losses.png")
    loss_curves(curves, path)
    return [
        f"Losses on the training photos: pale as logged, strong the mean over {SMOOTHING} iterations. Total losses of "
        "runs with different weights are not comparable; the lower panels are.",
        pictures.markdown(path, "Loss curves of the experiment"),
    ]


# Shared by the sections


def reference_run(data: ReportData) -> ReportRun | None:
    """The run that the others are compared with: five blocks, seed 0. If it has no checkpoints, it is seed 1, or a run
    with the style's own name."""
    runs = [data.runs[name] for name in (*SEEDS, STYLE) if name in data.runs]
    return next((run for run in runs if run.checkpoints), runs[0] if runs else None)


def _experiment(data: ReportData) -> dict[str, ReportRun]:
    """The runs of the experiment by their names in the report; the reference first."""
    reference = reference_run(data)
    return ({_label(reference): reference} if reference else {}) | _labelled(data, EXPERIMENT)


def _labelled(data: ReportData, names: Iterable[str]) -> dict[str, ReportRun]:
    return {EXPERIMENT[name]: data.runs[name] for name in names if name in data.runs}


def _label(run: ReportRun) -> str:
    return EXPERIMENT.get(run.name, run.name)


def _compared_totals(data: ReportData, names: tuple[str, ...], sentence: Callable[[float, float], str]) -> list[str]:
    """A sentence on the total losses of two runs at their last common checkpoint; nothing when a run is missing."""
    runs = [data.runs[name] for name in names if name in data.runs]
    if len(runs) < 2:
        return []
    one, other = runs
    settings = one.differing(other, OBJECTIVE)
    if settings:
        return [f"Their losses cannot be compared: they differ in {in_words(settings)}."]
    size = size_of(runs)
    for step in sorted(set(one.checkpoints) & set(other.checkpoints), reverse=True):
        first, second = (run.evaluation(step, size).get("total") for run in runs)
        if first and second:
            return [f"After {iterations_text(step)} {sentence(first, second)}."]
    return []


def _beside_reference(data: ReportData, pictures: ReportPictures, name: str, file: str, *, at_end: bool) -> list[str]:
    """One run beside the reference: evaluations with losses divided by their weights, pictures, losses by layer.

    Args:
        at_end: compare the layers with those of the reference at its end, not after the same number of iterations.
    """
    run, reference = data.runs.get(name), reference_run(data)
    if run is None:
        return [missing_run(name)]
    if not run.checkpoints:
        return [no_checkpoints(run)]
    last = run.checkpoints[-1]
    networks = [Network(_label(run), step, run) for step in run.checkpoints]
    shown = networks[-1:]
    if reference is not None and reference.checkpoints:
        nearest = min(reference.checkpoints, key=lambda step: abs(step - last))
        steps = sorted({nearest, reference.checkpoints[-1]})
        shown += [Network(_label(reference), step, reference) for step in steps]
        networks += shown[1:]
    labelled = [Network(f"{each.name}, {each.iterations}", each.iterations, each.run) for each in shown]
    text = [results_table(networks, by_weight=True), *pictures.by_network(file, labelled, photos=2)]
    if reference is None:
        return text
    text.append(f"Different from the run with {_label(reference)}: {_differences(run, reference)}.")
    return text + _layers(
        run, last, reference, reference.checkpoints[-1] if at_end and reference.checkpoints else last
    )


def _layers(run: ReportRun, step: int, reference: ReportRun, other_step: int) -> list[str]:
    """The training losses by layer after these numbers of iterations, and their ratios."""
    rows, styles = [], []
    for key in sorted(run.curves):
        if key != "loss/content" and not key.startswith("loss/style/"):
            continue
        kind, _, layer = key.removeprefix("loss/").partition("/")
        values = [
            value / each.number(f"{kind}_weight")
            for each, at in ((run, step), (reference, other_step))
            if (value := value_at(smoothed(each.curves.get(key, ())), at)) is not None
        ]
        if len(values) == 2 and values[1] > 0:
            ratio = values[0] / values[1]
            if layer:
                styles.append((layer, ratio))
            name = layer or f"content ({run.params.get('content_layer', '?')})"
            rows.append((name, *map(loss_text, values), f"{ratio:.2f}"))
    if not rows:
        return []
    text = [
        f"Training losses by layer, each divided by its weight (mean of {SMOOTHING} iterations):",
        table(("layer", f"{_label(run)}, {step}", f"{_label(reference)}, {other_step}", "ratio"), rows),
    ]
    if len(styles) > 1:
        (first, first_ratio), *_, (last, last_ratio) = styles
        text.append(
            f"The loss of the first style layer, {first}, is {first_ratio:.2f} times that of the other run; the loss "
            f"of the last, {last}, is {last_ratio:.2f} times as large."
        )
    return text


def _of_checkpoints(data: ReportData, figure: str) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """One figure of every checkpoint at one size: for the experiment's runs, and for the gallery's that have it."""
    experiment, gallery = _experiment(data), {network.name: network.run for network in data.gallery}
    size = size_of([*experiment.values(), *gallery.values()])

    def curve(run: ReportRun) -> Curve:
        values = {step: run.evaluation(step, size).get(figure) for step in run.checkpoints}
        return [(step, value) for step, value in values.items() if value is not None]

    curves = {label: curve(run) for label, run in experiment.items()}
    return curves, {name: found for name, run in gallery.items() if (found := curve(run))}


def _by_weight(run: ReportRun, kind: str) -> Curve:
    weight = run.number(f"{kind}_weight")
    return [(step, value / weight) for step, value in run.curves[f"loss/{kind}"]]


def _differences(run: ReportRun, reference: ReportRun) -> str:
    """The settings that make a run a different experiment: "style weight 1e9 instead of 1e10"."""
    found = [
        f"{in_words([key])} {_short(run.params[key])} instead of {_short(value)}"
        for key, value in sorted(reference.params.items())
        if key not in IRRELEVANT_SETTINGS and run.params.get(key, value) != value
    ]
    return ", ".join(found) or "nothing"


def _short(value: str) -> str:
    try:
        return plain(float(value))
    except ValueError:
        return value or "none"
