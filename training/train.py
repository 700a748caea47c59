"""Train a transformation network as Johnson et al. (2016) do.

    accelerate launch training/train.py --recipe training/recipes/starry_night.yaml --photos FOLDER

The loop is `train`, readable from top to bottom. Every process runs it; the first one alone speaks to MLflow and
to the disk.
"""

import dataclasses
import math
import os
import shlex
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

if __package__ in (None, ""):  # run as a file, by `accelerate launch training/train.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from stylecore.engine import Engine
from stylecore.errors import StylecoreError
from stylecore.pictures import fit, load_picture
from stylecore.samples import sample_photos
from stylecore.style_model import StyleCard, StyleModel
from stylecore.transform_net import TransformNet
from stylecore.vgg_weights import find_weights, load_vgg
from training.config import TrainConfig, find_file, parse_config
from training.objective import style_targets, training_losses
from training.photos import PhotoCrops, batches, find_photos
from training.state import Progress, load_state, newest_state, read_progress, save_state
from training.tracker import Tracker, environment_tags

EXPERIMENT = "johnson"
PRINT_EVERY = 100
SATURATED = 1 / 255
"""A channel this near to black or white, or beyond, has burnt in."""


class Stopped(Exception):  # noqa: N818 (a request, not an error)
    """Someone asked the run to stop (SIGTERM, Ctrl-C); its state has been saved."""


def main() -> int:
    try:
        config, resume = parse_config()
        train(config, resume=resume == "auto")
    except StylecoreError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except Stopped as stopped:
        print(f"train.py: {stopped}", file=sys.stderr)
        return 143
    return 0


def train(config: TrainConfig, *, resume: bool = False) -> None:
    """Train one network, from scratch or on from its newest saved state.

    Raises:
        StylecoreError: when it cannot begin, cannot go on (disk, photos), or diverges.
        Stopped: after SIGTERM or Ctrl-C.
    """
    accelerator = Accelerator(
        cpu=config.cpu,
        mixed_precision=config.mixed_precision,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
    )
    _refuse_lost_processes(accelerator)
    torch.manual_seed(config.seed)

    photos = find_photos(config.photos)
    crops = PhotoCrops(photos, config.crop, config.smallest_crop, config.seed)
    memory_format = torch.channels_last if config.channels_last else torch.contiguous_format
    vgg_weights = find_weights("vgg16", weights=config.vgg_weights or None)
    vgg = load_vgg("vgg16", weights=config.vgg_weights or None).to(accelerator.device)
    vgg.to(memory_format=memory_format)
    style = load_picture(find_file(config.style_image)).pixels
    targets = style_targets(vgg, style.to(accelerator.device), config)

    network = initial_network(config).to(accelerator.device)
    network.to(memory_format=memory_format)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    saved = newest_state(config.folder) if resume else None
    _refuse_occupied(config.folder, resume)
    global_batch_size = config.batch_size * config.gradient_accumulation * accelerator.num_processes
    progress = Progress(0, "", global_batch_size)
    if saved:
        progress = read_progress(saved)
        if progress.global_batch_size != global_batch_size:
            raise StylecoreError(
                f"{saved} was trained with {progress.global_batch_size} photos an iteration, and this launch has "
                f"{global_batch_size}; change --batch-size, --gradient-accumulation or the number of processes."
            )
        load_state(saved, network, optimizer)
    # The frozen VGG stays out of `prepare`: it has nothing to synchronize.
    trained, optimizer = accelerator.prepare(network, optimizer)
    forward = torch.compile(trained) if config.compile else trained

    tracker = Tracker.silent()
    if accelerator.is_main_process:
        tracker = start_tracker(config, accelerator, len(photos), progress.run_id or None)
        progress = dataclasses.replace(progress, run_id=tracker.run_id)
    previews = preview_photos(config) if accelerator.is_main_process else {}
    if progress.iteration == 0:
        for name, pixels in previews.items():
            tracker.log_preview(name, pixels, 0)

    stop_requested = _listen_for_stop()
    stream = batches(
        crops,
        config.batch_size,
        first_batch=progress.iteration * config.gradient_accumulation,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        workers=config.workers,
    )
    unreadable: set[str] = set()
    started = saved_at = logged_at = time.monotonic()
    first_iteration = logged_iteration = progress.iteration
    network.train()
    try:
        for iteration in range(progress.iteration + 1, config.iterations + 1):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate_at(iteration)
            optimizer.zero_grad(set_to_none=True)
            losses: dict[str, Tensor] = {}
            for backward_pass in range(1, config.gradient_accumulation + 1):
                batch = next(stream)
                unreadable.update(batch.unreadable)
                content = batch.pixels.to(accelerator.device, memory_format=memory_format, non_blocking=True)
                last = backward_pass == config.gradient_accumulation
                with _synchronized(accelerator, trained, last):
                    with accelerator.autocast():
                        stylized = forward(content)
                    part = training_losses(vgg, content, stylized, targets, config, accelerator)
                    accelerator.backward(part["loss/total"] / config.gradient_accumulation)
                for name, value in part.items():
                    share = value.detach() / config.gradient_accumulation
                    losses[name] = losses[name] + share if name in losses else share
            gradient_norm = accelerator.clip_grad_norm_(trained.parameters(), config.gradient_clip or math.inf)
            optimizer.step()

            is_checkpoint = iteration in config.checkpoints or iteration == config.iterations
            if iteration % config.log_every == 0 or is_checkpoint or iteration == 1:
                values = {name: float(accelerator.reduce(value, "mean")) for name, value in losses.items()}
                _refuse_divergence(values, iteration)
                now = time.monotonic()
                values |= output_statistics(stylized.detach())
                values["opt/gradient_norm"] = float(gradient_norm)
                values["opt/lr"] = config.learning_rate_at(iteration)
                values["perf/images_per_second"] = (
                    (iteration - logged_iteration) * global_batch_size / max(now - logged_at, 1e-9)
                )
                values["data/images_seen"] = iteration * global_batch_size
                values["data/unreadable_files"] = len(unreadable)
                logged_at, logged_iteration = now, iteration
                tracker.log_metrics(values, iteration)
                if iteration % PRINT_EVERY == 0 or is_checkpoint or iteration == first_iteration + config.log_every:
                    seconds = (now - started) / (iteration - first_iteration)
                    accelerator.print(
                        f"iteration {iteration} of {config.iterations}: loss {values['loss/total']:.4g} "
                        f"(content {values['loss/content']:.4g}, style {values['loss/style']:.4g}), "
                        f"{seconds:.2f} s an iteration, {(config.iterations - iteration) * seconds / 60:.0f} min left",
                        flush=True,
                    )

            stop = _agreed(accelerator, bool(stop_requested))
            save_due = _agreed(accelerator, time.monotonic() - saved_at > config.save_minutes * 60)
            if is_checkpoint or save_due or stop:
                _refuse_divergence({name: float(value) for name, value in losses.items()}, iteration)
                progress = dataclasses.replace(progress, iteration=iteration)
                if accelerator.is_main_process:
                    save_state(config.folder, network, optimizer, progress)
                saved_at = time.monotonic()
            if is_checkpoint and accelerator.is_main_process:
                keep_checkpoint(config, network, iteration, values, vgg_weights.source, previews, tracker)
                network.train()
            if stop:
                raise Stopped(
                    f"stopped at iteration {iteration}; --resume auto goes on from the state in {config.folder}."
                )
        tracker.finish("FINISHED")
    except Stopped as stopped:
        tracker.finish("KILLED", str(stopped))
        raise
    except BaseException as error:
        tracker.finish("FAILED", str(error) or type(error).__name__)
        raise
    finally:
        accelerator.end_training()
    if unreadable:
        accelerator.print(f"{len(unreadable)} photos could not be read: {', '.join(sorted(unreadable)[:20])}")
    accelerator.print(f"done; the checkpoints are in {config.folder} and registered as {config.name}.")
    accelerator.print(f"compare the runs with `make mlflow-ui`, at {tracker.comparison_link()}")


def initial_network(config: TrainConfig) -> TransformNet:
    """A network with random weights, or with those of --init-from."""
    if not config.init_from:
        return TransformNet(config.network)
    path: Path | str = config.init_from
    if config.init_from.startswith("models:/"):
        from training.registry import Registry

        path = Registry().resolve(config.init_from)
    trained = StyleModel.load(path)
    if trained.card.network != config.network:
        raise StylecoreError(
            f"--init-from {config.init_from} has another form of network than this run "
            f"({trained.card.network.residual_blocks} residual blocks); give both the same settings."
        )
    return trained.network


@torch.no_grad()
def output_statistics(stylized: Tensor) -> dict[str, float]:
    """Least, largest and mean value of a batch, and the share of values burnt in to black or white."""
    saturated = (stylized <= SATURATED) | (stylized >= 1 - SATURATED)
    return {
        "output/min": float(stylized.min()),
        "output/max": float(stylized.max()),
        "output/mean": float(stylized.float().mean()),
        "output/saturated_share": float(saturated.float().mean()),
    }


def keep_checkpoint(
    config: TrainConfig,
    network: TransformNet,
    iteration: int,
    values: dict[str, float],
    vgg_source: str,
    previews: dict[str, Tensor],
    tracker: Tracker,
) -> None:
    """Write the style file, log the sample pictures, register the version."""
    losses = {name: value for name, value in values.items() if name.startswith("loss/")}
    card = StyleCard(
        name=config.name,
        title=config.title,
        artist=config.artist,
        year=config.year,
        credit=config.credit,
        license=config.license,
        network=network.config,
        training={key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(config).items()},
        iterations=iteration,
        dataset=Path(config.photos).name or config.photos,
        vgg=vgg_source,
        losses=losses,
        git_commit=environment_tags(1, "").get("git_commit", ""),
    )
    copy = TransformNet(network.config)
    copy.load_state_dict({name: value.detach().cpu() for name, value in network.state_dict().items()})
    model = StyleModel(copy, card)
    model.save(config.folder / f"iterations-{iteration}.safetensors")
    engine = Engine(model)
    for name, pixels in previews.items():
        tracker.log_preview(name, engine.stylize(pixels), iteration)
    tracker.log_checkpoint(model, iteration, losses)


def preview_photos(config: TrainConfig) -> dict[str, Tensor]:
    """Name to pixels of the photos to show at every checkpoint."""
    files = {Path(name).stem: find_file(name) for name in config.preview_photos} or sample_photos()
    return {name: fit(load_picture(file).pixels, config.preview_size) for name, file in files.items()}


def start_tracker(config: TrainConfig, accelerator: Accelerator, photo_count: int, run_id: str | None) -> Tracker:
    """Begin the MLflow run, or go on with `run_id`."""
    params = {
        key: " ".join(map(str, value)) if isinstance(value, tuple) else value
        for key, value in dataclasses.asdict(config).items()
    }
    params["global_batch_size"] = config.batch_size * config.gradient_accumulation * accelerator.num_processes
    command = f"accelerate launch training/train.py {shlex.join(sys.argv[1:])}"
    return Tracker.start(
        experiment=EXPERIMENT,
        run_name=config.run_name or config.name,
        params=params,
        tags=environment_tags(accelerator.num_processes, str(accelerator.device)),
        note=f"**{config.title or config.name}**, {config.artist} {config.year}\n\n```\n{command}\n```\n",
        dataset={"name": Path(config.photos).name or config.photos, "photos": str(photo_count)},
        run_id=run_id,
    )


def _refuse_lost_processes(accelerator: Accelerator) -> None:
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise StylecoreError(
            f"{launched} processes were launched, but each believes to be alone and would train by itself; on CPUs "
            "add --cpu: `accelerate launch --multi_gpu --num_processes 2 training/train.py --cpu`."
        )


def _refuse_occupied(folder: Path, resume: bool) -> None:
    if not resume and any(folder.glob("state-*.safetensors")):
        raise StylecoreError(
            f"{folder} already holds a run; go on with it by --resume auto, or choose another --run-name."
        )


def _refuse_divergence(losses: dict[str, float], iteration: int) -> None:
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise StylecoreError(
            f"training diverged: {bad[0]} is no longer a number at iteration {iteration}. "
            "The checkpoints and states saved before are good; lower --learning-rate or --style-weight."
        )


def _synchronized(accelerator: Accelerator, network: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Processes exchange their gradients once an optimizer step, at its last backward pass."""
    return nullcontext() if last else accelerator.no_sync(network)


def _agreed(accelerator: Accelerator, here: bool) -> bool:
    """Whether any process says so; all get the same answer."""
    if accelerator.num_processes == 1:
        return here
    return bool(accelerator.reduce(torch.tensor(float(here), device=accelerator.device), "sum") > 0)


def _listen_for_stop() -> list[int]:
    """A list that a termination signal makes non-empty, so that the loop ends at a step's end."""
    received: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, frame: received.append(signum))
    return received


if __name__ == "__main__":
    sys.exit(main())
