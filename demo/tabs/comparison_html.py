"""A comparison of networks as HTML: pictures at one scale, with what distinguishes the networks."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.page import address_of, save_for_browser
from demo.services.catalogue import RunRecord, VersionEntry, title_of
from demo.services.comparisons import (
    labels,
    shared_facts,
    usual_facts,
)
from demo.services.stylize import Stylized
from demo.words import file_name, seconds_text

DIALOG = (
    '<dialog aria-label="The pictures, large"><div class="layers"></div><div class="bar">'
    '<button type="button" data-step="-1" aria-label="The one before">&larr;</button><p aria-live="polite"></p>'
    '<button type="button" data-step="1" aria-label="The next one">&rarr;</button>'
    '<button type="button" class="close">Close</button></div></dialog>'
)

EQUALLY = 0.02
"""Values that differ by no more than this part are called equal."""
SHOWN_LOSSES = ("content", "style", "total")


@dataclass(frozen=True, eq=False)
class Compared:
    """One version's picture, and what is known of it."""

    entry: VersionEntry
    label: str
    result: Stylized
    record: RunRecord

    @property
    def training_losses(self) -> dict[str, float]:
        """ "content", "style" and "total" of the last photos in training, weighted; those that the card has."""
        found = self.entry.card.losses  # cards name them "content", "loss/content" or "eval/content"
        keys = {name: (name, f"loss/{name}", f"eval/{name}") for name in SHOWN_LOSSES}
        return {name: found[key] for name, all_keys in keys.items() for key in all_keys[::-1] if key in found}

    def facts(self) -> dict[str, Any]:
        """For programs."""
        height, width = self.result.size
        card = self.entry.card
        return {
            "version": f"{self.entry.name}/{self.entry.version}",
            "label": self.label,
            "title": title_of(card),
            "run_name": self.entry.run_name,
            "iterations": card.iterations,
            "residual_blocks": card.network.residual_blocks,
            "style_weight": card.training.get("style_weight"),
            "seed": card.training.get("seed"),
            "losses": self.training_losses,
            "evaluated_losses": dict(self.record.losses),
            "gatys_iterations": self.record.gatys_iterations,
            "run_page": self.record.page,
            "width": width,
            "height": height,
            "seconds": self.result.seconds,
            "device": self.result.device,
        }


def comparison_html(
    entries: Sequence[VersionEntry],
    done: Sequence[Compared],
    best: set[tuple[str, str]],
    paintings: Mapping[str, str] | None = None,
) -> str:
    """The grid: the photo, the painting, and a figure for every version, those to come showing the photo.

    Args:
        entries: all that are compared.
        done: the first of them, at least one.
        best: name and version of the styles' default versions.
        paintings: name of a style to its painting, a file in Gradio's cache. One painting has a figure of its own; of
            several each lies in the corner of its style's figure.
    """
    paintings = paintings or {}
    several = len({entry.name for entry in entries}) > 1
    near = nearest(done) if len(done) == len(entries) else Nearest()
    address = address_of(save_for_browser(done[0].result.content / 255, "JPEG", "photo"))
    height, width = done[0].result.size
    photo = f'<img alt="" src="{address}" width="{width}" height="{height}">'  # its place is there before it is
    losses = shown_losses(done)
    largest = _largest_total(done, losses)
    figures = [
        _figure(
            each,
            photo,
            its_losses,
            largest,
            (each.entry.name, each.entry.version) in best,
            near.words_for(each),
            paintings.get(each.entry.name, "") if several else "",
        )
        for each, its_losses in zip(done, losses, strict=True)
    ]
    waiting = (
        f'<figure class="waiting"><div class="layers">{photo}</div>'
        f"<figcaption><strong>{html.escape(label)}</strong></figcaption></figure>"
        for label in labels(entries)[len(done) :]
    )
    originals = [_original("The photo", photo)]
    if not several and entries[0].name in paintings:
        painting = f'<img alt="" src="{address_of(paintings[entries[0].name])}">'
        originals.append(_original("The painting", painting, title_of(entries[0].card)))
    grid = "".join([*originals, *figures, *waiting])
    verdict = f'<p class="verdict">{near.sentence}</p>' if near.sentence else ""
    return (
        f'{verdict}<p class="shared">{_shared(entries, done)}</p>'
        f'<div class="grid" style="--aspect: {width / height:.4f}">{grid}</div>{_where_the_runs_are(done)}{DIALOG}'
    )


def _original(label: str, picture: str, note: str = "") -> str:
    notes = f'<span class="notes">{html.escape(note)}</span>' if note else ""
    return (
        f'<figure class="original" data-label="{label}"><button type="button" class="large" '
        f'aria-label="Show large: {label}"><span class="layers">{picture}</span></button>'
        f"<figcaption><strong>{label}</strong>{notes}</figcaption></figure>"
    )


def _where_the_runs_are(done: Sequence[Compared]) -> str:
    """How to see the runs where no page of MLflow can be reached."""
    if any(each.record.page for each in done):
        return ""
    runs = list(dict.fromkeys(each.entry.run_name for each in done if each.entry.run_name))
    if not runs:
        return ""
    which = "the run" if len(runs) == 1 else "the runs"
    return (
        f'<p class="shared runs"><code>make mlflow-ui</code> shows {which} <b>'
        f"{'</b>, <b>'.join(map(html.escape, runs))}</b> with curves and settings.</p>"
    )


@dataclass(frozen=True)
class Nearest:
    """Which of the compared is nearest to the painting and to the photo.

    Attributes:
        to: "painting" and "photo" to the one that is nearest; without those that are not known or equal.
        sentence: the same in words, HTML; "" where nothing is known.
        word: "nearest", of two "nearer".
    """

    to: Mapping[str, Compared] = field(default_factory=dict)
    sentence: str = ""
    word: str = "nearest"

    def words_for(self, each: Compared) -> str:
        """ "nearest to the painting", "nearest to painting and photo", or ""."""
        what = [name for name, nearest in self.to.items() if nearest is each]
        return f"<b>{self.word} to the {' and the '.join(what)}</b>" if what else ""


def nearest(done: Sequence[Compared]) -> Nearest:
    """Compare the judge's measures of one style's networks, or without a judge their losses of the same photos."""
    if len(done) < 2 or len({each.entry.name for each in done}) > 1:
        return Nearest()
    measures = _judged(done)
    by = ""
    if measures:
        photos = done[0].record.judged.get("judged_photos")
        on = f"{photos:.0f} photos" if photos else "photos"
        by = f"a judge that took no part in the training, on {on} of {done[0].record.judged_size} pixels"
    elif _evaluated(done) and _comparable(done):
        measures = {
            "painting": [each.record.losses["style"] for each in done],
            "photo": [each.record.losses["content"] for each in done],
        }
        by = "the losses of the same sample photos"
    word = "nearer" if len(done) == 2 else "nearest"
    to = {
        name: done[values.index(min(values))]
        for name, values in measures.items()
        if min(values) < (1 - EQUALLY) * max(values)
    }
    if not measures:
        return Nearest()
    labels_of = {name: f"<strong>{html.escape(each.label)}</strong>" for name, each in to.items()}
    if not to:
        parts = "All are equally near to the painting and to the photo"
    elif len(to) == 2 and to["painting"] is to["photo"]:
        parts = f"{labels_of['painting']} is {word} to the painting and to the photo"
    else:
        parts = ", ".join(f"{label} is {word} to the {name}" for name, label in labels_of.items())
        parts += "".join(f", all are equally near to the {name}" for name in measures if name not in to)
    return Nearest(to, f"{parts[:1].upper()}{parts[1:]}, says {by}.", word)


def _judged(done: Sequence[Compared]) -> dict[str, list[float]]:
    records = [each.record for each in done]
    if len({(record.judged_size, record.judged.get("judged_photos")) for record in records}) > 1:
        return {}  # measured on other pictures
    keys = {"painting": "style_error", "photo": "content_change"}
    return {
        name: [record.judged[key] for record in records]
        for name, key in keys.items()
        if all(key in record.judged for record in records)
    }


def shown_losses(done: Sequence[Compared]) -> list[dict[str, float]]:
    """The losses of each: of the same sample photos where all were evaluated on them, else of training."""
    if _evaluated(done):
        return [{name: each.record.losses[name] for name in SHOWN_LOSSES} for each in done]
    return [each.training_losses for each in done]


def _evaluated(done: Sequence[Compared]) -> bool:
    return len({each.record.losses_size for each in done}) == 1 and all(
        set(SHOWN_LOSSES) <= set(each.record.losses) for each in done
    )


def _figure(
    each: Compared,
    photo: str,
    losses: dict[str, float],
    largest: float | None,
    is_best: bool,
    near: str,
    painting: str,
) -> str:
    picture = address_of(save_for_browser(each.result.stylized / 255, "JPEG", file_name(each.label)))
    label = html.escape(each.label)
    best = ' <span class="best">best</span>' if is_best else ""
    notes = [near] if near else []
    corner = ""
    if painting:
        words = html.escape(f"The painting: {title_of(each.entry.card)}")
        corner = f'<img class="corner" alt="{words}" title="{words}" src="{address_of(painting)}">'
    if each.record.gatys_iterations is not None:
        notes.append(f"equals {each.record.gatys_iterations:.0f} iterations of Gatys et al.")
    notes.append(seconds_text(each.result.seconds))
    lines = [_losses(losses, largest), f'<span class="notes">{" · ".join(notes)}</span>']
    if each.record.page:
        address = html.escape(each.record.page)
        name = html.escape(each.entry.run_name or "its run")
        lines.append(f'<a href="{address}" target="_blank" rel="noopener">{name} in MLflow</a>')
    return (
        f'<figure data-done data-label="{label}"><button type="button" class="large" aria-label="Show large: {label}">'
        f'<span class="layers">{photo}<img class="after" alt="Stylized: {label}" src="{picture}">'
        f"</span>{corner}</button><figcaption><strong>{label}</strong>{best}{''.join(lines)}</figcaption></figure>"
    )


def _losses(losses: dict[str, float], largest: float | None) -> str:
    if not losses:
        return ""
    bar = ""
    if largest:
        parts = "".join(
            f'<i class="{name}" style="width: {100 * losses[name] / largest:.1f}%"></i>'
            for name in ("content", "style")
        )
        bar = f'<span class="losses" aria-hidden="true">{parts}</span>'
    total = f"total loss {loss_text(losses['total'])}" if "total" in losses else ""
    addends = (f'<span class="{name}">{name} {loss_text(losses[name])}</span>' for name in losses if name != "total")
    return f'{bar}<span class="figures">{total}</span><span class="figures">{" ".join(addends)}</span>'


def _largest_total(done: Sequence[Compared], all_losses: Sequence[dict[str, float]]) -> float | None:
    """What the bars are drawn against; None where the losses cannot be compared or drawn."""
    if not _comparable(done) or any(
        set(losses) != set(SHOWN_LOSSES) or not all(0 <= value < math.inf for value in losses.values())
        for losses in all_losses
    ):
        return None
    return max(losses["content"] + losses["style"] for losses in all_losses) or None


def _comparable(done: Sequence[Compared]) -> bool:
    cards = [each.entry.card for each in done]
    return bool(cards) and all((card.name, card.objective) == (cards[0].name, cards[0].objective) for card in cards)


def _shared(entries: Sequence[VersionEntry], done: Sequence[Compared]) -> str:
    parts = []
    common, usual = shared_facts(entries), usual_facts(entries)
    if common:
        parts.append(f"{'All' if len(entries) > 1 else 'This'}: {html.escape(', '.join(common))}.")
    if usual:
        parts.append(f"Where nothing else is said: {html.escape(', '.join(usual.values()))}.")
    if len(done) > 1 and all(shown_losses(done)):
        if not _comparable(done):
            parts.append("The losses are weighted, and the weights differ: compare the pictures, not the losses.")
        elif _evaluated(done):
            parts.append(f"The losses are weighted, of the same sample photos at {done[0].record.losses_size} pixels.")
        else:
            parts.append("The losses are weighted, and of the last photos in training: they differ by chance, too.")
    return " ".join(parts)


def loss_text(value: float) -> str:
    """0.0123, 12.3, 123,000: three digits count."""
    if not math.isfinite(value):
        return "not finite"
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
