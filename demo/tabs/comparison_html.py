"""A comparison of networks as HTML: pictures at one scale, with what distinguishes the networks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demo.page import address_of, save_for_browser
from demo.services.catalogue import VersionEntry, VersionRecord, title_of
from demo.services.comparisons import labels, shared_facts, usual_facts
from demo.services.stylize import Stylized
from demo.theme import filled_in
from demo.words import file_name, seconds_text

EQUALLY = 0.02
"""Values that differ by no more than this part are called equal."""
SHOWN_LOSSES = ("content", "style", "total")


@dataclass(frozen=True, eq=False)
class Compared:
    """One version's picture, and what is known of it."""

    entry: VersionEntry
    label: str
    result: Stylized
    record: VersionRecord

    @property
    def training_losses(self) -> dict[str, float]:
        """ "content", "style" and "total" of the last photos in training, weighted; those that the card has."""
        found = self.entry.card.losses
        return {name: found[f"loss/{name}"] for name in SHOWN_LOSSES if f"loss/{name}" in found}

    def facts(self) -> dict[str, Any]:
        """For programs."""
        height, width = self.result.size
        card = self.entry.card
        return {
            "version": self.entry.reference,
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
    addresses = {name: address_of(file) for name, file in (paintings or {}).items()}
    several = len({entry.name for entry in entries}) > 1
    originals = [("The photo", "", "")]
    if not several and entries[0].name in addresses:
        originals.append(("The painting", addresses[entries[0].name], title_of(entries[0].card)))
    losses = shown_losses(done)
    pictures = [
        address_of(save_for_browser(each.result.stylized / 255, "JPEG", file_name(each.label))) for each in done
    ]
    linked = any(each.record.page for each in done)
    height, width = done[0].result.size
    return filled_in(
        "comparison",
        loss_text=loss_text,
        seconds_text=seconds_text,
        title_of=title_of,
        photo=address_of(save_for_browser(done[0].result.content / 255, "JPEG", "photo")),
        width=width,
        height=height,
        near=nearest(done) if len(done) == len(entries) else Nearest(),
        entries=entries,
        common=shared_facts(entries),
        usual=usual_facts(entries),
        have_losses=len(done) > 1 and all(losses),
        comparable=_comparable(done),
        evaluated=_evaluated(done),
        losses_size=done[0].record.losses_size,
        originals=originals,
        paintings=addresses if several else {},
        best=best,
        figures=zip(done, pictures, losses, strict=True),
        largest=_largest_total(done, losses),
        waiting=labels(entries)[len(done) :],
        runs=[] if linked else list(dict.fromkeys(each.entry.run_name for each in done if each.entry.run_name)),
    )


@dataclass(frozen=True)
class Nearest:
    """Which of the compared is nearest to the painting and to the photo.

    Attributes:
        to: "painting" and "photo" to the one that is nearest; without those that are not known or equal.
        by: what measured it, in words; "" where nothing is known.
        word: "nearest", of two "nearer".
    """

    to: Mapping[str, Compared] = field(default_factory=dict)
    by: str = ""
    word: str = "nearest"

    def words_for(self, each: Compared) -> str:
        """ "nearest to the painting", "nearest to the painting and the photo", or ""."""
        what = [name for name, nearest in self.to.items() if nearest is each]
        return f"{self.word} to the {' and the '.join(what)}" if what else ""


def nearest(done: Sequence[Compared]) -> Nearest:
    """Compare the judge's measures of one style's networks, or without a judge their losses of the same photos."""
    if len(done) < 2 or len({each.entry.name for each in done}) > 1:
        return Nearest()
    records = [each.record for each in done]
    photos = {(record.judged_size, record.judged.get("judged_photos")) for record in records}
    if len(photos) == 1 and all({"style_error", "content_change"} <= record.judged.keys() for record in records):
        values = {"painting": "style_error", "photo": "content_change"}
        measures = {what: [record.judged[name] for record in records] for what, name in values.items()}
        ((size, count),) = photos
        by = f"a judge that took no part in the training, on {f'{count:.0f} ' if count else ''}photos of {size} pixels"
    elif _evaluated(done) and _comparable(done):
        values = {"painting": "style", "photo": "content"}
        measures = {what: [record.losses[name] for record in records] for what, name in values.items()}
        by = "the losses of the same sample photos"
    else:
        return Nearest()
    word = "nearer" if len(done) == 2 else "nearest"
    to = {
        what: done[found.index(min(found))]
        for what, found in measures.items()
        if min(found) < (1 - EQUALLY) * max(found)
    }
    return Nearest(to, by, word)


def shown_losses(done: Sequence[Compared]) -> list[dict[str, float]]:
    """The losses of each: of the same sample photos where all were evaluated on them, else of training."""
    if _evaluated(done):
        return [{name: each.record.losses[name] for name in SHOWN_LOSSES} for each in done]
    return [each.training_losses for each in done]


def _evaluated(done: Sequence[Compared]) -> bool:
    return len({each.record.losses_size for each in done}) == 1 and all(
        set(SHOWN_LOSSES) <= set(each.record.losses) for each in done
    )


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
    return all((card.name, card.objective) == (cards[0].name, cards[0].objective) for card in cards)


def loss_text(value: float) -> str:
    """0.0123, 12.3, 123,000: three digits count."""
    if not math.isfinite(value):
        return "not finite"
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
