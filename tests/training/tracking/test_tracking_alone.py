"""The tracking stands alone: other projects may use it, and it knows nothing of styles."""

from pathlib import Path

import numpy as np
from tracked_runs import away

from stylecore.errors import StylecoreError
from training.tracking import TrackingError
from training.tracking.folders import sync
from training.tracking.store import connect
from training.tracking.values import ModelDescription


def test_its_errors_are_its_own() -> None:
    assert not issubclass(TrackingError, StylecoreError)


def test_any_file_of_weights_can_be_a_checkpoint(store: str, tmp_path: Path) -> None:
    weights = tmp_path / "epoch-3.bin"
    weights.write_bytes(b"weights")
    run = away(tmp_path)
    about = ModelDescription(
        "forest", "A forest of trees", "classifier", "trees", {"depth": "4"}, {"notes.txt": "oak"}
    )
    run.log_checkpoint(weights, np.int64(3), about, {"loss/total": 1.0})  # as steps of other libraries are
    run.log_evaluation({"eval/total": 2.0}, np.int64(3))
    weights.unlink()
    run.finish()
    sync(tmp_path)
    client = connect(store)
    version = client.get_model_version_by_alias("forest", "iterations-3")
    assert client.get_registered_model("forest").description == "A forest of trees"
    folder = Path(client.get_model_version_download_uri("forest", version.version).removeprefix("file://"))
    assert {path.name for path in folder.iterdir()} == {"MLmodel", "forest.bin", "notes.txt"}
    assert (folder / "forest.bin").read_bytes() == b"weights"
    (model,) = client.search_logged_models([client.get_experiment_by_name("johnson").experiment_id])
    assert {metric.key: metric.value for metric in model.metrics} == {"loss/total": 1.0, "eval/total": 2.0}
    assert (model.model_type, model.params) == ("classifier", {"iterations": "3", "depth": "4"})
