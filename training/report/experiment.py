"""The report's sections on the experiment: one network trained in several ways, and the method of Gatys et al."""

from collections.abc import Callable, Sequence
from itertools import pairwise

from stylecore.johnson.style_model import OBJECTIVE
from training.report.data import SMOOTHING, STYLE, Evidence, ReportRun, differing, smoothed, value_at
from training.report.markdown import (
    NONE,
    Album,
    compared,
    difference,
    loss_text,
    missing_run,
    named,
    no_checkpoints,
    percent,
    plain,
    results_table,
    size_of,
    table,
)
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
"""The runs of the experiment, and what the report calls them."""


def the_runs(evidence: Evidence, album: Album) -> list[str]:
    """The runs of the experiment, and in which settings they differ."""
    reference = reference_run(evidence)
    missing = [f"`{name}`" for name in EXPERIMENT if name not in evidence.runs]
    said = [f"Not in this tracker: {', '.join(missing)}. Their sections say how to train them."] if missing else []
    if reference is None:
        return said
    rows = [
        (
            f"`{run.name}`",
            label,
            _differences(run, reference) if run is not reference else "all others are compared with this one",
            run.params.get("iterations", NONE),
            run.status.lower(),
        )
        for label, run in _experiment(evidence).items()
    ]
    same = {
        "style picture": f"{reference.params.get('style_size', NONE)} pixels on its short side",
        "crops": f"{reference.params.get('crop', NONE)} pixels",
        "photos an iteration": reference.params.get("global_batch_size", NONE),
        "content weight": f"{plain(reference.number('content_weight'))}",
        "style weight": f"{plain(reference.number('style_weight'))}",
        "learning rate": f"{reference.number('learning_rate'):g}, {reference.params.get('schedule', NONE)}",
    }
    return [
        table(("run", "called here", "what is different", "iterations", "status"), rows),
        f"Settings of `{reference.name}`: " + ", ".join(f"{key} {value}" for key, value in same.items()) + ".",
        *said,
    ]


def two_seeds(evidence: Evidence, album: Album) -> list[str]:
    """The network trained with two seeds: how far chance goes."""
    there = _labelled(evidence, SEEDS)
    text = [
        "The same network, photos and settings; only the initial weights and the order of photos and crops differ. "
        "Differences between other runs that are not larger than these may be chance.",
        *compared(evidence, album, "seeds", SEEDS, EXPERIMENT),
    ]
    if len(there) == 2:
        (_, one), (_, other) = there.items()
        text += _at_last_common(one, other, lambda a, b: f"their total losses differ by {percent(abs(b / a - 1))}")
    return text


def one_block(evidence: Evidence, album: Album) -> list[str]:
    """One residual block beside the five of the reference."""
    reference = reference_run(evidence)
    names = (*(() if reference is None else (reference.name,)), ONE_BLOCK)
    text = [
        "A network of one residual block instead of the five of Johnson et al. is cheaper and sees a smaller part of "
        "the picture at once.",
        *compared(evidence, album, "blocks", names, {STYLE: STYLE, **EXPERIMENT}),
    ]
    single = evidence.runs.get(ONE_BLOCK)
    if reference and single:
        text += _at_last_common(
            reference, single, lambda a, b: f"the total loss with one block is {difference(b, a)} than with five"
        )
    return text


def small_style_weight(evidence: Evidence, album: Album) -> list[str]:
    """The run with little weight on the style beside the reference."""
    text = [
        "With little weight on the style a network takes over colors more than strokes: that is what the original "
        "experiment saw. The first style layers see colors and fine grain, the last ones strokes and shapes."
    ]
    run, reference = evidence.runs.get(SMALL_STYLE_WEIGHT), reference_run(evidence)
    if run is None:
        return [*text, missing_run(SMALL_STYLE_WEIGHT)]
    return [*text, *_against_reference(run, reference, album, "small_style_weight", ended=False)]


def stopped_early(evidence: Evidence, album: Album) -> list[str]:
    """The run that ended after a few hundred iterations beside the reference."""
    text = [
        "After a few hundred iterations the original experiment saw the style's colors, and detail that was diluted."
    ]
    run, reference = evidence.runs.get(STOPPED_EARLY), reference_run(evidence)
    if run is None:
        return [*text, missing_run(STOPPED_EARLY)]
    return [*text, *_against_reference(run, reference, album, "stopped_early", ended=True)]


def iterations(evidence: Evidence, album: Album) -> list[str]:
    """The reference at its checkpoints, and the equivalent iterations of all networks."""
    run = reference_run(evidence)
    if run is None:
        return [missing_run(SEEDS[0])]
    if not run.checkpoints:
        return [no_checkpoints(run)]
    label = _label(run)
    text = [
        results_table([(label, run, step) for step in run.checkpoints]),
        *album.by_checkpoint("iterations", [(count_of(step), run, step) for step in run.checkpoints], photos=3),
    ]
    size = size_of([run])
    totals = {step: run.evaluation(step, size).get("total") for step in run.checkpoints}
    known = [(step, value) for step, value in totals.items() if value]
    for (before, first), (after, second) in pairwise(known):
        text.append(f"From {before} to {after} iterations the total loss became {difference(second, first)}.")
    curves, others = _of_checkpoints(evidence, "equivalent_gatys_iterations")
    if any(curves.values()) or others:
        path = album.path("equivalent_iterations.png")
        checkpoint_curves(curves, others, path, unit="equals iterations of Gatys et al.", paper=True)
        text.append(album.shown(path, "Equivalent iterations of Gatys et al. against training iterations"))
    if any(curves.values()):
        best, best_label = max((value, label) for label, curve in curves.items() for _, value in curve)
        text.append(
            f"The highest figure of the experiment is {best:.1f} ({best_label}). The networks of the paper, after "
            "40,000 iterations with batches of 4, reach 50 to 100; "
            + ("this one does too." if best >= 50 else "none of the experiment does.")
        )
    return text


def batches_of_4(evidence: Evidence, album: Album) -> list[str]:
    """Both seeds with the batches of the paper, beside the smaller ones of the others."""
    text = ["Johnson et al. train with batches of 4. The other runs see half as many photos an iteration."]
    text += [missing_run(name) for name in BATCHES_OF_4 if name not in evidence.runs]
    there = _labelled(evidence, (*SEEDS, *BATCHES_OF_4))
    entries = [(label, run, run.checkpoints[-1]) for label, run in there.items() if run.checkpoints]
    if not entries:
        return text
    text += [results_table(entries), *album.by_checkpoint("batches", entries, photos=2)]
    for seed, (small, large) in enumerate(zip(SEEDS, BATCHES_OF_4, strict=True)):
        if small in evidence.runs and large in evidence.runs:

            def said(one: float, other: float, seed: int = seed) -> str:
                return f"the total loss of seed {seed} is {difference(other, one)} with batches of 4"

            text += _at_last_common(evidence.runs[small], evidence.runs[large], said)
    return text


def spots(evidence: Evidence, album: Album) -> list[str]:
    """Burnt-in spots at the checkpoints and while training."""
    text = [
        "Networks of this kind are known to burn spots into their pictures, black, white or of pure colors, which "
        "fade with training. Left: the part of the sample photos that such spots cover, at the checkpoints. Right: "
        "the share of values at black or white in the pictures made while training, the mean over "
        f"{SMOOTHING} iterations."
    ]
    curves, _ = _of_checkpoints(evidence, "spot_share")
    burnt = {
        label: run.curves["output/saturated_share"]
        for label, run in _experiment(evidence).items()
        if "output/saturated_share" in run.curves
    }
    if not any(curves.values()) and not burnt:
        return [*text, "No run of the experiment in this tracker has been measured."]
    path = album.path("spots.png")
    spot_curves(curves, burnt, path)
    text.append(album.shown(path, "Burnt-in spots against training iterations"))
    values = [(value, step, label) for label, curve in curves.items() for step, value in curve]
    if values:
        value, step, label = max(values)
        text.append(
            "No checkpoint of the experiment has any burnt-in spots."
            if value == 0
            else f"The largest share is {percent(value, 2)} ({label}, {count_of(step)})."
        )
    changes = [
        f"- {label}: {percent(first, 2)} at {count_of(before)}, {percent(last, 2)} at {count_of(after)}"
        for label, ((before, first), *_, (after, last)) in (
            (each, curve) for each, curve in curves.items() if curve[1:]
        )
        if first or last
    ]
    if changes:
        text.append("\n".join(changes))
    return text


def losses(evidence: Evidence, album: Album) -> list[str]:
    """The loss curves of training."""
    curves = {
        label: {
            "total": run.curves["loss/total"],
            "content": _by_weight(run, "content"),
            "style": _by_weight(run, "style"),
        }
        if {"loss/total", "loss/content", "loss/style"} <= run.curves.keys()
        else {}
        for label, run in _experiment(evidence).items()
    }
    if not any(curves.values()):
        return ["No run of the experiment in this tracker has loss curves."]
    path = album.path("losses.png")
    loss_curves(curves, path)
    return [
        "Losses on the training photos: pale as logged, strong the mean over 100 iterations. Total losses of runs "
        "with different weights are not comparable; the lower panels are.",
        album.shown(path, "Loss curves of the experiment"),
    ]


# What the sections share


def reference_run(evidence: Evidence) -> ReportRun | None:
    """What the others are compared with: five blocks, seed 0; while it has no checkpoints seed 1, or a run of the
    style's own name."""
    runs = [evidence.runs[name] for name in (*SEEDS, STYLE) if name in evidence.runs]
    return next((run for run in runs if run.checkpoints), runs[0] if runs else None)


def _experiment(evidence: Evidence) -> dict[str, ReportRun]:
    """The runs of the experiment by what they are called here; the reference first."""
    reference = reference_run(evidence)
    runs = {_label(reference): reference} if reference else {}
    return runs | _labelled(evidence, EXPERIMENT)


def _labelled(evidence: Evidence, names: Sequence[str] | dict[str, str]) -> dict[str, ReportRun]:
    return {EXPERIMENT[name]: evidence.runs[name] for name in names if name in evidence.runs}


def _label(run: ReportRun) -> str:
    return EXPERIMENT.get(run.name, run.name)


def _at_last_common(one: ReportRun, other: ReportRun, say: Callable[[float, float], str]) -> list[str]:
    """A sentence on the total losses at the last checkpoint that both have."""
    settings = differing(one, other, OBJECTIVE)
    if settings:
        return [f"Their losses cannot be compared: they differ in {', '.join(map(named, settings))}."]
    size = size_of([one, other])
    for step in sorted(set(one.checkpoints) & set(other.checkpoints), reverse=True):
        first, second = one.evaluation(step, size).get("total"), other.evaluation(step, size).get("total")
        if first and second:
            return [f"After {count_of(step)} {say(first, second)}."]
    return []


def _against_reference(
    run: ReportRun, reference: ReportRun | None, album: Album, name: str, *, ended: bool
) -> list[str]:
    """One run beside the reference: figures with losses by the unit of their weights, pictures, layers.

    Args:
        ended: compare the layers with those of the reference at its end, instead of after as many iterations.
    """
    if not run.checkpoints:
        return [no_checkpoints(run)]
    entries = [(_label(run), run, step) for step in run.checkpoints]
    shown = entries[-1:]
    if reference is not None and reference.checkpoints:
        nearest = min(reference.checkpoints, key=lambda step: abs(step - run.checkpoints[-1]))
        beside = {nearest, reference.checkpoints[-1]}
        entries += [(_label(reference), reference, step) for step in sorted(beside)]
        shown = entries[-1 - len(beside) :]
    text = [
        results_table(entries, by_weight=True),
        *album.by_checkpoint(name, [(f"{label}, {step}", each, step) for label, each, step in shown], photos=2),
    ]
    if reference is None:
        return text
    text.append(f"Different from the run with {_label(reference)}: {_differences(run, reference)}.")
    last = run.checkpoints[-1]
    return text + _layers(run, last, reference, reference.checkpoints[-1] if ended and reference.checkpoints else last)


def _layers(run: ReportRun, step: int, reference: ReportRun, other_step: int) -> list[str]:
    """The training losses by layer after so many iterations, and how many times as large they are."""
    rows, styles = [], []
    for key in sorted(run.curves):
        if key == "loss/content" or key.startswith("loss/style/"):
            kind, _, layer = key.removeprefix("loss/").partition("/")
            values = [
                value / each.number(f"{kind}_weight")
                for each, at in ((run, step), (reference, other_step))
                if (value := value_at(smoothed(each.curves.get(key, ())), at)) is not None
            ]
            if len(values) == 2 and values[1] > 0:
                times = values[0] / values[1]
                if layer:
                    styles.append((layer, f"{times:.2f} times"))
                name = layer or f"content ({run.params.get('content_layer', '?')})"
                rows.append((name, loss_text(values[0]), loss_text(values[1]), f"{times:.2f}"))
    if not rows:
        return []
    text = [
        f"Training losses by layer, each by the unit of its weight (mean of {SMOOTHING} iterations):",
        table(("layer", f"{_label(run)}, {step}", f"{_label(reference)}, {other_step}", "times"), rows),
    ]
    if len(styles) > 1:
        (first, first_times), *_, (last, last_times) = styles
        text.append(
            f"The loss of the first style layer, {first}, is {first_times} that of the other; of the last, "
            f"{last}, {last_times}."
        )
    return text


def _of_checkpoints(
    evidence: Evidence, figure: str
) -> tuple[dict[str, list[tuple[int, float]]], dict[str, list[tuple[int, float]]]]:
    """One figure of every checkpoint at one size: of all the experiment's runs, and of the gallery's that have it."""
    experiment, others = _experiment(evidence), {style.name: style.run for style in evidence.gallery}
    size = size_of([*experiment.values(), *others.values()])
    groups = []
    for runs in (experiment, others):
        curves = {
            label: [(step, run.evaluation(step, size)[figure]) for step in run.checkpoints
                    if figure in run.evaluation(step, size)]
            for label, run in runs.items()
        }  # fmt: skip
        groups.append(curves)
    return groups[0], {label: curve for label, curve in groups[1].items() if curve}


def _by_weight(run: ReportRun, kind: str) -> list[tuple[int, float]]:
    weight = run.number(f"{kind}_weight")
    return [(step, value / weight) for step, value in run.curves[f"loss/{kind}"]]


def _differences(run: ReportRun, reference: ReportRun) -> str:
    """The settings that make a run another experiment, as "style weight 1e9 instead of 1e10"."""
    kept_apart = {
        "run_name",
        "batch_size",  # of a process; the global one says how many photos an iteration sees
        "checkpoints",
        "preview_size",
        "workers",
        "output_dir",
        "save_minutes",
        "log_every",
        "preview_photos",
        "evaluate_sizes",
    }
    keys = [key for key in reference.params if key in run.params and key not in kept_apart]
    found = [
        f"{named(key)} {_short(run.params[key])} instead of {_short(reference.params[key])}"
        for key in sorted(keys)
        if run.params[key] != reference.params[key]
    ]
    return ", ".join(found) or "nothing"


def _short(value: str) -> str:
    try:
        return plain(float(value))
    except ValueError:
        return value or "none"


def last_losses(run: ReportRun) -> dict[str, float]:
    return {key.removeprefix("loss/"): curve[-1][1] for key, curve in run.curves.items() if key.startswith("loss/")}


def steps_of(run: ReportRun) -> str:
    return str(run.curves["loss/total"][-1][0]) if "loss/total" in run.curves else NONE


def count_of(step: int) -> str:
    return f"{step} iteration{'' if step == 1 else 's'}"
