"""Finding, promoting, exporting and republishing the registered styles, and the command line for it."""

import json
import runpy
import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient
from registered import own_registry, registry, train  # noqa: F401 - fixtures
from tracked_runs import start_run

from demo.services.catalogue import BundleCatalogue, VersionRecord
from demo.services.registry_catalogue import RegistryCatalogue
from stylecore import library
from stylecore.errors import StylecoreError
from stylecore.files import file_sha256
from stylecore.johnson.style_model import StyleModel
from training.registry import registry as registry_module
from training.registry.__main__ import main
from training.registry.bundle import write_bundle
from training.registry.published import folder_digest, publish_run
from training.registry.registry import Registry
from training.registry.restoring import restore_published
from training.tracking.delivery import words_of
from training.tracking.store import connect, fetch, folder_of_store


def test_versions_say_what_they_are(registry: Registry):
    versions = registry.versions()
    assert [(v.name, v.version, v.iterations, v.run_name, v.aliases) for v in versions] == [
        ("tiny_stars", "1", 10, "stars-a", ("champion", "iterations-10")),
        ("tiny_waves", "1", 10, "waves-a", ("champion", "iterations-10")),
        ("tiny_waves", "2", 20, "waves-a", ("iterations-20",)),
    ]
    assert registry.versions("tiny_stars") == versions[:1]
    assert registry.versions("missing") == []
    assert registry.card(versions[2]).iterations == 20
    assert registry.card(versions[2]).title == "Tiny waves"


def test_models_of_other_people_and_other_trainings_are_left_out(own_registry: Registry, store: str, tmp_path: Path):
    client = connect(store)
    for name, tags in {"forest": {}, "xgb.churn": {"iterations": "500"}}.items():
        client.create_registered_model(name)
        client.create_model_version(name, tmp_path.as_uri(), tags=tags)
        client.set_registered_model_alias(name, "champion", "1")
    other = start_run(run_name="classifier")
    (tmp_path / "weights.bin").write_bytes(b"weights")
    other.log_checkpoint(tmp_path / "weights.bin", 10)
    other.finish()
    assert client.get_registered_model("classifier").aliases["champion"]
    assert {version.name for version in own_registry.versions()} == {"tiny_stars", "tiny_waves"}
    manifest = json.loads(write_bundle(own_registry, tmp_path / "bundle").read_text())
    assert [style["name"] for style in manifest["styles"]] == ["tiny_stars", "tiny_waves"]
    # One that somebody added to a style by hand has no number of iterations, and does not become its champion.
    client.create_model_version("tiny_waves", tmp_path.as_uri())
    with pytest.raises(StylecoreError, match="no version 3; it has version 1"):
        own_registry.promote("tiny_waves", "3", reason="Faces stay faces")
    assert own_registry.find("tiny_waves").version == "1"


def test_a_version_of_before_kinds_were_noted_is_a_style(own_registry: Registry, store: str):
    connect(store).delete_model_version_tag("tiny_stars", "1", "kind")
    assert own_registry.find("tiny_stars").iterations == 10


def test_a_version_that_arrives_slowly_holds_up_no_other(registry: Registry, monkeypatch: pytest.MonkeyPatch):
    other_is_there = threading.Event()

    def slowly(client: MlflowClient, uri: str, into: Path) -> Path:
        if uri.endswith("tiny_stars.safetensors"):
            assert other_is_there.wait(200)
        return fetch(client, uri, into)

    slow, quick = registry.find("tiny_stars"), registry.find("tiny_waves")
    monkeypatch.setattr(registry_module, "fetch", slowly)
    with ThreadPoolExecutor() as threads:
        stars = threads.submit(registry.weights, slow)
        assert threads.submit(registry.weights, quick).result().name == "tiny_waves.safetensors"
        other_is_there.set()
        assert stars.result().name == "tiny_stars.safetensors"


@pytest.mark.parametrize(
    ("reference", "iterations"),
    [
        ("tiny_waves", 10),
        ("tiny_waves@champion", 10),
        ("models:/tiny_waves@iterations-20", 20),
        ("tiny_waves/2", 20),
        ("models:/tiny_waves/1", 10),
        (" tiny_waves/02 ", 20),
    ],
)
def test_references_resolve_to_files(registry: Registry, reference: str, iterations: int):
    assert StyleModel.load(registry.resolve(reference)).card.iterations == iterations


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("missing", r"no style 'missing'; it has tiny_stars, tiny_waves"),
        ("tiny_waves@best", r"no alias 'best'; it has version 1 \(champion, iterations-10\); version 2"),
        ("tiny_waves/9", r"no version 9"),
        ("../etc/passwd", r"does not name a style"),
        ("models:/m-0123/x/y", r"does not name a style"),
        ("a'b", r"does not name a style"),
    ],
)
def test_wrong_references_say_what_there_is(registry: Registry, reference: str, message: str):
    with pytest.raises(StylecoreError, match=message):
        registry.resolve(reference)


def test_an_empty_registry_says_how_to_fill_it(store: str):
    with pytest.raises(StylecoreError, match=r"empty; `python -m training\.registry restore`"):
        Registry().resolve("tiny_waves")


def test_files_that_were_moved_away_are_named(own_registry: Registry, tmp_path: Path):
    shutil.rmtree(tmp_path / "store" / "artifacts")
    with pytest.raises(StylecoreError, match=r"which is not there: its files were moved"):
        Registry().resolve("tiny_waves")


def test_files_that_a_server_keeps_need_the_server(own_registry: Registry, store: str):
    client = connect(store)
    first = client.get_model_version("tiny_waves", "1")
    files = "mlflow-artifacts:/1/models/m-1/artifacts"
    client.create_model_version("tiny_waves", files, run_id=first.run_id, tags=first.tags)
    with pytest.raises(StylecoreError, match="set MLFLOW_TRACKING_URI to that server"):
        own_registry.resolve("tiny_waves/3")


def test_promoting_moves_the_alias(own_registry: Registry):
    assert own_registry.promote("tiny_waves", "iterations-20").aliases == ("champion", "iterations-20")
    assert own_registry.find("tiny_waves").version == "2"
    assert own_registry.promote("tiny_waves", "1", alias="candidate").aliases == ("candidate", "iterations-10")
    with pytest.raises(StylecoreError, match="reserved"):
        own_registry.promote("tiny_waves", "1", alias="latest")
    with pytest.raises(StylecoreError, match="no version 3"):
        own_registry.promote("tiny_waves", "3")


def test_a_bundle_is_complete_and_replaces_another(own_registry: Registry, tmp_path: Path):
    out = tmp_path / "deep" / "bundle"
    manifest = json.loads(write_bundle(own_registry, out).read_text())
    assert manifest["format"] == "stylecore.bundle/1"
    assert [style["name"] for style in manifest["styles"]] == ["tiny_stars", "tiny_waves"]
    for style in manifest["styles"]:
        model = StyleModel.load(out / style["file"])
        assert json.loads(model.card.to_json()) == style["card"]
        assert style["iterations"] == model.card.iterations
    own_registry.promote("tiny_waves", "iterations-20")
    write_bundle(own_registry, out, names=["tiny_waves"])
    (style,) = json.loads((out / "manifest.json").read_text())["styles"]
    assert {path.name for path in out.iterdir()} == {"manifest.json", "tiny_waves.safetensors", style["picture"]}
    assert StyleModel.load(out / "tiny_waves.safetensors").card.iterations == 20
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


def test_a_visitors_style_is_neither_shown_nor_deployed_unasked(own_registry: Registry, store, tmp_path, tiny_style):
    train(tiny_style, run_name="visit", style="taught_secret_1", steps=(10,))
    shown = ["tiny_stars", "tiny_waves"]
    assert [entry.name for entry in RegistryCatalogue(store).styles()] == shown
    registry = Registry(store)
    for every in (False, True):
        manifest = json.loads(write_bundle(registry, tmp_path / "bundle", all_versions=every).read_text())
        assert sorted({style["name"] for style in manifest["styles"]}) == shown
    named = json.loads(write_bundle(registry, tmp_path / "bundle", names=["taught_secret_1"]).read_text())
    assert [style["name"] for style in named["styles"]] == ["taught_secret_1"]


def test_a_bundle_of_all_versions_is_served_as_the_registry_is(own_registry: Registry, store: str, tmp_path: Path):
    client = connect(store)
    evaluated = {"eval/equivalent_gatys_iterations": 31.5, "eval/total_64": 9.0}  # there without its parts
    evaluated |= {"eval/total_256": 3.0, "eval/content_256": 2.0, "eval/style_256": 1.0}
    own_registry.log_evaluation(own_registry.find("tiny_waves/2"), evaluated)
    client.create_registered_model("nameless")  # no alias: not meant to be shown
    stars = client.get_model_version("tiny_stars", "1")
    client.create_model_version("nameless", stars.source, run_id=stars.run_id, tags=stars.tags)
    manifest = json.loads(write_bundle(own_registry, tmp_path / "bundle", all_versions=True).read_text())
    assert [(v["name"], v["version"], v["aliases"], v["run_name"]) for v in manifest["styles"]] == [
        ("tiny_stars", "1", ["champion", "iterations-10"], "stars-a"),
        ("tiny_waves", "1", ["champion", "iterations-10"], "waves-a"),
        ("tiny_waves", "2", ["iterations-20"], "waves-a"),
    ]
    catalogue = BundleCatalogue(tmp_path / "bundle")
    assert catalogue.open("tiny_waves").card.iterations == 10
    assert catalogue.open("tiny_waves", "2").card.iterations == 20
    assert catalogue.find("tiny_waves").versions == ("2", "1")
    assert [entry.run_name for entry in catalogue.versions("tiny_waves")] == ["waves-a", "waves-a"]
    record = catalogue.record("tiny_waves", "2")
    assert record == VersionRecord(31.5, losses={"total": 3.0, "content": 2.0, "style": 1.0}, losses_size=256)
    served = RegistryCatalogue(store)
    for one in (catalogue, served):  # both know the picture that the style was trained on
        painting = one.painting("tiny_waves")
        assert painting is not None
        assert file_sha256(painting) == file_sha256(own_registry.style_picture(own_registry.find("tiny_waves")))
        assert all(entry.painting for entry in one.styles() if entry.name != "nameless")
    assert served.find("tiny_waves").default_version == "1"
    assert served.record("tiny_waves", "2") == record
    assert catalogue.record("tiny_waves", "1") == VersionRecord()

    manifest = json.loads(
        write_bundle(own_registry, tmp_path / "bundle", ["tiny_waves"], all_versions=True).read_text()
    )
    assert {v["name"] for v in manifest["styles"]} == {"tiny_waves"}
    with pytest.raises(StylecoreError, match="no style 'missing'"):
        write_bundle(own_registry, tmp_path / "bundle", ["missing"], all_versions=True)


def test_an_export_touches_no_foreign_folder_and_leaves_the_old_bundle_on_failure(
    own_registry: Registry, store: str, tmp_path: Path
):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("mine")
    with pytest.raises(StylecoreError, match="is not a bundle"):
        write_bundle(own_registry, precious)
    bundle = tmp_path / "bundle"
    write_bundle(own_registry, bundle)
    before = folder_digest(bundle)
    client = connect(store)
    for name in ("tiny_stars", "tiny_waves"):
        client.delete_registered_model_alias(name, "champion")
    with pytest.raises(StylecoreError, match="no alias 'champion'"):
        write_bundle(own_registry, bundle, names=["tiny_stars"])
    with pytest.raises(StylecoreError, match="has no style with a champion"):
        write_bundle(own_registry, bundle)
    assert folder_digest(bundle) == before


def test_the_command_line_takes_the_network_that_was_promoted(
    own_registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = Path(folder_of_store(own_registry.tracking_uri) or "")
    for run_id in {version.run_id for version in own_registry.versions()}:
        publish_run(run_id, folder / "published", tracking_uri=own_registry.tracking_uri)
    monkeypatch.setattr(library, "LOCAL_STORE", folder)
    monkeypatch.delenv(library.STYLES_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)

    def answers() -> tuple[int | None, int]:
        return own_registry.find("tiny_waves").iterations, library.open_style("tiny_waves").card.iterations

    assert answers() == (10, 10)
    own_registry.promote("tiny_waves", "iterations-20")
    assert answers() == (20, 20)
    monkeypatch.setenv(library.STYLES_VARIABLE, str(folder / "published"))
    assert library.open_style("tiny_waves").card.iterations == 10, "what was promoted here is not in another library"


def test_a_champion_says_why_it_is_one_wherever_it_is_published(
    own_registry: Registry, new_store: Callable[[Path], str], tmp_path: Path
):
    version = own_registry.find("tiny_waves@iterations-20")
    client = connect(own_registry.tracking_uri)
    judged = {"eval/style_error_640": 0.1876, "eval/content_change_640": 1.1, "eval/judged_photos_640": 20.0}
    own_registry.log_evaluation(version, judged)
    own_registry.promote("tiny_waves", "iterations-20", reason="Faces stay faces")
    wanted = "Faces stay faces. The judge, at 640 pixels on 20 photos: style error 0.188, content change 1.1."
    description = client.get_model_version("tiny_waves", version.version).description
    assert words_of(description) == wanted
    assert "get-artifact?path=images%2Fpreview~amber%2Bstep%2B20" in description
    publish_run(version.run_id, tmp_path / "published", tracking_uri=own_registry.tracking_uri)
    other = new_store(tmp_path / "other")
    restore_published(tmp_path / "published", other)
    number = Registry(other).find("tiny_waves").version
    restored = connect(other).get_model_version("tiny_waves", number).description
    assert words_of(restored) == wanted


def test_the_command_line(own_registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "tiny_waves  1        10          waves-a  champion, iterations-10",
        "tiny_waves  2        20          waves-a  iterations-20",
    ]
    assert main(["promote", "tiny_waves", "2"]) == 0
    assert "tiny_waves/2 now has the aliases champion, iterations-20" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "bundle"), "--names", "tiny_waves"]) == 0
    assert (tmp_path / "bundle" / "manifest.json").is_file()
    run_id = own_registry.find("tiny_stars").run_id
    assert main(["publish", run_id, "--to", str(tmp_path / "published")]) == 0
    capsys.readouterr()
    assert main(["restore", "--from", str(tmp_path / "published")]) == 0
    there, runs = capsys.readouterr().out.splitlines()
    assert there == "stars-a: already there"
    assert runs.startswith("The runs in MLflow: http://127.0.0.1:5000/#/experiments/")


@pytest.mark.parametrize(
    "arguments",
    [["list", "missing"], ["promote", "missing", "1"], ["publish", "0" * 32], ["export", "out", "--names", "missing"]],
)
def test_the_command_line_answers_mistakes_with_one_sentence(store: str, arguments, capsys):
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1


def test_the_program_and_a_server_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("sys.argv", ["registry", "--tracking-uri", "http://someone:secret@127.0.0.1:9", "list"])
    monkeypatch.delitem(sys.modules, "training.registry.__main__")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("training.registry", run_name="__main__")
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "http://127.0.0.1:9 does not answer" in said.err.splitlines()[-1]
    assert "secret" not in said.err
    assert "Traceback" not in said.err
