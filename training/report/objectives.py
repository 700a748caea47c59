"""The report's section on training losses: how they are normalized, at which scales, with which content layer."""

from collections.abc import Sequence

from stylecore.sheet import Row, contact_sheet
from training.experiments.objectives import PHOTO_LOSS
from training.judge import SIZES
from training.report.data import Evidence, ReportRun
from training.report.markdown import NONE, Album, table

HEIGHT = 256
"""Pixels of a picture on the sheet."""


def objectives(evidence: Evidence, album: Album) -> list[str]:
    """A table of every combination by the judge, and a sheet of the same photo painted by each."""
    runs = evidence.objectives
    if not runs:
        return [
            "This tracker has no comparison of training losses. To make one: "
            "`python -m training.experiments.objectives training/recipes/starry_night.yaml --photos FOLDER`."
        ]
    one = runs[0].params
    start = one.get("init_from", NONE).removeprefix("models:/")
    text = (
        f"{len(runs)} networks, each begun with `{start}` and trained for "
        f"{one.get('iterations', '?')} iterations of {one.get('global_batch_size', '?')} photos of {one.get('crop')} "
        "pixels. Content is relative, with weight 1; the weight of the style loss is such that the photos themselves "
        f"would have the style loss {PHOTO_LOSS:g}. The judge (`training/judge.py`) sees the painting from three "
        f"distances, and the pictures have {SIZES[0]} pixels on their longest side. A style error and a content "
        "change belong together: each can be had for the other."
    )
    heading = ("style loss", "scales", "content layer", "style error", "content change", "grid, dB")
    return [text, table(heading, [_row(run) for run in _ordered(runs)]), _sheet(runs, album)]


def _ordered(runs: Sequence[ReportRun]) -> list[ReportRun]:
    return sorted(runs, key=lambda run: (run.params["content_layer"], _scales(run), run.params["style_normalization"]))


def _scales(run: ReportRun) -> str:
    return " ".join(character for character in run.params["loss_scales"] if character.isdigit())


def _row(run: ReportRun) -> tuple[str, ...]:
    found = run.evaluation(run.checkpoints[-1], SIZES[0])
    judged = (found.get("style_error"), found.get("content_change"), found.get("grid"))
    figures = (
        NONE if value is None else f"{value:.{digits}f}" for value, digits in zip(judged, (3, 2, 1), strict=True)
    )
    return (run.params["style_normalization"], _scales(run), run.params["content_layer"], *figures)


def _sheet(runs: Sequence[ReportRun], album: Album) -> str:
    """A column for each normalization, a row for each content layer and set of scales."""
    columns = sorted({run.params["style_normalization"] for run in runs})
    found = {
        (run.params["content_layer"], _scales(run), run.params["style_normalization"]): run.previews for run in runs
    }
    photo = sorted({name for previews in found.values() for name in previews})[0]
    rows = []
    for layer, scales in sorted({key[:2] for key in found}):
        addresses = [found.get((layer, scales, column), {}).get(photo, {}) for column in columns]
        pictures = [album.open(steps[max(steps)]) if steps else None for steps in addresses]
        rows.append(Row(f"{layer}, scales {scales}", pictures))
    return album.sheet("objectives", contact_sheet(columns, rows, HEIGHT), "The same photo by every training loss")
