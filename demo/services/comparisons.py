"""The settings in which a style's versions differ, and which of them to compare."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from demo.services.catalogue import Catalogue, VersionEntry, title_of
from stylecore.errors import StylecoreError
from stylecore.library import CHAMPION, parse_reference


@dataclass(frozen=True)
class Setting:
    """One setting of a network's training, in the papers' words.

    Attributes:
        title: of a comparison of networks that differ in it.
        value: of a version; None where its card does not say.
        words: for a value.
    """

    title: str
    value: Callable[[VersionEntry], Any]
    words: Callable[[Any], str]


def _trained(name: str) -> Callable[[VersionEntry], Any]:
    return lambda entry: entry.card.training.get(name)


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


ITERATIONS = Setting("Iterations", _iterations, _iterations_in_words)
BLOCKS = Setting(
    "Residual blocks",
    lambda entry: entry.card.network.residual_blocks,
    lambda value: f"{value} residual block{'' if value == 1 else 's'}",
)
WIDTH = Setting("Widths", lambda entry: entry.card.network.width, lambda value: f"width {number(value)}")
LOSSES = Setting("Losses", _losses, _losses_in_words)
STYLE_WEIGHT = Setting("Style weight", _trained("style_weight"), lambda value: f"style weight {number(value)}")
BATCH_SIZE = Setting("Batch size", _trained("batch_size"), lambda value: f"batches of {value}")
SEED = Setting("Seeds", _trained("seed"), lambda value: f"seed {value}")
SETTINGS = (
    ITERATIONS,
    BLOCKS,
    WIDTH,
    LOSSES,
    STYLE_WEIGHT,
    Setting("Content weight", _trained("content_weight"), lambda value: f"content weight {number(value)}"),
    Setting("Style size", _trained("style_size"), lambda value: f"style picture at {value} pixels"),
    Setting("Learning rate", _trained("learning_rate"), lambda value: f"learning rate {number(value)}"),
    BATCH_SIZE,
    Setting("Crops", _trained("crop"), lambda value: f"crops of {value} pixels"),
    Setting(
        "Teacher",
        lambda entry: entry.card.training.get("teacher") or None,
        lambda value: f"distilled from {value.removeprefix('models:/')}",
    ),
    SEED,
)
STYLES = "Styles"
"""Title of the comparison of several styles."""
QUESTIONS = {
    ITERATIONS.title: "What do more iterations change?",
    BLOCKS.title: "Are fewer residual blocks enough?",
    WIDTH.title: "Is a narrower network as good?",
    STYLE_WEIGHT.title: "What does the style weight do?",
    BATCH_SIZE.title: "What do larger batches change?",
    SEED.title: "What does another seed change?",
    "Versions": "How do its versions differ?",
    "Stopped early": "Is a shorter training enough?",
    "Runs": "How do its trainings differ?",
    STYLES: "One photo in several styles",
}
"""A comparison's title as a visitor reads it."""
COMPARED = (BLOCKS, WIDTH, SEED, STYLE_WEIGHT, BATCH_SIZE)
"""The settings that have a ready-made comparison, where versions differ in them."""


@dataclass(frozen=True)
class Comparison:
    """Versions that are worth to be set side by side.

    Attributes:
        title: a word or two.
        style: title of the style; empty for a comparison of several.
        versions: the choice.
    """

    title: str
    style: str
    versions: tuple[VersionEntry, ...]


def facts(entry: VersionEntry) -> dict[str, str]:
    """Setting's title to words, for the settings that the card has."""
    values = ((setting, setting.value(entry)) for setting in SETTINGS)
    return {setting.title: setting.words(value) for setting, value in values if value is not None}


def shared_facts(entries: Sequence[VersionEntry]) -> list[str]:
    """What all of them have in common, beginning with the style's title."""
    styles = {entry.name for entry in entries}
    common = [title_of(entries[0].card)] if len(styles) == 1 else []
    described = [facts(entry) for entry in entries]
    return common + [
        words for title, words in described[0].items() if all(each.get(title) == words for each in described)
    ]


def usual_facts(entries: Sequence[VersionEntry]) -> dict[str, str]:
    """Setting's title to the words of more than half of them, where several settings differ: then a label
    names only the others. The iterations are always named."""
    described = [facts(entry) for entry in entries]
    differing = [title for title in _differing(described) if title != ITERATIONS.title]
    if len(differing) < 2:
        return {}
    usual = {title: Counter(each.get(title, "") for each in described).most_common(1)[0] for title in differing}
    return {title: words for title, (words, count) in usual.items() if words and count > len(entries) / 2}


def labels(entries: Sequence[VersionEntry]) -> list[str]:
    """What distinguishes each of them from the others: "1 residual block", "seed 0", "The Great Wave, 500 iterations".

    The run's name or the version's number is added where the settings are the same.
    """
    described = [facts(entry) for entry in entries]
    usual = usual_facts(entries)
    titles = _differing(described)
    several_styles = len({entry.name for entry in entries}) > 1
    if len({entry.name for entry in entries}) == len(entries) > 1:  # the style distinguishes them
        titles = [ITERATIONS.title]
    elif not titles or usual:
        titles = [ITERATIONS.title, *(title for title in titles if title != ITERATIONS.title)]
    words = [
        [title_of(entry.card)] * several_styles
        + [each[title] for title in titles if title in each and each[title] != usual.get(title)]
        for entry, each in zip(entries, described, strict=True)
    ]
    return _made_distinct(entries, [", ".join(each) for each in words])


def _differing(described: Sequence[dict[str, str]]) -> list[str]:
    return [setting.title for setting in SETTINGS if len({each.get(setting.title) for each in described}) > 1]


def list_labels(entries: Sequence[VersionEntry], default: str) -> list[str]:
    """For a list of one style's versions: iterations, and what differs from the default version."""
    described = {entry.version: facts(entry) for entry in entries}
    usual = described.get(default, {})
    words = [
        [
            text
            for title, text in described[entry.version].items()
            if title == ITERATIONS.title or (usual.get(title) != text and entry.version != default)
        ]
        for entry in entries
    ]
    return _made_distinct(entries, [", ".join(each) for each in words])


def _made_distinct(entries: Sequence[VersionEntry], words: list[str]) -> list[str]:
    runs = {entry.run_name for entry in entries}
    for more in (
        lambda entry: entry.run_name if len(runs) > 1 else "",
        lambda entry: f"version {entry.version}",
    ):
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
        default = next((entry for entry in versions if entry.version == style.default_version), None)
        if default is None:
            continue
        champions.append(default)
        of_styles.append(
            [
                Comparison(title, style.title, tuple(chosen[:most]))
                for title, chosen in _of_one_style(versions, default)
                if len(chosen) > 1
            ]
        )
    found = [comparison for each in sorted(of_styles, key=len, reverse=True) for comparison in each]
    if len(champions) > 1:
        found.append(Comparison(STYLES, "", tuple(champions[:most])))
    return found


def _of_one_style(versions: Sequence[VersionEntry], default: VersionEntry) -> Iterable[tuple[str, list[VersionEntry]]]:
    runs: dict[str, list[VersionEntry]] = {}
    for entry in versions:
        runs.setdefault(entry.run_name, []).append(entry)
    ends = {name: max(run, key=lambda entry: entry.card.iterations) for name, run in runs.items()}

    def closeness(run: list[VersionEntry]) -> tuple[bool, int, int]:
        """The default's own run, if it shows how it learned from nothing; or else the longest one most like it."""
        own = default in run and len(run) > 1 and not default.card.training.get("init_from")
        return own, len(run), -len(_differences(run[0], default, except_for=ITERATIONS))

    as_it_learned = max(runs.values(), key=closeness)
    title = ITERATIONS.title if any(entry.card.iterations for entry in as_it_learned) else "Versions"
    yield title, sorted(as_it_learned, key=lambda entry: entry.card.iterations)
    for setting in COMPARED:
        yield setting.title, _differing_in(setting, versions, default)
    longest = ends[default.run_name]
    shorter = [
        end
        for end in ends.values()
        if 0 < end.card.iterations < longest.card.iterations and not _differences(end, longest, except_for=SEED)
    ]
    yield "Stopped early", [*sorted(shorter, key=lambda entry: entry.card.iterations), longest] if shorter else []
    if len(ends) > 2:
        others = [end for name, end in ends.items() if name != default.run_name]
        yield "Runs", [longest, *others]


def _differing_in(setting: Setting, versions: Sequence[VersionEntry], default: VersionEntry) -> list[VersionEntry]:
    """One version for every value of the setting, as equal in all else as there are; in the order of the values.

    The others are compared with the default's value, unless those of another value are more alike. That value is
    represented by the version that is most like the others, so that a network of 1000 iterations is compared with
    another of 1000.
    """
    by_value: dict[Any, list[VersionEntry]] = {}
    for entry in versions:
        if setting.value(entry) is not None:
            by_value.setdefault(setting.value(entry), []).append(entry)
    if setting.value(default) not in by_value or len(by_value) < 2:
        return []

    def unlike(one: VersionEntry, other: VersionEntry) -> tuple[int, int, int]:
        apart = abs(one.card.iterations - other.card.iterations)
        return (
            len(_differences(one, other, except_for=setting)),
            apart,
            -one.card.iterations - other.card.iterations,
        )

    def pairs_with(usual: Any) -> dict[Any, tuple[VersionEntry, VersionEntry]]:
        """The most alike of this value and of each other one."""
        return {
            value: min(((own, other) for own in by_value[usual] for other in others), key=lambda pair: unlike(*pair))
            for value, others in by_value.items()
            if value != usual
        }

    def closeness(usual: Any) -> tuple[int, bool]:
        return min(unlike(*pair)[0] for pair in pairs_with(usual).values()), usual != setting.value(default)

    usual = min(by_value, key=closeness)
    pairs = pairs_with(usual)
    fewest, _ = closeness(usual)
    pairs = {
        value: pair
        for value, pair in pairs.items()
        if unlike(*pair)[0] == fewest and LOSSES.value(pair[0]) == LOSSES.value(pair[1])
    }
    if not pairs:  # networks of other losses differ for other reasons than this setting
        return []
    anchor = min(pairs.values(), key=lambda pair: unlike(*pair))[0]
    chosen = {value: min(by_value[value], key=lambda entry: unlike(anchor, entry)) for value in pairs}
    return [entry for _, entry in sorted({**chosen, usual: anchor}.items())]


def _differences(one: VersionEntry, other: VersionEntry, *, except_for: Setting) -> list[str]:
    """Titles of the other settings, but for the iterations, in which two versions differ."""
    return [
        setting.title
        for setting in SETTINGS
        if setting not in (ITERATIONS, except_for) and setting.value(one) != setting.value(other)
    ]


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
