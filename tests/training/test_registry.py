"""Finding, promoting, exporting and republishing the registered styles."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from demo.services.catalogue import BundleCatalogue, RunRecord
from demo.services.registry_catalogue import RegistryCatalogue
from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleModel
from training.registry import Registry, publish_run, restore_published
from training.registry.__main__ import main
from training.registry.published import folder_digest
from training.tracking.delivery import file_sha256
from training.tracking.store import connect
from training.tracking.tracker import Tracker

REPOSITORY = Path(__file__).resolve().parents[2]


def train(
    tiny_style, run_name: str = "waves-a", style: str = "tiny_waves", steps=(10, 20), uri: str | None = None
) -> Tracker:
    """What a training run leaves behind, without training."""
    run = Tracker.start(
        experiment="johnson",
        run_name=run_name,
        params={"style_weight": 1e10, "seed": 7},
        tags={"git_commit": "abc"},
        note="a *note*",
        style=torch.rand(3, 8, 12),
        dataset={"name": "photos", "source": "/data/photos"},
        tracking_uri=uri,
        system_metrics=False,
    )
    for step in range(max(steps) + 1):
        run.log_metrics({"loss/total": 1 / (step + 3), "opt/lr": 1e-3}, step)
    for step in (0, *steps):
        run.log_preview("amber", torch.full((3, 8, 12), step / 40), step)
    for step in steps:
        run.log_checkpoint(tiny_style(style, step), step, {"eval/total": 1 / step})
    run.finish()
    return run


def train_two_styles(uri: str, tiny_style) -> Registry:
    """tiny_waves with two versions, the first of them promoted, and tiny_stars with one."""
    train(tiny_style, uri=uri)
    Registry(uri).promote("tiny_waves", "1")
    train(tiny_style, uri=uri, run_name="stars-a", style="tiny_stars", steps=(10,))
    return Registry(uri)


@pytest.fixture(scope="module")
def registry(migrated_store: Path, tmp_path_factory: pytest.TempPathFactory, tiny_style) -> Registry:
    """Two styles, for tests that only read."""
    file = tmp_path_factory.mktemp("registry") / "mlflow.db"
    shutil.copyfile(migrated_store, file)
    return train_two_styles(f"sqlite:///{file}", tiny_style)


@pytest.fixture
def own_registry(store: str, tiny_style) -> Registry:
    """Two styles, for tests that change something."""
    return train_two_styles(store, tiny_style)


@pytest.fixture
def other_store(store: str, migrated_store: Path, tmp_path: Path) -> str:
    """A second, empty store."""
    (tmp_path / "other").mkdir()
    shutil.copyfile(migrated_store, tmp_path / "other" / "mlflow.db")
    return f"sqlite:///{tmp_path}/other/mlflow.db"


def test_versions_say_what_they_are(registry: Registry):
    versions = registry.versions()
    assert [(v.name, v.version, v.iterations, v.run_name, v.aliases) for v in versions] == [
        ("tiny_stars", "1", 10, "stars-a", ("champion", "iterations-10")),
        ("tiny_waves", "1", 10, "waves-a", ("champion", "iterations-10")),
        ("tiny_waves", "2", 20, "waves-a", ("iterations-20",)),
    ]
    assert registry.versions("tiny_stars") == versions[:1]
    assert registry.versions("missing") == []
    assert versions[2].card.iterations == 20
    assert versions[2].card.title == "Tiny waves"


def test_other_people_s_models_are_left_out(own_registry: Registry, store: str, tmp_path: Path):
    client = connect(store)
    client.create_registered_model("forest")
    client.create_model_version("forest", tmp_path.as_uri())
    assert {version.name for version in own_registry.versions()} == {"tiny_stars", "tiny_waves"}


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
    client.create_model_version("tiny_waves", "mlflow-artifacts:/1/models/m-1/artifacts", tags={"iterations": "5"})
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


def test_a_bundle_is_complete_and_replaces_another(registry: Registry, tmp_path: Path):
    out = tmp_path / "deep" / "bundle"
    manifest = json.loads(registry.export(out).read_text())
    assert manifest["format"] == "stylecore.bundle/1"
    assert [style["name"] for style in manifest["styles"]] == ["tiny_stars", "tiny_waves"]
    for style in manifest["styles"]:
        model = StyleModel.load(out / style["file"])
        assert json.loads(model.card.to_json()) == style["card"]
        assert style["iterations"] == model.card.iterations
    registry.export(out, names=["tiny_waves"], alias="iterations-20")
    assert {path.name for path in out.iterdir()} == {"manifest.json", "tiny_waves.safetensors"}
    assert StyleModel.load(out / "tiny_waves.safetensors").card.iterations == 20
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


def test_a_bundle_of_all_versions_is_served_as_the_registry_is(own_registry: Registry, store: str, tmp_path: Path):
    client = connect(store)
    client.log_metric(own_registry.find("tiny_waves").run_id, "eval/equivalent_gatys_iterations", 31.5, step=20)
    run_id = own_registry.find("tiny_waves").run_id
    for name, value in (("total", 3.0), ("content", 2.0), ("style", 1.0)):
        client.log_metric(run_id, f"eval/{name}_256", value, step=20)
    client.log_metric(run_id, "eval/total_64", 9.0, step=20)  # without its parts
    client.create_registered_model("nameless")  # no alias: not meant to be shown
    client.create_model_version("nameless", client.get_model_version_download_uri("tiny_stars", "1"))
    manifest = json.loads(own_registry.export(tmp_path / "bundle", all_versions=True).read_text())
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
    assert record == RunRecord(31.5, losses={"total": 3.0, "content": 2.0, "style": 1.0}, losses_size=256)
    served = RegistryCatalogue(store)
    assert served.find("tiny_waves").default_version == "1"
    assert served.record("tiny_waves", "2") == record
    assert catalogue.record("tiny_waves", "1") == RunRecord()

    manifest = json.loads(own_registry.export(tmp_path / "bundle", ["tiny_waves"], all_versions=True).read_text())
    assert {v["name"] for v in manifest["styles"]} == {"tiny_waves"}
    with pytest.raises(StylecoreError, match="no style 'missing'"):
        own_registry.export(tmp_path / "bundle", ["missing"], all_versions=True)


def test_an_export_touches_no_foreign_folder_and_leaves_the_old_bundle_on_failure(registry: Registry, tmp_path: Path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("mine")
    with pytest.raises(StylecoreError, match="is no bundle"):
        registry.export(precious)
    bundle = tmp_path / "bundle"
    registry.export(bundle)
    before = folder_digest(bundle)
    with pytest.raises(StylecoreError, match="no alias 'best'"):
        registry.export(bundle, names=["tiny_stars"], alias="best")
    with pytest.raises(StylecoreError, match="with the alias 'best'"):
        registry.export(bundle, alias="best")
    assert folder_digest(bundle) == before


def snapshot(uri: str) -> dict:
    """Everything a reader sees of the store's runs, but for ids and the marks of publication."""
    client = connect(uri)
    experiment = client.get_experiment_by_name("johnson")
    runs = {}
    for run in client.search_runs([experiment.experiment_id]):
        run_id = run.info.run_id
        runs[run.info.run_name] = {
            "info": (run.info.status, run.info.start_time, run.info.end_time),
            "params": run.data.params,
            "tags": {k: run.data.tags[k] for k in ("git_commit", "mlflow.source.name")},
            "note": run.data.tags["mlflow.note.content"].replace(run_id, "the run's own id"),
            "style": [file.path for file in client.list_artifacts(run_id, "style")],
            "metrics": {
                key: [(m.step, m.timestamp, float(f"{m.value:.9g}")) for m in client.get_metric_history(run_id, key)]
                for key in run.data.metrics
            },
            "images": sorted(
                file.path.rpartition("+")[0] for file in client.list_artifacts(run_id, "images") if ".png" in file.path
            ),
            "datasets": [
                (entry.dataset.name, entry.dataset.digest, Path(json.loads(entry.dataset.source)["uri"]).name)
                for entry in run.inputs.dataset_inputs
            ],
            "models": sorted(
                (
                    output.step,
                    sorted((m.key, m.step, m.timestamp) for m in client.get_logged_model(output.model_id).metrics),
                )
                for output in run.outputs.model_outputs
            ),
        }
    versions = [(v.name, v.iterations, v.run_name, v.aliases) for v in Registry(uri).versions()]
    return {"runs": runs, "versions": versions}


def test_a_published_run_is_restored_as_it_was(store: str, other_store: str, tiny_style, tmp_path: Path):
    run = train(tiny_style)
    Registry(store).promote("tiny_waves", "2")
    folder = publish_run(run.run_id, tmp_path / "published")
    assert folder.name == "waves-a"
    (dataset,) = json.loads((folder / "run.json").read_text())["datasets"]
    assert json.loads(dataset["source"]) == {"uri": "photos"}  # not the folder that it lay in
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "run.json",
        "metrics.csv",
        "style/picture.jpg",
        "checkpoints/iterations-10.safetensors",
        "checkpoints/iterations-20.safetensors",
        "previews/amber/10.jpg",
        "previews/amber/20.jpg",
    }
    (photo,) = (folder.parent / "photos").iterdir()  # which all runs have in common
    assert photo.name == f"amber-{file_sha256(photo)[:8]}.jpg"
    assert restore_published(folder.parent, other_store) == ["waves-a"]
    assert snapshot(other_store) == snapshot(store)

    assert restore_published(folder.parent, other_store) == []  # repeated
    assert restore_published(folder.parent, store) == []  # where it came from
    assert snapshot(other_store) == snapshot(store)

    original = StyleModel.load(Registry(store).resolve("tiny_waves")).network.state_dict()
    restored = StyleModel.load(Registry(other_store).resolve("tiny_waves")).network.state_dict()
    for name, weights in original.items():
        torch.testing.assert_close(restored[name], weights, rtol=1e-3, atol=1e-6)


def test_publishing_a_restored_run_writes_the_same_record(store: str, other_store: str, tiny_style, tmp_path: Path):
    first = publish_run(train(tiny_style).run_id, tmp_path / "first")
    restore_published(first.parent, other_store)
    run_id = Registry(other_store).find("tiny_waves").run_id
    second = publish_run(run_id, tmp_path / "second", tracking_uri=other_store)
    assert (second / "metrics.csv").read_bytes() == (first / "metrics.csv").read_bytes()
    records = [json.loads((folder / "run.json").read_text()) for folder in (first, second)]
    for record in records:
        for checkpoint in record["checkpoints"]:
            del checkpoint["sha256"]  # the order of a safetensors header is not fixed
        for preview in record["previews"]:
            preview.pop("sha256", None)  # of a photo that was compressed again
    assert records[0] == records[1]
    publish_run(run_id, first.parent, tracking_uri=other_store)  # over the old one
    assert len(list((first.parent / "photos").iterdir())) == 1  # the same pixels: not compressed again
    assert sorted(path.name for path in first.parent.iterdir()) == ["photos", "waves-a"]


def test_a_photo_that_is_missing_or_another_is_named(store, other_store, tiny_style, tmp_path: Path):
    published = publish_run(train(tiny_style, run_name="photos").run_id, tmp_path / "published").parent
    assert len([path for path in published.iterdir() if path.name != "photos"]) == 1  # no run takes their folder
    (photo,) = (published / "photos").iterdir()
    photo.write_bytes(b"another")
    with pytest.raises(StylecoreError, match=f"{photo.name} is missing or damaged"):
        restore_published(published, other_store)
    photo.unlink()
    with pytest.raises(StylecoreError, match=f"{photo.name} is missing or damaged"):
        restore_published(published, other_store)
    assert Registry(other_store).versions() == []


def test_an_interrupted_restore_is_done_again(store, other_store, tiny_style, tmp_path: Path, monkeypatch):
    published = publish_run(train(tiny_style).run_id, tmp_path / "published").parent
    from training.registry import restoring as module

    working, calls = module.register_checkpoint, []

    def interrupted(*arguments, **named):
        if calls:
            raise KeyboardInterrupt
        calls.append(named)
        return working(*arguments, **named)

    monkeypatch.setattr(module, "register_checkpoint", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore_published(published, other_store)
    assert len(Registry(other_store).versions()) == 1
    monkeypatch.undo()
    assert restore_published(published, other_store) == ["waves-a"]
    versions = [(v.iterations, v.aliases) for v in Registry(other_store).versions()]
    assert versions == [(10, ("iterations-10",)), (20, ("champion", "iterations-20"))]
    experiment = connect(other_store).get_experiment_by_name("johnson").experiment_id
    assert len(connect(other_store).search_runs([experiment])) == 1
    assert len(connect(other_store).search_logged_models([experiment])) == 2


def test_a_changed_folder_replaces_what_was_restored_but_no_promotion(store, other_store, tiny_style, tmp_path: Path):
    published = publish_run(train(tiny_style).run_id, tmp_path / "published").parent
    restore_published(published, other_store)
    by_hand = train(tiny_style, run_name="mine", steps=(30,))
    publish_run(by_hand.run_id, published)
    restore_published(published, other_store)
    Registry(other_store).promote("tiny_waves", "iterations-30")

    record = json.loads((published / "waves-a" / "run.json").read_text())
    record["note"] = "another note"
    (published / "waves-a" / "run.json").write_text(json.dumps(record))
    assert restore_published(published, other_store) == ["waves-a"]
    versions = [(v.run_name, v.iterations, v.aliases) for v in Registry(other_store).versions()]
    assert versions == [
        ("mine", 30, ("champion", "iterations-30")),
        ("waves-a", 10, ("iterations-10",)),
        ("waves-a", 20, ("iterations-20",)),
    ]


def test_two_that_restore_at_once_make_one_run(store, other_store, tiny_style, tmp_path: Path):
    published = publish_run(train(tiny_style).run_id, tmp_path / "published").parent
    with ThreadPoolExecutor() as threads:
        said = list(threads.map(lambda _: restore_published(published, other_store), range(2)))
    assert sorted(said) == [[], ["waves-a"]]
    assert len(Registry(other_store).versions()) == 2


def test_damaged_published_runs_are_refused_before_the_store_changes(store, other_store, tiny_style, tmp_path: Path):
    folder = publish_run(train(tiny_style).run_id, tmp_path / "published")
    weights = folder / "checkpoints" / "iterations-20.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])
    with pytest.raises(StylecoreError, match=r"iterations-20\.safetensors is damaged"):
        restore_published(folder.parent, other_store)
    weights.unlink()
    with pytest.raises(StylecoreError, match="cannot be read"):
        restore_published(folder.parent, other_store)
    weights.write_bytes(whole)
    (folder / "run.json").write_text("{")
    with pytest.raises(StylecoreError, match="cannot be read"):
        restore_published(folder.parent, other_store)
    assert connect(other_store).get_experiment_by_name("johnson") is None
    assert restore_published(tmp_path / "nowhere", other_store) == []


def test_the_load_of_the_machine_is_not_published(store: str, tmp_path: Path):
    run = Tracker.start(experiment="gatys", run_name="town", params={}, tags={}, system_metrics=False)
    run.log_metrics({"system/cpu_utilization_percentage": 50.0, "loss/total": 2.0}, 1)
    run.finish()
    lines = (publish_run(run.run_id, tmp_path) / "metrics.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["key", "loss/total"]


def test_a_running_run_is_not_published(store: str, tmp_path: Path):
    run = Tracker.start(experiment="johnson", run_name="r", params={}, tags={}, system_metrics=False)
    with pytest.raises(StylecoreError, match="still running"):
        publish_run(run.run_id, tmp_path)


def test_the_command_line(own_registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "tiny_waves  1        10          waves-a  champion, iterations-10",
        "tiny_waves  2        20          waves-a  iterations-20",
    ]
    assert main(["promote", "tiny_waves", "2"]) == 0
    assert "tiny_waves/2 now is champion, iterations-20" in capsys.readouterr().out
    assert main(["export", str(tmp_path / "bundle"), "--names", "tiny_waves"]) == 0
    assert (tmp_path / "bundle" / "manifest.json").is_file()
    run_id = own_registry.find("tiny_stars").run_id
    assert main(["publish", run_id, "--to", str(tmp_path / "published")]) == 0
    capsys.readouterr()
    assert main(["restore", "--from", str(tmp_path / "published")]) == 0
    assert capsys.readouterr().out == "stars-a: already there\n"


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


def test_the_program_and_a_server_that_does_not_answer():
    process = subprocess.run(
        [sys.executable, "-m", "training.registry", "--tracking-uri", "http://someone:secret@127.0.0.1:9", "list"],
        cwd=REPOSITORY,
        env=os.environ | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert process.stdout == ""
    last = process.stderr.splitlines()[-1]
    assert "http://127.0.0.1:9 does not answer" in last
    assert "secret" not in process.stderr
    assert "Traceback" not in process.stderr


def test_a_version_knows_its_evaluation_and_the_page_of_its_run(store: str, tiny_style) -> None:
    run = train(tiny_style, uri=store)
    registry = Registry(store)
    first, second = registry.versions("tiny_waves")
    assert registry.metric(first, "eval/total") == pytest.approx(1 / 10)
    assert registry.metric(second, "eval/total") == pytest.approx(1 / 20)
    assert registry.metric(first, "eval/nothing") is None
    assert registry.run_page(first) == ""  # nothing shows a database
    page = registry.run_page(first, "http://localhost:5000/")
    experiment = connect(store).get_run(run.run_id).info.experiment_id
    assert page == f"http://localhost:5000/#/experiments/{experiment}/runs/{run.run_id}"
