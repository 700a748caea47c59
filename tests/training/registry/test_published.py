"""Published runs: written and restored."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from registered import copy_store, train
from tracked_runs import start_run

from stylecore.errors import StylecoreError
from stylecore.files import file_sha256
from stylecore.johnson.style_model import StyleModel
from stylecore.library import ALIASES_FILE, write_alias
from training.registry.published import publish_run
from training.registry.registry import Measures, Registry
from training.registry.restoring import restore_published
from training.tracking.store import connect

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Trained:
    """A store with one run of two checkpoints, what is published of it, a store where that is restored, and a store
    with another run of this style."""

    store: str
    run_id: str
    published: Path
    restored: str
    by_hand: str


@pytest.fixture(scope="module")
def once(new_store: Callable[[Path], str], tmp_path_factory: pytest.TempPathFactory, tiny_style) -> Trained:
    """Made once, for copies."""
    folder = tmp_path_factory.mktemp("once")
    store, restored, by_hand = (new_store(folder / name) for name in ("store", "restored", "by_hand"))
    run_id = train(tiny_style, uri=store).run_id
    publish_run(run_id, folder / "published", tracking_uri=store)
    restore_published(folder / "published", restored)
    train(tiny_style, uri=by_hand, run_name="mine", steps=(30,))
    return Trained(store, run_id, folder / "published", restored, by_hand)


@pytest.fixture
def run_id(once: Trained, store: str) -> str:
    """The run, in this test's own store."""
    copy_store(once.store, store)
    return once.run_id


@pytest.fixture
def published(once: Trained, tmp_path: Path) -> Path:
    """What is published of it, in a folder that a test may change."""
    return shutil.copytree(once.published, tmp_path / "published")


@pytest.fixture
def restored(once: Trained, other_store: str) -> str:
    """A store in which it is restored."""
    copy_store(once.restored, other_store)
    return other_store


@pytest.fixture
def other_store(store: str, new_store: Callable[[Path], str], tmp_path: Path) -> str:
    """A second, empty store."""
    return new_store(tmp_path / "other")


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


def test_a_published_run_is_restored_as_it_was(run_id: str, store: str, other_store: str, tmp_path: Path):
    Registry(store).promote("tiny_waves", "2")
    folder = publish_run(run_id, tmp_path / "published")
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


def test_publishing_a_restored_run_writes_the_same_record(published: Path, restored: str, tmp_path: Path):
    first = published / "waves-a"
    run_id = Registry(restored).find("tiny_waves").run_id
    second = publish_run(run_id, tmp_path / "second", tracking_uri=restored)
    assert (second / "metrics.csv").read_bytes() == (first / "metrics.csv").read_bytes()
    records = [json.loads((folder / "run.json").read_text()) for folder in (first, second)]
    for record in records:
        for checkpoint in record["checkpoints"]:
            del checkpoint["sha256"]  # the order of a safetensors header is not fixed
        for preview in record["previews"]:
            preview.pop("sha256", None)  # of a photo that was compressed again
    assert records[0] == records[1]
    publish_run(run_id, published, tracking_uri=restored)  # over the old one
    assert len(list((published / "photos").iterdir())) == 1  # the same pixels: not compressed again
    assert sorted(path.name for path in published.iterdir()) == ["aliases.json", "photos", "waves-a"]


def test_a_photo_that_is_missing_or_another_is_named(store, other_store, tiny_style, tmp_path: Path):
    published = publish_run(train(tiny_style, run_name="photos", steps=(1,)).run_id, tmp_path / "published").parent
    assert (
        len([path for path in published.iterdir() if path.name not in ("photos", "aliases.json")]) == 1
    )  # no run takes their folder
    (photo,) = (published / "photos").iterdir()
    photo.write_bytes(b"another")
    with pytest.raises(StylecoreError, match=f"{photo.name} is missing or damaged"):
        restore_published(published, other_store)
    photo.unlink()
    with pytest.raises(StylecoreError, match=f"{photo.name} is missing or damaged"):
        restore_published(published, other_store)
    assert Registry(other_store).versions() == []


def test_an_interrupted_restore_is_done_again(published: Path, other_store: str, monkeypatch):
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


def test_what_a_person_deleted_is_not_restored(published: Path, restored: str):
    client = connect(restored)
    experiment = client.get_experiment_by_name("johnson").experiment_id
    (run,) = client.search_runs([experiment])
    client.delete_run(run.info.run_id)
    assert restore_published(published, restored) == []
    assert client.search_runs([experiment]) == []


def test_a_run_is_published_without_a_network_that_a_person_deleted(run_id: str, store: str, tmp_path: Path):
    client = connect(store)
    outputs = client.get_run(run_id).outputs.model_outputs
    client.delete_model_version("tiny_waves", "1")
    client.delete_logged_model(next(output.model_id for output in outputs if output.step == 10))
    folder = publish_run(run_id, tmp_path / "published")
    checkpoints = json.loads((folder / "run.json").read_text())["checkpoints"]
    assert [checkpoint["step"] for checkpoint in checkpoints] == [20]


def test_a_changed_folder_replaces_what_was_restored_but_no_promotion(once: Trained, published: Path, restored: str):
    publish_run(Registry(once.by_hand).find("tiny_waves").run_id, published, tracking_uri=once.by_hand)
    restore_published(published, restored)
    Registry(restored).promote("tiny_waves", "iterations-30")

    change_the_note(published / "waves-a", "another note")
    assert restore_published(published, restored) == ["waves-a"]
    versions = [(v.run_name, v.iterations, v.aliases) for v in Registry(restored).versions()]
    assert versions == [
        ("mine", 30, ("champion", "iterations-30")),
        ("waves-a", 10, ("iterations-10",)),
        ("waves-a", 20, ("iterations-20",)),
    ]


@pytest.mark.parametrize("chosen", [False, True])
def test_a_training_that_was_there_first_is_the_champion_only_if_someone_chose_it(
    chosen: bool, once: Trained, published: Path, other_store: str
):
    write_alias(published / ALIASES_FILE, "tiny_waves", "champion", "waves-a/20")
    copy_store(once.by_hand, other_store)
    if chosen:
        Registry(other_store).promote("tiny_waves", "1")
    restore_published(published, other_store)
    champion = Registry(other_store).find("tiny_waves")
    assert (champion.run_name, champion.iterations) == (("mine", 30) if chosen else ("waves-a", 20))
    assert Registry(other_store).find("tiny_waves@iterations-30").run_name == "mine"


def test_versions_that_someone_named_stay_when_their_folder_changes(
    published: Path, restored: str, caplog: pytest.LogCaptureFixture
):
    registry = Registry(restored)
    registry.promote("tiny_waves", "1")  # the other one was the champion
    before = registry.weights(registry.find("tiny_waves")).read_bytes()

    change_the_note(published / "waves-a", "another note")
    assert restore_published(published, restored) == ["waves-a"]
    assert "its old version tiny_waves/1 stays: it has the alias champion, given by hand" in caplog.text
    again = [("3", 10, ("iterations-10",)), ("4", 20, ("iterations-20",))]
    assert named_versions(restored) == [("1", 10, ("champion",)), *again]
    assert registry.weights(registry.find("tiny_waves")).read_bytes() == before
    assert registry.find("tiny_waves").iterations == 10
    assert restore_published(published, restored) == []

    registry.promote("tiny_waves", "4")  # nobody names the old one any more
    registry.promote("tiny_waves", "3", alias="fast")
    change_the_note(published / "waves-a", "a third note")
    restore_published(published, restored)
    assert named_versions(restored) == [
        ("3", 10, ("fast",)),
        ("4", 20, ("champion",)),
        ("5", 10, ("iterations-10",)),
        ("6", 20, ("iterations-20",)),
    ]


def change_the_note(folder: Path, note: str) -> None:
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"note": note}))


def named_versions(uri: str) -> list[tuple[str, int | None, tuple[str, ...]]]:
    return [(v.version, v.iterations, v.aliases) for v in Registry(uri).versions()]


def test_two_that_restore_at_once_make_one_run(published: Path, other_store: str):
    with ThreadPoolExecutor() as threads:
        said = list(threads.map(lambda _: restore_published(published, other_store), range(2)))
    assert sorted(said) == [[], ["waves-a"]]
    assert len(Registry(other_store).versions()) == 2


def test_damaged_published_runs_are_refused_before_the_store_changes(published: Path, other_store, tmp_path: Path):
    folder = published / "waves-a"
    weights = folder / "checkpoints" / "iterations-20.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])
    with pytest.raises(StylecoreError, match=r"iterations-20\.safetensors is missing or damaged"):
        restore_published(folder.parent, other_store)
    weights.unlink()
    with pytest.raises(StylecoreError, match=r"iterations-20\.safetensors is missing or damaged"):
        restore_published(folder.parent, other_store)
    weights.write_bytes(whole)
    (folder / "run.json").write_text("{")
    with pytest.raises(StylecoreError, match="cannot be read"):
        restore_published(folder.parent, other_store)
    assert connect(other_store).get_experiment_by_name("johnson") is None
    assert restore_published(tmp_path / "nowhere", other_store) == []


def test_the_load_of_the_machine_is_not_published(store: str, tmp_path: Path):
    run = start_run(experiment="gatys", run_name="town")
    run.log({"system/cpu_utilization_percentage": 50.0, "loss/total": 2.0}, 1)
    run.finish()
    lines = (publish_run(run.run_id, tmp_path) / "metrics.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["key", "loss/total"]


def test_a_running_run_is_not_published(store: str, tmp_path: Path):
    run = start_run()
    with pytest.raises(StylecoreError, match="is running"):
        publish_run(run.run_id, tmp_path)
    run.finish()


def test_a_version_knows_its_evaluation_and_the_page_of_its_run(run_id: str, store: str) -> None:
    registry = Registry(store)
    first, second = registry.versions("tiny_waves")
    assert registry.measures(first) == Measures(None, 0, {}, 0, {})
    for value in (7.5, 8.5):  # evaluated again
        registry.log_evaluation(second, {"eval/equivalent_gatys_iterations": value})
    assert registry.measures(second).gatys_iterations == 8.5
    assert registry.run_page(first) == ""  # nothing shows a database
    page = registry.run_page(first, "http://localhost:5000/")
    experiment = connect(store).get_run(run_id).info.experiment_id
    assert page == f"http://localhost:5000/#/experiments/{experiment}/runs/{run_id}"
