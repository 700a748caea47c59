"""The settings in which a style's versions differ, and which of them to compare."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from demo.services.catalogue import Catalogue, VersionEntry, title_of
from stylecore.errors import StylecoreError
from stylecore.library import CHAMPION, parse_reference


@dataclass(frozen=True)
class Setting:
    """One setting of a network's training, in the papers' words.

    Attributes:
        value: of a version; None where its card does not say.
        words: for a value.
        question: the title of a ready-made comparison of versions that differ in it; "" for none.
    """

    name: str
    value: Callable[[VersionEntry], Any]
    words: Callable[[Any], str]
    question: str = ""


def _trained(name: str, words: Callable[[Any], str], question: str = "") -> Setting:
    return Setting(name, lambda entry: entry.card.training.get(name) or None, words, question)


def _iterations(entry: VersionEntry) -> tuple[int, int] | None:
    """Made, and planned: the learning rate of a run that goes on is another than that of one that ends."""
    made = entry.card.iterations
    return (made, int(entry.card.training.get("iterations") or made)) if made else None


def _iterations_in_words(value: tuple[int, int]) -> str:
    made, planned = value
    return f"{made:,} of {planned:,} iterations" if made < planned else f"{made:,} iterations"


def _losses(entry: VersionEntry) -> tuple[str, tuple[int, ...], str] | None:
    """What weights of losses mean depends on these."""
    objective = entry.card.objective
    if not objective.get("content_layer"):
        return None
    return objective["style_normalization"], tuple(objective["loss_scales"]), objective["content_layer"]


def _losses_in_words(value: tuple[str, tuple[int, ...], str]) -> str:
    normalization, scales, layer = value
    return f"{normalization} losses at scale{'s' if len(scales) > 1 else ''} {', '.join(map(str, scales))}, {layer}"


ITERATIONS = Setting("iterations", _iterations, _iterations_in_words, "What do more iterations change?")
LOSSES = Setting("losses", _losses, _losses_in_words)
SETTINGS = (
    ITERATIONS,
    Setting(
        "residual_blocks",
        lambda entry: entry.card.network.residual_blocks,
        lambda value: f"{value} residual block{'' if value == 1 else 's'}",
        "Are fewer residual blocks enough?",
    ),
    Setting(
        "width",
        lambda entry: entry.card.network.width,
        lambda value: f"width {number(value)}",
        "Is a narrower network as good?",
    ),
    LOSSES,
    _trained("style_weight", lambda value: f"style weight {number(value)}", "What does the style weight do?"),
    _trained("content_weight", lambda value: f"content weight {number(value)}"),
    _trained("style_size", "style picture at {} pixels".format),
    _trained("learning_rate", lambda value: f"learning rate {number(value)}"),
    _trained("batch_size", "batches of {}".format, "What do larger batches change?"),
    _trained("crop", "crops of {} pixels".format),
    _trained("teacher", lambda value: f"distilled from {value.removeprefix('models:/')}"),
    Setting("seed", lambda entry: entry.card.training.get("seed"), "seed {}".format, "What does another seed change?"),
)
VERSIONS, RUNS = "How do its versions differ?", "How do its trainings differ?"
STYLES = "One photo in several styles"
"""Titles of the other comparisons."""


@dataclass(frozen=True)
class Comparison:
    """Versions that are worth to be set side by side.

    Attributes:
        title: a question.
        style: title of the style; empty for a comparison of several.
        versions: the choice.
    """

    title: str
    style: str
    versions: tuple[VersionEntry, ...]


def facts(entry: VersionEntry) -> dict[str, str]:
    """Setting to words, for the settings that the card has."""
    values = ((setting, setting.value(entry)) for setting in SETTINGS)
    return {setting.name: setting.words(value) for setting, value in values if value is not None}


def shared_facts(entries: Sequence[VersionEntry]) -> list[str]:
    """What all of them have in common, beginning with the style's title."""
    styles = {entry.name for entry in entries}
    common = [title_of(entries[0].card)] if len(styles) == 1 else []
    described = [facts(entry) for entry in entries]
    return common + [
        words for name, words in described[0].items() if all(each.get(name) == words for each in described)
    ]


def usual_facts(entries: Sequence[VersionEntry]) -> dict[str, str]:
    """Setting to the words of more than half of them, where several settings differ: then a label
    names only the others. The iterations are always named."""
    described = [facts(entry) for entry in entries]
    differing = [name for name in _differing(described) if name != ITERATIONS.name]
    if len(differing) < 2:
        return {}
    usual = {name: Counter(each.get(name, "") for each in described).most_common(1)[0] for name in differing}
    return {name: words for name, (words, count) in usual.items() if words and count > len(entries) / 2}


def labels(entries: Sequence[VersionEntry]) -> list[str]:
    """What distinguishes each of them from the others: "1 residual block", "seed 0", "The Great Wave, 500 iterations".

    The run's name or the version's number is added where the settings are the same.
    """
    described = [facts(entry) for entry in entries]
    usual = usual_facts(entries)
    names = _differing(described)
    several_styles = len({entry.name for entry in entries}) > 1
    if len({entry.name for entry in entries}) == len(entries) > 1:  # the style distinguishes them
        names = [ITERATIONS.name]
    elif not names or usual:
        names = [ITERATIONS.name, *(name for name in names if name != ITERATIONS.name)]
    words = [
        [title_of(entry.card)] * several_styles
        + [each[name] for name in names if name in each and each[name] != usual.get(name)]
        for entry, each in zip(entries, described, strict=True)
    ]
    return _made_distinct(entries, [", ".join(each) for each in words])


def _differing(described: Sequence[dict[str, str]]) -> list[str]:
    return [setting.name for setting in SETTINGS if len({each.get(setting.name) for each in described}) > 1]


def _made_distinct(entries: Sequence[VersionEntry], words: list[str]) -> list[str]:
    runs = {entry.run_name for entry in entries}
    for more in (lambda entry: entry.run_name * (len(runs) > 1), lambda entry: f"version {entry.version}"):
        words = [
            ", ".join(filter(None, [text, more(entry)])) if not text or words.count(text) > 1 else text
            for entry, text in zip(entries, words, strict=True)
        ]
    return words


def comparisons(catalogue: Catalogue, most: int) -> list[Comparison]:
    """The ready-made comparisons, of at most so many versions, that the versions' own settings offer; the style that
    has most of them first."""
    of_styles: list[list[Comparison]] = []
    champions = []
    for style in catalogue.styles():
        versions = catalogue.versions(style.name)
        for default in (entry for entry in versions if entry.version == style.default_version):
            champions.append(default)
            of_style = [(title, chosen[:most]) for title, chosen in _of_one_style(versions, default)]
            of_styles.append([Comparison(title, style.title, tuple(c)) for title, c in of_style if len(c) > 1])
    found = [comparison for each in sorted(of_styles, key=len, reverse=True) for comparison in each]
    if len(champions) > 1:
        found.append(Comparison(STYLES, "", tuple(champions[:most])))
    return found


def _of_one_style(versions: Sequence[VersionEntry], default: VersionEntry) -> Iterable[tuple[str, list[VersionEntry]]]:
    runs: dict[str, list[VersionEntry]] = {}
    for entry in versions:
        runs.setdefault(entry.run_name, []).append(entry)
    for run in runs.values():
        run.sort(key=lambda entry: entry.card.iterations)

    def closeness(run: list[VersionEntry]) -> tuple[bool, int, int]:
        """The default's own run, if it shows how it learned from nothing; or else the longest one most like it."""
        own = default in run and len(run) > 1 and not default.card.training.get("init_from")
        return own, len(run), -_differences(run[0], default)

    as_it_learned = max(runs.values(), key=closeness)
    yield ITERATIONS.question if as_it_learned[-1].card.iterations else VERSIONS, as_it_learned
    for setting in SETTINGS:
        if setting.question and setting is not ITERATIONS:
            yield setting.question, _differing_in(setting, versions, default)
    longest, *others = sorted((run[-1] for run in runs.values()), key=lambda end: end.run_name != default.run_name)
    if len(others) > 1:
        yield RUNS, [longest, *others]


def _differing_in(setting: Setting, versions: Sequence[VersionEntry], default: VersionEntry) -> list[VersionEntry]:
    """One version for every value of the setting, as equal in all else as there are; in the order of the values.

    Networks of other losses differ for other reasons than this setting, and are left out.
    """

    def unlike(one: VersionEntry, other: VersionEntry) -> tuple[int, int, bool, int]:
        apart = abs(one.card.iterations - other.card.iterations)
        return (
            _differences(one, other, setting),
            apart,
            default not in (one, other),
            -one.card.iterations - other.card.iterations,
        )

    known = [entry for entry in versions if setting.value(entry) is not None]
    pairs = [
        (one, other)
        for one, other in combinations(known, 2)
        if setting.value(one) != setting.value(other) and LOSSES.value(one) == LOSSES.value(other)
    ]
    if not pairs:
        return []
    one, other = min(pairs, key=lambda pair: unlike(*pair))
    chosen = {setting.value(one): one, setting.value(other): other}
    for entry in sorted(known, key=lambda entry: unlike(one, entry)):
        if _differences(one, entry, setting) == _differences(one, other, setting):
            chosen.setdefault(setting.value(entry), entry)
    return [entry for _, entry in sorted(chosen.items())]


def _differences(one: VersionEntry, other: VersionEntry, *except_for: Setting) -> int:
    """The number of the other settings, but for the iterations, in which two versions differ."""
    compared = [setting for setting in SETTINGS if setting not in (ITERATIONS, *except_for)]
    return sum(setting.value(one) != setting.value(other) for setting in compared)


def find_version(catalogue: Catalogue, reference: str) -> VersionEntry:
    """The version that NAME, NAME@ALIAS or NAME/VERSION means, as MLflow writes them, with or without `models:/`.

    Raises:
        StylecoreError: for what is none of these, and for a style or version that there is not.
    """
    parsed = parse_reference(reference)
    version = catalogue.find(parsed.name).resolve(parsed.version or parsed.alias or CHAMPION)
    for entry in catalogue.versions(parsed.name):
        if entry.version == version:
            return entry
    raise StylecoreError(f"version {version} of {parsed.name} cannot be read; choose another one.")


def number(value: float) -> str:
    """1e10, 0.001, 250."""
    return re.sub(r"e\+?(-?)0*(\d)", r"e\1\2", f"{value:g}")
