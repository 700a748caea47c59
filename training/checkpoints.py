"""The networks that a run keeps: style files in its folder, and the registered versions made from them.

A file is written first and told to the tracker then, so that a run that is killed between the two loses nothing: what
the folder has and the tracker was not told of, it is told when the run is resumed.
"""

import re
from pathlib import Path

from torch import Tensor

from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet
from stylecore.pictures.read import fit, load_picture
from stylecore.samples import sample_photos
from training import judge
from training.config import TrainConfig, find_file
from training.evaluate import evaluate_together, judge_network
from training.tracking.tracker import Tracker


def write_checkpoint(
    config: TrainConfig,
    network: TransformNet,
    iteration: int,
    values: dict[str, float],
    vgg_source: str,
    git_commit: str,
) -> None:
    """Write the network as iterations-<iteration>.safetensors; of `values` its card keeps the losses.

    `git_commit` is of the code that runs, not of what has been checked out since.

    Raises:
        StylecoreError: when it cannot be written (disk full, folder read-only).
    """
    card = StyleCard(
        name=config.name,
        title=config.title,
        artist=config.artist,
        year=config.year,
        credit=config.credit,
        license=config.license,
        network=network.config,
        training=config.for_card(),
        iterations=iteration,
        dataset=Path(config.photos).name or config.photos,
        vgg=vgg_source,
        losses={name: value for name, value in values.items() if name.startswith("loss/")},
        git_commit=git_commit,
        painted_side=config.painted_side,
    )
    StyleModel(copy_on_cpu(network), card).save(config.folder / f"iterations-{iteration}.safetensors")


def copy_on_cpu(network: TransformNet) -> TransformNet:
    """The network as it is now, while the one that is trained stays where it is."""
    copy = TransformNet(network.config)
    copy.load_state_dict({name: value.detach().cpu() for name, value in network.state_dict().items()})
    return copy


def register_checkpoints(config: TrainConfig, previews: dict[str, Tensor], tracker: Tracker) -> None:
    """Have the run's style files registered that were not yet told of, with their sample pictures."""
    for iteration, path in style_files(config.folder).items():
        if iteration in tracker.checkpoints:
            continue
        model = StyleModel.load(path)
        engine = Engine(model, runtime="torch")
        for name, pixels in previews.items():
            tracker.log_preview(name, engine.stylize(pixels), iteration)
        tracker.log_checkpoint(model, iteration, model.card.losses, path)


def style_files(folder: Path) -> dict[int, Path]:
    """The run's style files by their iterations."""
    named = ((re.fullmatch(r"iterations-(\d+)\.safetensors", path.name), path) for path in folder.glob("iterations-*"))
    files = {int(match[1]): path for match, path in named if match}
    return {iteration: files[iteration] for iteration in sorted(files)}


def evaluate_checkpoints(config: TrainConfig, tracker: Tracker, device: str) -> None:
    """Evaluate the networks of the run on the preview photos, log it with each, and print the tables.

    One optimization by the method of Gatys et al. a photo and a size serves all of them.
    """
    models = [StyleModel.load(path) for path in style_files(config.folder).values()]
    files = preview_files(config)
    if not models or not files or not config.evaluate_sizes:
        return
    photos = [(name, load_picture(file).pixels) for name, file in files.items()]
    evaluations = evaluate_together(models, photos, None, config.evaluate_sizes, device=device)
    for model, evaluation in zip(models, evaluations, strict=True):
        print(evaluation.table(), flush=True)
        judged = judge_network(model, photos, None, config.judge_sizes, device) if config.judge_sizes else []
        tracker.log_evaluation(evaluation.metrics() | judge.metrics(judged), evaluation.iterations)


def preview_files(config: TrainConfig) -> dict[str, Path]:
    """Name to file of the photos to show at every checkpoint."""
    return {Path(name).stem: find_file(name) for name in config.preview_photos} or sample_photos()


def preview_photos(config: TrainConfig) -> dict[str, Tensor]:
    """Name to pixels of these photos."""
    return {name: fit(load_picture(file).pixels, config.preview_size) for name, file in preview_files(config).items()}
