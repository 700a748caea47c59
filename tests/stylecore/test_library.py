"""Which file a style's name opens."""

from pathlib import Path

import pytest

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.library import (
    StyleReference,
    called,
    find_styles,
    open_style,
    parse_mix,
    parse_reference,
    what_opens,
    write_alias,
    write_mix,
)

NETWORK = TransformNetConfig(residual_blocks=1, width=0.0625)


def publish(library: Path, run: str, aliases: dict[int, list[str]]) -> None:
    """A published run of the style "waves": a checkpoint for each of these iterations; its title is the run."""
    for iterations in aliases:
        card = StyleCard(name="waves", title=run, network=NETWORK, iterations=iterations)
        path = library / run / "checkpoints" / f"iterations-{iterations}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        StyleModel(TransformNet(NETWORK), card).save(path)
        for alias in aliases[iterations]:
            write_alias(library / "aliases.json", "waves", alias, f"{run}/{iterations}")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    publish(tmp_path, "first", {10: ["iterations-10"], 20: ["champion", "iterations-20"]})
    publish(tmp_path, "second", {10: [], 20: ["small-style-weight"], 30: []})
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "run", "iterations"),
    [
        ("waves", "first", 20),  # the champion, though another was trained longer
        ("waves@champion", "first", 20),
        ("waves@iterations-10", "first", 10),  # the one that bears the alias
        ("waves@iterations-30", "second", 30),  # nobody bears it
        ("waves@small-style-weight", "second", 20),
    ],
)
def test_names_open_the_checkpoint_that_bears_them(library: Path, reference: str, run: str, iterations: int) -> None:
    card = open_style(reference, [library]).card
    assert (card.title, card.iterations) == (run, iterations)


def test_every_listed_reference_opens_its_own_file_where_one_bears_an_alias(library: Path) -> None:
    for style in find_styles([library]):
        if style.aliases:
            card = open_style(style.reference, [library]).card
            assert (card.title, card.iterations) == (style.card.title, style.card.iterations)


def test_what_is_listed_opens_its_own_file(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(library, "third", {10: [], 40: []})
    monkeypatch.chdir(library)
    styles = find_styles([library])
    listed = [what_opens(style, styles) for style in styles]
    for style, name in zip(styles, listed, strict=True):
        card = open_style(name, [library]).card
        assert (card.title, card.iterations) == (style.card.title, style.card.iterations)
    assert {"waves", "waves@iterations-10", "waves@iterations-40"} <= set(listed)
    assert str(Path("third", "checkpoints", "iterations-10.safetensors")) in listed


def test_without_a_champion_the_most_trained_is_opened(tmp_path: Path) -> None:
    publish(tmp_path, "only", {10: [], 40: [], 20: []})
    assert open_style("waves", [tmp_path]).card.iterations == 40


def test_an_unknown_alias_is_answered_with_those_there_are(library: Path) -> None:
    with pytest.raises(StylecoreError, match=r"there are .*waves@small-style-weight"):
        open_style("waves@large-style-weight", [library])


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("waves", StyleReference("waves")),
        ("waves@fast", StyleReference("waves", alias="fast")),
        ("waves/007", StyleReference("waves", version="7")),
        (" models:/waves@iterations-10 ", StyleReference("waves", alias="iterations-10")),
    ],
)
def test_the_grammar_of_names(text: str, reference: StyleReference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize("text", ["", "two waves", "waves@", "waves/", "waves/fast", "waves@fast/1", "../waves"])
def test_what_names_no_style_is_answered_with_the_grammar(text: str) -> None:
    with pytest.raises(StylecoreError, match="NAME, NAME@ALIAS or NAME/VERSION"):
        parse_reference(text)


def test_files_have_no_version_numbers(library: Path) -> None:
    with pytest.raises(StylecoreError, match=r"no style 'waves/1': there are .*waves@small-style-weight"):
        open_style("waves/1", [library])


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("waves", {"waves": 1.0}),
        ("waves:0.6+stars:0.4", {"waves": 0.6, "stars": 0.4}),
        ("waves@fast + models:/stars/2", {"waves@fast": 1.0, "models:/stars/2": 1.0}),
        ("my/waves.safetensors:3+stars:1", {"my/waves.safetensors": 3.0, "stars": 1.0}),
    ],
)
def test_the_grammar_of_mixes(text: str, shares: dict[str, float]) -> None:
    assert parse_mix(text) == shares


@pytest.mark.parametrize(
    "text",
    ["a:0+b:1", "a:-1+b:1", "a:nan+b:1", "a:inf+b:1", "a:x+b:1", "a:1+b", "a+a", "a+b+c+d+e", "+".join("a" * 5000)],
)
def test_what_is_no_mix_is_answered_with_an_example(text: str) -> None:
    with pytest.raises(StylecoreError, match=r"starry_night:0\.6\+great_wave:0\.4"):
        parse_mix(text)


def test_a_mix_is_written_as_it_is_read() -> None:
    assert write_mix({"waves": 0.6, "stars": 0.4}) == "waves:0.6+stars:0.4"
    assert write_mix({"waves": 0.0, "stars": 1.0}) == "stars"


def test_a_mix_is_opened_by_name_and_knows_what_opens_it(tmp_path: Path) -> None:
    publish(tmp_path, "first", {10: ["champion"]})
    (waves,) = find_styles([tmp_path])
    model = StyleModel.load(waves.path)
    StyleModel(model.network, StyleCard(name="stars", network=NETWORK)).save(tmp_path / "stars.safetensors")
    mixed = open_style("waves:3+stars:1", [tmp_path])
    assert called(mixed.card) == "waves:0.75+stars:0.25"
    assert called(model.card) == "waves"
    assert (
        called(open_style("waves@iterations-10:3+stars:1", [tmp_path]).card) == "waves@iterations-10:0.75+stars:0.25"
    )
    assert called(open_style("waves@iterations-10+waves", [tmp_path]).card) == "waves@iterations-10:0.5+waves:0.5"
    with pytest.raises(StylecoreError, match="no style 'clouds'"):
        open_style("waves+clouds", [tmp_path])


def test_a_folder_may_begin_with_the_home_folder(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(library))
    monkeypatch.setenv("STYLECORE_STYLES", "~/first")
    assert {style.card.title for style in find_styles()} == {"first"}


def test_a_mix_of_names_longer_than_a_file_name_is_one_sentence(library: Path) -> None:
    with pytest.raises(StylecoreError, match="there is no style"):
        open_style("+".join(f"{letter * 90}:1" for letter in "abcd"), [library])
