"""Versions side by side: what distinguishes them, which to compare, and the pictures with their losses."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import handle_file
from PIL import Image

from demo.services.catalogue import BundleCatalogue, VersionEntry, VersionRecord
from demo.services.comparisons import (
    Comparison,
    comparisons,
    find_version,
    labels,
    number,
    shared_facts,
    usual_facts,
)
from demo.services.limits import Limits
from demo.services.registry_catalogue import RegistryCatalogue
from demo.services.stylize import Stylizer
from demo.tabs.compare import choices_of, chosen_versions, compare, comparison_buttons, sheet
from demo.tabs.comparison_html import Compared, comparison_html, loss_text
from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleCard
from stylecore.johnson.transform_net import TransformNetConfig
from tests.demo.conftest import LIMITS, client_of, make_style, write_bundle

PLANNED = {"iterations": 3500, "style_weight": 1e10, "seed": 0}


def entry(version: str, made: int, run: str, blocks: int = 5, **training: object) -> VersionEntry:
    network = TransformNetConfig(residual_blocks=blocks)
    card = StyleCard("night", "The Night", network=network, iterations=made, training={**PLANNED, **training})
    return VersionEntry("night", version, card, run)


RUNS = [
    *(entry(str(n), steps, "usual") for n, steps in enumerate((1000, 1500, 3500), start=1)),
    *(entry(str(n), steps, "other_seed", seed=1) for n, steps in enumerate((1000, 3500), start=4)),
    entry("6", 1000, "one_block", blocks=1, iterations=1000),
    entry("7", 3500, "little_style", style_weight=1e9),
    entry("8", 400, "stopped"),
]


class Versions(BundleCatalogue):
    """A bundle whose style "night" has these versions, of which none can be opened."""

    def __init__(self, folder: Path, champion: str = "3", entries: Sequence[VersionEntry] = RUNS) -> None:
        model = make_style(1, name="night", title="The Night")
        super().__init__(
            write_bundle(folder, [(model, one.version, ["champion"] * (one.version == champion)) for one in entries])
        )
        self.entries = list(entries)

    def versions(self, name: str) -> list[VersionEntry]:
        return self.entries


def test_comparisons_follow_from_what_the_versions_differ_in(tmp_path: Path) -> None:
    found = {one.title: [each.version for each in one.versions] for one in comparisons(Versions(tmp_path), 6)}
    assert found == {
        "What do more iterations change?": ["1", "2", "3"],
        "Are fewer residual blocks enough?": ["6", "1"],  # with as many iterations, not with the champion
        "What does another seed change?": ["3", "5"],
        "What does the style weight do?": ["7", "3"],
        "How do its trainings differ?": ["3", "5", "6", "7", "8"],
    }
    # As it learned: of the champion's own run.
    of_other = comparisons(Versions(tmp_path, champion="5"), 6)[0]
    assert [each.version for each in of_other.versions] == ["4", "5"]
    assert len(comparisons(Versions(tmp_path), 2)[-1].versions) == 2


def test_iterations_are_those_of_a_run_that_began_with_nothing(tmp_path: Path) -> None:
    fine = {"init_from": "models:/night@usual", "style_weight": 5e10}
    one_block = [entry(f"2{n}", steps, "one_block", blocks=1) for n, steps in enumerate((1000, 1500, 3500))]
    fine_tuned = [entry(f"1{n}", steps, "fine", **fine) for n, steps in enumerate((500, 1000))]
    versions = [*fine_tuned, *one_block, *RUNS[:3]]
    first = comparisons(Versions(tmp_path, champion="11", entries=versions), 6)[0]
    assert (first.title, first.versions) == ("What do more iterations change?", tuple(RUNS[:3]))


def test_a_narrow_network_is_compared_with_its_teacher(tmp_path: Path) -> None:
    narrow = entry("2", 1000, "narrow", width=0.5, teacher="models:/night@usual")
    versions = [RUNS[0], replace(narrow, card=replace(narrow.card, network=TransformNetConfig(width=0.5)))]
    found = {one.title: one.versions for one in comparisons(Versions(tmp_path, "1", versions), 6)}
    assert [each.version for each in found["Is a narrower network as good?"]] == ["2", "1"]
    assert labels(found["Is a narrower network as good?"]) == [
        "width 0.5, distilled from night@usual",
        "width 1",
    ]


def test_seeds_are_compared_where_nothing_else_differs(tmp_path: Path) -> None:
    champion = entry("9", 2000, "bold", seed=3, style_weight=5e10, learning_rate=1e-4)
    found = {one.title: one.versions for one in comparisons(Versions(tmp_path, "9", [*RUNS, champion]), 6)}
    assert [each.version for each in found["What does another seed change?"]] == ["3", "5"]
    assert [each.version for each in found["What does the style weight do?"]] == ["7", "3"]


def test_style_weights_of_other_losses_are_not_compared(tmp_path: Path) -> None:
    relative = {"style_normalization": "relative", "loss_scales": [1, 2], "content_layer": "relu3_3"}
    champion = entry("9", 900, "strokes", style_weight=1.0, **relative)
    usual = [entry(str(n), 3500, f"usual_{n}", content_layer="relu2_2", style_weight=1e9 * n) for n in (1, 5)]
    found = {one.title: one.versions for one in comparisons(Versions(tmp_path / "two", "9", [usual[0], champion]), 6)}
    assert "What does the style weight do?" not in found
    found = {one.title: one.versions for one in comparisons(Versions(tmp_path / "all", "9", [*usual, champion]), 6)}
    assert [each.version for each in found["What does the style weight do?"]] == ["1", "5"]
    assert "relative losses at scales 1, 2, relu3_3" in labels([usual[0], champion])[1]


def test_of_several_styles_the_settings_are_not_told() -> None:
    wave = VersionEntry("wave", "1", StyleCard("wave", "The Wave", iterations=500, training={"style_weight": 1e9}))
    assert labels([RUNS[2], wave]) == ["The Night, 3,500 iterations", "The Wave, 500 iterations"]


def test_batches_of_two_sizes_are_compared(tmp_path: Path) -> None:
    small, large = (entry(str(size), 3500, f"batches_of_{size}", batch_size=size) for size in (2, 4))
    found = {one.title: one.versions for one in comparisons(Versions(tmp_path, "2", [large, small]), 6)}
    assert found["What do larger batches change?"] == (small, large)
    assert labels(found["What do larger batches change?"]) == ["batches of 2", "batches of 4"]


def test_labels_say_what_differs_and_nothing_else() -> None:
    assert labels(RUNS[:3]) == ["1,000 of 3,500 iterations", "1,500 of 3,500 iterations", "3,500 iterations"]
    assert shared_facts(RUNS[:3]) == ["The Night", "5 residual blocks", "width 1", "style weight 1e10", "seed 0"]
    assert labels([RUNS[5], RUNS[0]]) == [
        "1,000 iterations, 1 residual block",
        "1,000 of 3,500 iterations, 5 residual blocks",
    ]
    assert labels([RUNS[2], RUNS[4]]) == ["seed 0", "seed 1"]
    assert labels([RUNS[2]]) == ["3,500 iterations"]
    same = replace(RUNS[2], version="9", run_name="again")
    assert labels([RUNS[2], same]) == ["3,500 iterations, usual", "3,500 iterations, again"]
    assert labels([RUNS[2], replace(same, run_name="usual")]) == [
        "3,500 iterations, version 3",
        "3,500 iterations, version 9",
    ]


def test_where_much_differs_labels_tell_what_is_unusual() -> None:
    ends = [RUNS[2], *RUNS[4:]]
    assert usual_facts(ends) == {
        "residual_blocks": "5 residual blocks",
        "style_weight": "style weight 1e10",
        "seed": "seed 0",
    }
    assert labels(ends) == [
        "3,500 iterations",
        "3,500 iterations, seed 1",
        "1,000 iterations, 1 residual block",
        "3,500 iterations, style weight 1e9",
        "400 of 3,500 iterations",
    ]


def test_an_imported_network_says_what_its_card_has() -> None:
    imported = VersionEntry("wave", "1", StyleCard("wave", "The Wave"))
    assert labels([imported, RUNS[2]])[0] == "The Wave, 5 residual blocks".replace(", 5 residual blocks", "")
    assert labels([imported]) == ["version 1"]


@pytest.mark.parametrize(("value", "text"), [(1e10, "1e10"), (0.0015, "0.0015"), (5e-7, "5e-7"), (250.0, "250")])
def test_numbers_are_written_as_in_the_papers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("night", "3"),
        ("night@champion", "3"),
        ("night@iterations-1000", "1"),
        ("night/2", "2"),
        ("models:/night/2", "2"),
    ],
)
def test_versions_are_named_as_mlflow_names_them(catalogue: BundleCatalogue, reference: str, version: str) -> None:
    assert find_version(catalogue, reference).version == version


@pytest.mark.parametrize(
    ("references", "says"),
    [
        ([], "at least one"),
        (["night/1", "night/2", "night/3"], "at most 2 versions to compare at once, not 3"),
        (["../etc"], "does not name a style; write NAME"),
        (["nope"], "there is no style 'nope'"),
        (["night/9"], "has no version '9'"),
    ],
)
def test_wrong_choices_are_one_sentence(catalogue: BundleCatalogue, references: list[str], says: str) -> None:
    with pytest.raises(StylecoreError, match=says):
        chosen_versions(Stylizer(catalogue, Limits(compare_versions=2)), references)


def test_every_version_has_its_picture_label_and_losses(catalogue: BundleCatalogue, photo: Path) -> None:
    stylizer = Stylizer(catalogue, LIMITS)
    references = [reference for _, reference in choices_of(catalogue)][-3:]
    assert references == ["night/1", "night/2", "night/3"]
    assert [each.reference for each in comparisons(catalogue, 6)[0].versions] == references
    entries = chosen_versions(stylizer, [*references, "night@champion"])  # named twice, shown once
    shown = list(compare(stylizer, str(photo), entries))
    assert [len(done) for done in shown] == [1, 2, 3]
    first, _, last = shown[-1]
    assert (first.label, last.label) == ("1,000 iterations", "3,000 iterations")
    assert first.training_losses == {"content": 2.0, "style": 1.0}
    assert first.facts()["version"] == "night/1"
    assert not bool((first.result.stylized == last.result.stylized).all())
    with Image.open(sheet(stylizer, str(photo), entries, 0.5)) as image:
        assert image.width > 2 * 61
        assert image.height > 2 * 45


def test_the_grid_shows_what_is_done_and_what_is_to_come(catalogue: BundleCatalogue, photo: Path) -> None:
    stylizer = Stylizer(catalogue, LIMITS)
    entries = chosen_versions(stylizer, ["night/1", "night/3", "wave"])
    first, *_, done = compare(stylizer, str(photo), entries)
    shown = comparison_html(entries, first, {("night", "3")})
    assert (shown.count("<figure data-done"), shown.count('<figure class="waiting"')) == (1, 2)
    shown = comparison_html(entries, done, {("night", "3")})
    assert (shown.count("<figure data-done"), shown.count("waiting")) == (3, 0)
    assert shown.count('class="best"') == 1
    assert "&lt;b&gt;Wave&lt;/b&gt;" in shown
    assert "<b>Wave</b>" not in shown
    assert "in MLflow" not in shown  # a bundle knows of no page that shows its runs
    assert "Gatys" not in shown


def with_record(each: Compared, losses: Mapping[str, float], record: VersionRecord, **training: object) -> Compared:
    card = replace(each.entry.card, losses=dict(losses), training=training)
    return replace(each, entry=replace(each.entry, card=card), record=record)


def test_losses_evaluation_and_the_run_are_shown_where_known(catalogue: BundleCatalogue, photo: Path) -> None:
    stylizer = Stylizer(catalogue, LIMITS)
    *_, (one, other) = compare(stylizer, str(photo), chosen_versions(stylizer, ["night/1", "night/2"]))
    losses = {"loss/content": 750_000.0, "loss/style": 250_000.0, "loss/total": 1_000_000.0}
    record = VersionRecord(23.4, "http://localhost:5000/#/experiments/1/runs/<abc>")
    one = with_record(one, losses, record, style_weight=1e10)
    other = with_record(other, {key: value / 2 for key, value in losses.items()}, VersionRecord(), style_weight=1e10)
    shown = comparison_html([one.entry, other.entry], [one, other], set())
    assert 'content" style="width: 75.0%"' in shown
    assert 'content" style="width: 37.5%"' in shown
    assert "content 750,000" in shown
    assert "total loss 1,000,000" in shown
    assert shown.count("equals 23 iterations of Gatys et al.") == 1
    assert 'href="http://localhost:5000/#/experiments/1/runs/&lt;abc&gt;"' in shown
    assert "of the last photos in training" in shown
    # Of the same photos for both, where both were evaluated on them.
    evaluated = {"total": 400_000.0, "content": 300_000.0, "style": 100_000.0}
    fair = replace(record, losses=evaluated, losses_size=256)
    twice = replace(fair, losses={name: value * 2 for name, value in evaluated.items()})
    pair = [replace(one, record=twice), replace(other, record=fair)]
    shown = comparison_html([one.entry, other.entry], pair, set())
    assert "of the same sample photos at 256 pixels" in shown
    assert ("total loss 800,000" in shown, "total loss 400,000" in shown) == (True, True)
    assert shown.count("width: 37.5%") == 1
    assert pair[0].facts()["evaluated_losses"] == twice.losses
    pair[1] = replace(other, record=replace(fair, losses_size=512))
    assert "of the last photos in training" in comparison_html([one.entry, other.entry], pair, set())
    # Losses that count other weights are no measure of each other.
    other = with_record(other, losses, VersionRecord(), style_weight=1e9)
    shown = comparison_html([one.entry, other.entry], [one, other], set())
    assert "the weights differ" in shown
    assert "width:" not in shown
    # Nor is what is not a number.
    broken = with_record(one, {**losses, "loss/style": math.nan}, record, style_weight=1e10)
    assert "width:" not in comparison_html([broken.entry], [broken], set())


def test_buttons_are_pressed_by_the_choice(catalogue: BundleCatalogue) -> None:
    ready = comparisons(catalogue, 6)
    assert [one.title for one in ready] == ["What do more iterations change?", "One photo in several styles"]
    assert 'aria-pressed="true">What do more iterations change?' in comparison_buttons(
        ready, ["night/1", "night/2", "night/3"]
    )
    assert "true" not in comparison_buttons(ready, ["night/1"])
    # A button says which versions it means, not its place: the rows change when versions come or go.
    assert 'data-name="night/1 night/2 night/3"' in comparison_buttons(ready, ())


def test_styles_with_one_comparison_are_gathered_below_its_title() -> None:
    pairs = [
        ("What do more iterations change?", "Night"),
        ("What does another seed change?", "Night"),
        ("Is a narrower network as good?", "Wave"),
        ("Is a narrower network as good?", "Udnie"),
        ("One photo in several styles", ""),
    ]
    ready = [Comparison(title, style, (RUNS[0], RUNS[2])) for title, style in pairs]
    shown = re.sub(r"<[^>]*>", "|", comparison_buttons(ready, ()))
    assert [text for text in shown.split("|") if text] == [
        *("Night", "What do more iterations change?", "What does another seed change?"),
        *("Is a narrower network as good?", "Wave", "Udnie", "One photo in several styles"),
    ]
    only = comparison_buttons([ready[2], ready[-1]], ())
    assert ">Is a narrower network as good?</button>" in only


def test_losses_are_short() -> None:
    assert [loss_text(value) for value in (0.01234, 12.34, 1_019_622.06, float("nan"))] == [
        *("0.0123", "12.3", "1,020,000", "not finite")
    ]


def test_the_registry_tells_runs_evaluations_and_pages(new_store: Callable[[Path], str], tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from tracked_runs import log_style, start_run

    store = new_store(tmp_path)
    for name, seed in (("night_a", 1), ("night_b", 2)):
        run = start_run(run_name=name, tracking_uri=store)
        model = make_style(seed, name="night", iterations=10, training={"seed": seed})
        log_style(run, model, 10, {"eval/equivalent_gatys_iterations": 20.0 + seed})
        run.finish()
    catalogue = RegistryCatalogue(store, mlflow_page="http://localhost:5000")
    first, second = catalogue.versions("night")
    assert (first.run_name, second.run_name) == ("night_a", "night_b")
    assert labels([first, second]) == ["seed 1", "seed 2"]
    record = catalogue.record("night", second.version)
    assert record.gatys_iterations == 22.0
    assert record.page.startswith("http://localhost:5000/#/experiments/")
    without_page = RegistryCatalogue(store)
    assert without_page.record("night", second.version) == VersionRecord()  # not looked at yet
    without_page.versions("night")
    assert without_page.record("night", second.version) == VersionRecord(22.0)


def test_programs_compare_by_reference(page: tuple[gr.Blocks, str], photo: Path) -> None:
    client = client_of(page[1])
    pictures, facts = client.predict(
        handle_file(photo), ["night@iterations-1000", "night", "wave/1"], 48, 0.5, api_name="/compare"
    )
    assert [one["caption"] for one in pictures] == [one["label"] for one in facts]
    assert [one["version"] for one in facts] == ["night/1", "night/3", "wave/1"]
    assert facts[0]["losses"] == {"content": 2.0, "style": 1.0}
    with Image.open(pictures[0]["image"]) as image:
        assert image.size == (48, 35)
    with pytest.raises(Exception, match="There is no style 'nope'"):
        client.predict(handle_file(photo), ["nope"], api_name="/compare")
    with pytest.raises(Exception, match="There is no style '1'"):
        client.predict(handle_file(photo), [1, None], api_name="/compare")
    with pytest.raises(Exception, match="The longest side may be"):
        client.predict(handle_file(photo), "wave/1", 0, api_name="/compare")
    _, facts = client.predict(handle_file(photo), "wave/1", 48, 0.5, api_name="/compare")
    assert [one["version"] for one in facts] == ["wave/1"]
