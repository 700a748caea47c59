"""Which file a style's name opens."""

import json
from pathlib import Path

import pytest

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet, TransformNetConfig
from stylecore.library import find_styles, open_style, what_opens

NETWORK = TransformNetConfig(residual_blocks=1, width=0.0625)


def publish(shelf: Path, run: str, aliases: dict[int, list[str]]) -> None:
    """A published run of the style "waves": a checkpoint for each of these iterations; its title is the run."""
    for iterations in aliases:
        card = StyleCard(name="waves", title=run, network=NETWORK, iterations=iterations)
        path = shelf / run / "checkpoints" / f"iterations-{iterations}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        StyleModel(TransformNet(NETWORK), card).save(path)
    checkpoints = [{"step": step, "aliases": names} for step, names in aliases.items()]
    (shelf / run / "run.json").write_text(json.dumps({"checkpoints": checkpoints}))


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
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
def test_names_open_the_checkpoint_that_bears_them(shelf: Path, reference: str, run: str, iterations: int) -> None:
    card = open_style(reference, [shelf]).card
    assert (card.title, card.iterations) == (run, iterations)


def test_every_listed_reference_opens_its_own_file_where_one_bears_an_alias(shelf: Path) -> None:
    for style in find_styles([shelf]):
        if style.aliases:
            card = open_style(style.reference, [shelf]).card
            assert (card.title, card.iterations) == (style.card.title, style.card.iterations)


def test_what_is_listed_opens_its_own_file(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(shelf, "third", {10: [], 40: []})
    monkeypatch.chdir(shelf)
    styles = find_styles([shelf])
    listed = [what_opens(style, styles) for style in styles]
    for style, name in zip(styles, listed, strict=True):
        card = open_style(name, [shelf]).card
        assert (card.title, card.iterations) == (style.card.title, style.card.iterations)
    assert {"waves", "waves@iterations-10", "waves@iterations-40"} <= set(listed)
    assert str(Path("third", "checkpoints", "iterations-10.safetensors")) in listed


def test_without_a_champion_the_most_trained_is_opened(tmp_path: Path) -> None:
    publish(tmp_path, "only", {10: [], 40: [], 20: []})
    (tmp_path / "only" / "run.json").unlink()
    assert open_style("waves", [tmp_path]).card.iterations == 40


def test_an_unknown_alias_is_answered_with_those_there_are(shelf: Path) -> None:
    with pytest.raises(StylecoreError, match=r"there are .*waves@small-style-weight"):
        open_style("waves@large-style-weight", [shelf])
