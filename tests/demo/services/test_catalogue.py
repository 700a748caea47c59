"""The styles a page serves, from either source."""

import importlib
import io
import json
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from PIL import Image

from demo.app import build_demo
from demo.services.catalogue import BundleCatalogue, Catalogue
from demo.services.registry_catalogue import RegistryCatalogue
from demo.tabs.cards import style_cards
from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleModel
from stylecore.pictures.write import save_picture
from tests.demo.conftest import client_of, make_style, serving, write_bundle


def test_a_bundle_lists_its_styles_with_versions_aliases_card_and_preview(catalogue: BundleCatalogue) -> None:
    night, wave = sorted(catalogue.styles(), key=lambda entry: entry.name)
    assert (night.name, night.title, night.versions, night.default_version) == (
        "night",
        "The Night",
        ("3", "2", "1"),
        "3",
    )
    assert night.aliases["iterations-1000"] == "1"
    assert night.card.iterations == 3000
    assert night.preview is not None
    assert night.preview.startswith(b"\xff\xd8")
    assert wave.versions == ("1",)
    assert catalogue.notice == ""


def test_versions_are_opened_by_number_and_alias_and_only_once(catalogue: BundleCatalogue) -> None:
    assert catalogue.open("night").card.iterations == 3000
    assert catalogue.open("night", "2").card.iterations == 2000
    assert catalogue.open("night", "iterations-1000").card.iterations == 1000
    assert catalogue.open("night", "1") is catalogue.open("night", "iterations-1000")


def test_many_threads_get_the_same_model(bundle: Path) -> None:
    catalogue = BundleCatalogue(bundle)
    opened: list[StyleModel] = []
    threads = [threading.Thread(target=lambda: opened.append(catalogue.open("night"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    assert len({id(model) for model in opened}) == 1


@pytest.mark.parametrize(
    ("name", "version", "says"),
    [("nope", "champion", "the styles are night, wave"), ("night", "9", "choose one of 3, 2, 1, iterations-1000")],
)
def test_what_there_is_not_is_named(catalogue: BundleCatalogue, name: str, version: str, says: str) -> None:
    with pytest.raises(StylecoreError, match=says):
        catalogue.open(name, version)


def test_a_file_that_is_not_the_manifests_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    make_style(9, name="wave").save(copy / "wave-1.safetensors")
    catalogue = BundleCatalogue(copy)
    with pytest.raises(StylecoreError, match="not the file that the bundle's manifest names"):
        catalogue.open("wave")
    # The page still shows the other style, and this one without preview.
    assert {entry.name: entry.preview is None for entry in catalogue.styles()} == {"night": False, "wave": True}
    shutil.copyfile(bundle / "wave-1.safetensors", copy / "wave-1.safetensors")
    assert catalogue.styles()[1].preview is None  # not tried at every call
    catalogue._made.clear()  # some minutes later
    assert catalogue.styles()[1].preview is not None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "other"}', '{"format": "stylecore.bundle/1", "styles": [{}]}']
)
def test_a_folder_that_is_no_bundle_is_refused_with_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(StylecoreError, match=r"manifest\.json"):
        BundleCatalogue(tmp_path)
    with pytest.raises(StylecoreError, match="is no bundle"):
        BundleCatalogue(tmp_path / "missing")


def test_an_empty_bundle_says_how_to_get_styles(tmp_path: Path) -> None:
    catalogue = BundleCatalogue(write_bundle(tmp_path / "empty", []))
    assert catalogue.styles() == []
    assert "export it again" in catalogue.notice


def test_a_bundle_needs_neither_mlflow_nor_training(bundle: Path) -> None:
    missing = dict.fromkeys(("mlflow", "training"))
    with patch.dict(sys.modules):
        for name in [name for name in sys.modules if name.partition(".")[0] in {*missing, "demo"}]:
            del sys.modules[name]
        sys.modules.update(missing)  # type: ignore[arg-type] - to import them fails
        catalogue = importlib.import_module("demo.services.catalogue").BundleCatalogue(bundle)
        assert {entry.name for entry in catalogue.styles()} == {"night", "wave"}
        module = importlib.import_module("demo.services.registry_catalogue")
        module.PATIENCE = 300
        registry = module.RegistryCatalogue()
        assert registry.styles() == []
        assert "The registry cannot be read at the moment" in registry.notice


@pytest.fixture
def store(new_store: Callable[[Path], str], tmp_path: Path) -> str:
    return new_store(tmp_path)


def test_the_registry_is_served_and_a_promoted_version_appears(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = pytest.importorskip("training.registry.registry")
    pytest.importorskip("mlflow")
    from tracked_runs import log_style, start_run

    run = start_run(run_name="night", tracking_uri=store)
    for step in (10, 20):
        model = make_style(step, name="night", title="The Night", iterations=step)
        log_style(run, model, step, {"loss/total": 1.0})
    run.finish()
    monkeypatch.setattr("demo.services.registry_catalogue.PATIENCE", 300)
    monkeypatch.setattr("demo.services.registry_catalogue.SECONDS_BETWEEN_READS", 0)
    catalogue: Catalogue = RegistryCatalogue(store)
    (entry,) = catalogue.styles()
    assert (entry.name, entry.title, len(entry.versions)) == ("night", "The Night", 2)
    assert entry.preview is not None
    registry.Registry(store).promote("night", "iterations-10")
    assert catalogue.open("night").card.iterations == 10
    registry.Registry(store).promote("night", "iterations-20")
    assert catalogue.open("night").card.iterations == 20
    assert catalogue.styles()[0].card.iterations == 20

    # A page that is being served gives the promoted version, without a restart, and its preview is another.
    with serving(build_demo(catalogue)) as url:
        client = client_of(url)
        preview = catalogue.styles()[0].preview
        registry.Registry(store).promote("night", "iterations-10")
        assert client.predict(api_name="/styles")[0]["aliases"]["champion"] == "1"
        assert catalogue.styles()[0].preview != preview
        registry.Registry(store).promote("night", "iterations-20")
        assert client.predict(api_name="/styles")[0]["aliases"]["champion"] == "2"

    # A store that hangs is not waited for; one that fails: what is known is still served, and said to be old.
    versions, hanging = catalogue._registry.versions, threading.Event()  # type: ignore[attr-defined]
    catalogue._registry.versions = lambda: (hanging.wait(300), versions())[1]  # type: ignore[attr-defined]
    with monkeypatch.context() as impatient:
        impatient.setattr("demo.services.registry_catalogue.PATIENCE", 0.05)
        assert catalogue.open("night").card.iterations == 20
    hanging.set()
    catalogue._reading.join()  # type: ignore[attr-defined]

    def fail() -> None:
        raise StylecoreError("the database is gone.")

    catalogue._registry.versions = fail  # type: ignore[attr-defined]
    assert catalogue.open("night").card.iterations == 20
    assert "the styles read before are served" in catalogue.notice


def test_the_first_reading_is_waited_for_by_all(catalogue: BundleCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page asks by a lock of its own, so its request may come while the server itself is reading."""
    begun, go_on, registry = threading.Event(), threading.Event(), RegistryCatalogue("sqlite:///unused.db")

    def read() -> None:
        begun.set()
        go_on.wait(60)
        registry._known = catalogue._entries()

    monkeypatch.setattr(registry, "_read", read)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(registry._entries)
        begun.wait(60)
        second = pool.submit(registry._entries)
        wait([second], timeout=0.05)
        go_on.set()
        assert first.result() == second.result() == catalogue._entries()


def test_an_empty_registry_says_how_to_get_styles(store: str) -> None:
    pytest.importorskip("training.registry")
    catalogue = RegistryCatalogue(store)
    assert catalogue.styles() == []
    assert "training.registry restore" in catalogue.notice
    with pytest.raises(StylecoreError, match="There is no style yet"):
        catalogue.open("night")


def test_the_cards_title_falls_back_to_the_name(tmp_path: Path) -> None:
    catalogue = BundleCatalogue(write_bundle(tmp_path / "one", [(make_style(1, name="great_wave"), "1", [])]))
    assert catalogue.styles()[0].title == "Great wave"
    assert catalogue.styles()[0].default_version == "1"  # without a champion the newest
    assert json.loads((tmp_path / "one" / "manifest.json").read_text())["styles"][0]["aliases"] == []


def test_the_best_is_first_and_what_was_drawn_comes_last(tmp_path: Path) -> None:
    cards = {
        "arabesque": {"title": "Arabesque", "artist": "stylecore"},
        "zebra": {"title": "Zebra", "artist": "A. Painter"},
        "starry_night": {"title": "The Starry Night", "artist": "Vincent van Gogh"},
        "boats": {"title": "Boats", "artist": "A. Painter"},
    }
    models = [make_style(seed, name=name, **card) for seed, (name, card) in enumerate(cards.items())]
    bundle = write_bundle(tmp_path / "bundle", [(model, "1", ["champion"]) for model in models])
    styles = BundleCatalogue(bundle).styles()
    assert [style.name for style in styles] == ["starry_night", "boats", "zebra", "arabesque"]


def test_a_bundle_carries_the_paintings(tmp_path: Path) -> None:
    models = [make_style(1, name="night"), make_style(2, name="wave"), make_style(3, name="lost")]
    bundle = write_bundle(tmp_path / "bundle", [(model, "1", ["champion"]) for model in models])
    save_picture(torch.rand(3, 400, 300), bundle / "night.jpg")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["styles"][0]["picture"] = "night.jpg"
    manifest["styles"][2]["picture"] = "../lost.jpg"  # there is none, and none outside the bundle is taken
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    catalogue = BundleCatalogue(bundle)
    assert catalogue.painting("night") == bundle / "night.jpg"
    assert catalogue.painting("wave") is None
    painted = {style.name: style.painting for style in catalogue.styles()}
    assert painted["wave"] is None
    assert painted["lost"] is None
    with Image.open(io.BytesIO(painted["night"] or b"")) as thumbnail:
        assert max(thumbnail.size) == 240
    cards = style_cards(catalogue.styles(), "night")
    assert cards.count('alt="The painting: Night"') == 1
    assert cards.count("The painting:") == 1
