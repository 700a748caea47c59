"""The networks of a run: the trained ones that it begins with, and its checkpoints, style files in its folder and
registered versions made from them.

A file is written first and logged to the tracker afterwards. When a run is killed between the two, the resumed run
logs the file.
"""

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.inference.engine import Engine
from stylecore.johnson.style_model import StyleCard, StyleModel
from stylecore.johnson.transform_net import TransformNet
from stylecore.pictures.read import fit, load_picture
from stylecore.pictures.write import to_image
from stylecore.samples import sample_photos
from training.config import TrainConfig, find_file
from training.evaluation import evaluate, find_candidate
from training.registry.versions import description_of, log_preview
from training.state import Clock
from training.tracking import JournaledTracker
from training.tracking.environment import default_tracking_uri, environment_tags
from training.tracking.journal_files import numbered

NOTE_PICTURE = 384
"""Longest side in pixels of the style picture in the run's note."""
EXPERIMENT = "johnson"


@dataclass(frozen=True)
class Caller:
    """The program that trains: train.py itself, a search or a comparison (training.experiments), or a lesson.

    Attributes:
        command: the command, or the recipe, that trains with the same settings; that of train.py when left out.
        tags: of the MLflow run.
        evaluate: called by the first process at every checkpoint, with the network and the iteration; its exceptions
            end the training. Networks that it evaluates are not registered.
        watch: called by the first process after every step, with the network, the iteration, the losses and the clock.
    """

    command: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    evaluate: Callable[[JournaledTracker, TransformNet, int], None] | None = None
    watch: Callable[[TransformNet, int, Mapping[str, Tensor], Clock], None] | None = None


def initial_network(config: TrainConfig) -> TransformNet:
    """A network with random weights, or with the weights of --init-from."""
    if not config.init_from:
        return TransformNet(config.network)
    trained = trained_style(config.init_from)
    if not trained.card.network.same_form(config.network):
        raise StylecoreError(
            f"--init-from {config.init_from} is a network of another form than this run's "
            f"({trained.card.network.residual_blocks} residual blocks); give both the same settings."
        )
    network = TransformNet(config.network)
    network.load_state_dict(trained.network.state_dict())
    return network


def trained_style(reference: str) -> StyleModel:
    """The style of a file or of a models:/ URI: of the registry, or else of the published files beside it."""
    if reference.startswith("models:/"):
        return find_candidate(reference).model
    return StyleModel.load(find_file(reference))


def style_of(config: TrainConfig, network: TransformNet, iteration: int, **about: Any) -> StyleModel:
    """A copy of the network with its present weights, on the CPU; `about` are more fields of its card."""
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
        painted_side=config.painted_side,
        **about,
    )
    copy = TransformNet(network.config)
    copy.load_state_dict({name: value.detach().cpu() for name, value in network.state_dict().items()})
    return StyleModel(copy, card)


def register_checkpoints(config: TrainConfig, previews: dict[str, Tensor], tracker: JournaledTracker) -> None:
    """Register the style files of the run that are not registered yet, with their sample pictures."""
    for iteration, path in style_files(config.folder).items():
        if iteration in tracker.checkpoints:
            continue
        model = StyleModel.load(path)
        engine = Engine(model, runtime="torch")
        for name, pixels in previews.items():
            log_preview(tracker, name, engine.stylize(pixels), iteration)
        tracker.log_checkpoint(path, iteration, description_of(model.card), model.card.losses, unchanging=True)


def style_files(folder: Path) -> dict[int, Path]:
    """Iterations to style file of a run."""
    return numbered(folder, r"iterations-(\d+)\.safetensors")


def evaluate_checkpoints(config: TrainConfig, tracker: JournaledTracker, device: str) -> None:
    """Evaluate the networks of the run on the preview photos, log the metrics with each, and print the tables.

    All networks share one optimization by the method of Gatys et al. for each photo and size.
    """
    models = [StyleModel.load(path) for path in style_files(config.folder).values()]
    # Those from before a resume with other losses cannot be compared with the last one.
    models = [model for model in models if model.card.objective == models[-1].card.objective]
    photos = list(preview_photos(config)) if config.evaluate_sizes else []
    if not models or not photos:
        return
    evaluations = evaluate(
        models,
        photos,
        sizes=config.evaluate_sizes,
        gatys_iterations=config.gatys_iterations,
        judge_sizes=config.judge_sizes,
        device=device,
    )
    for evaluation in evaluations:
        print(evaluation.table(), flush=True)
        tracker.log_evaluation(evaluation.metrics(), evaluation.iterations)


def preview_photos(config: TrainConfig) -> Iterator[tuple[str, Tensor]]:
    """Name and pixels (3, H, W) of the photos that are stylized at every checkpoint."""
    files = {Path(name).stem: find_file(name) for name in config.preview_photos} or sample_photos()
    for name, file in files.items():
        yield name, load_picture(file).pixels


def tracker_of(config: TrainConfig) -> JournaledTracker:
    """The tracker of a new run in the run's folder."""
    return JournaledTracker(
        config.folder,
        experiment=EXPERIMENT,
        run_name=config.run_name or config.name,
        tracking_uri=default_tracking_uri(),
        resume=False,
        end_seconds=config.end_seconds,
    )


def begin_run(
    config: TrainConfig,
    accelerator: Accelerator,
    tracker: JournaledTracker,
    photos: dict[str, str],
    style: Tensor,
    caller: Caller,
) -> None:
    """Begin the MLflow run, or continue the run `tracker.resume`, in the main process."""
    global_batch_size = config.batch_size * config.gradient_accumulation * accelerator.num_processes
    device = accelerator.device.type
    if device == "cuda":
        device += f" ({torch.cuda.get_device_name(accelerator.device)})"
    tags = environment_tags(accelerator.num_processes, device)
    about = ", ".join(part for part in (config.artist, config.year) if part)
    command = caller.command or command_line(accelerator.num_processes, tags)
    accelerator.init_trackers(EXPERIMENT, {**dataclasses.asdict(config), "global_batch_size": global_batch_size})
    tracker.describe(
        tags={**tags, **caller.tags},
        note=f"**{config.title or config.name}** {about}\n\n```\n{command}\n```\n",
        note_image=to_image(fit(style, NOTE_PICTURE)),
        dataset=photos,
    )


def command_line(processes: int, tags: dict[str, str]) -> str:
    """The command that repeats this run, in the repository."""
    nodes = max(1, processes // int(os.environ.get("LOCAL_WORLD_SIZE", processes)))
    launch = ["accelerate", "launch", "--num_processes", str(processes), "--num_machines", str(nodes)]
    launch += ["--multi_gpu"] if processes > 1 else []
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # train.py's own flags decide
    dirty = "  # with uncommitted changes" if tags.get("git_dirty") == "true" else ""
    return f"git checkout {tags['git_commit']}{dirty}\n{shlex.join([*launch, 'training/train.py', *sys.argv[1:]])}"
