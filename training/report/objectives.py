"""The report's section on training losses: how they are normalized, at which scales, with which content layer."""

from collections.abc import Sequence

from stylecore.sheet import Row, contact_sheet
from training.experiments.objectives import PHOTO_LOSS
from training.judge import SIZES
from training.report.data import ReportData, ReportRun
from training.report.markdown import NONE, number, table
from training.report.pictures import ReportPictures

HEIGHT = 256
"""Pixels of a picture on the sheet."""


def objectives(data: ReportData, pictures: ReportPictures) -> list[str]:
    """A table of every combination by the judge, and a sheet of the same photo painted by each."""
    runs = sorted(data.objectives, key=_combination)
    if not runs:
        return [
            "This tracker has no comparison of training losses. To make one: "
            "`python -m training.experiments.objectives training/recipes/starry_night.yaml --photos FOLDER`."
        ]
    one = runs[0].params
    text = (
        f"{len(runs)} networks, each begun with `{one.get('init_from', NONE).removeprefix('models:/')}` and trained "
        f"for {one.get('iterations', '?')} iterations of {one.get('global_batch_size', '?')} photos of "
        f"{one.get('crop')} pixels. The content loss is relative, with weight 1. The style weight gives the photos "
        f"themselves a style loss of {PHOTO_LOSS:g}. The judge (`training/judge.py`) sees the painting from three "
        f"distances; the pictures have {SIZES[0]} pixels on their longest side. Style error and content change belong "
        "together: a network can lower one by raising the other."
    )
    rows = []
    for run in runs:
        layer, scales, normalization = _combination(run)
        found = run.evaluation(run.checkpoints[-1], SIZES[0])
        digits = {"style_error": 3, "content_change": 2, "grid": 1}
        rows.append(
            (normalization, scales, layer, *(number(found.get(name), places) for name, places in digits.items()))
        )
    heading = ("style loss", "scales", "content layer", "style error", "content change", "grid, dB")
    return [text, table(heading, rows), _sheet(runs, pictures)]


def _combination(run: ReportRun) -> tuple[str, str, str]:
    """Content layer, scales and normalization of the style loss."""
    scales = " ".join(character for character in run.params["loss_scales"] if character.isdigit())
    return run.params["content_layer"], scales, run.params["style_normalization"]


def _sheet(runs: Sequence[ReportRun], pictures: ReportPictures) -> str:
    """A column for each normalization, a row for each content layer and set of scales."""
    found = {_combination(run): run.previews for run in runs}
    columns = sorted({normalization for _, _, normalization in found})
    photo = min(name for previews in found.values() for name in previews)
    rows = []
    for layer, scales in sorted({key[:2] for key in found}):
        previews = [found.get((layer, scales, column), {}).get(photo, {}) for column in columns]
        images = [pictures.open(steps[max(steps)]) if steps else None for steps in previews]
        rows.append(Row(f"{layer}, scales {scales}", images))
    sheet = contact_sheet(columns, rows, HEIGHT)
    return pictures.sheet("objectives", sheet, "The same photo by every training loss")
