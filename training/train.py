"""Train a transformation network as Johnson et al. (2016) do.

    accelerate launch training/train.py --recipe training/recipes/starry_night.yaml --photos FOLDER

The loop is `train`, readable from top to bottom. Every process runs it; only the first one writes to MLflow and to the
disk.
"""

import argparse
import math
import os
import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):  # run as a file, by `accelerate launch training/train.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast, broadcast_object_list, gather_object
from torch import Tensor

from stylecore.errors import StylecoreError
from stylecore.johnson.transform_net import add_noise
from stylecore.pictures.read import fit, load_picture
from stylecore.vgg.weights import find_weights, load_vgg
from training.checkpoints import (
    Caller,
    begin_run,
    evaluate_checkpoints,
    initial_network,
    preview_photos,
    register_checkpoints,
    style_of,
    tracker_of,
    trained_style,
)
from training.command import Stopped, run_command
from training.config import TrainConfig, computed_precision, find_file, parse_config
from training.measures import output_statistics
from training.objective import losses_to_log, move, shift_at, style_targets, training_losses
from training.photos import batches, describe_photos, open_photos
from training.registry.versions import log_preview
from training.state import (
    Clock,
    Progress,
    State,
    load_state,
    new_optimizer,
    newest_state,
    save_state,
    set_learning_rate,
)
from training.tracking.environment import environment_tags

PRINT_EVERY = 100


class DivergedError(StylecoreError):
    """The loss is no longer a number."""


def main() -> int:
    """The command line; returns the exit status: 2 for a mistake of the user, after one sentence on stderr."""

    def run(options: argparse.Namespace) -> None:
        config, resume = parse_config()
        train(config, resume=resume == "auto")

    return run_command(run, argparse.Namespace())


def train(config: TrainConfig, *, resume: bool = False, caller: Caller | None = None) -> bool:
    """Train one network from its start or from its newest saved state, maybe for a caller other than `main`.

    Returns:
        Whether a termination signal came after the last iteration, while the caller evaluated: it stops then.

    Raises:
        StylecoreError: when it cannot begin, cannot go on (disk, photos, memory), or diverges.
        Stopped: after SIGTERM or Ctrl-C.
    """
    caller = caller or Caller()
    evaluate, watch = caller.evaluate, caller.watch
    wanted = config.mixed_precision
    config = replace(config, mixed_precision=computed_precision(wanted, config.cpu))
    tracker = tracker_of(config)
    accelerator = Accelerator(
        log_with=tracker,
        cpu=config.cpu,
        mixed_precision=config.mixed_precision,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)],
    )
    _refuse_lost_processes(accelerator)
    if config.mixed_precision != wanted:
        accelerator.print("this device has no bfloat16: training in float32")
    git_commit = environment_tags(1, "")["git_commit"]
    torch.manual_seed(config.seed)

    photos = open_photos(config.photos, config.streaming)
    memory_format = torch.channels_last  # faster on CPUs, and on GPUs with half precision
    vgg_weights = find_weights("vgg16", weights=config.vgg_weights or None)
    vgg = load_vgg("vgg16", weights=vgg_weights).to(accelerator.device)
    vgg.to(memory_format=memory_format)
    style = load_picture(find_file(config.style_image)).pixels
    targets = style_targets(vgg, style.to(accelerator.device), config)

    network = initial_network(config).to(accelerator.device)
    network.to(memory_format=memory_format)
    teacher = trained_style(config.teacher).network.requires_grad_(False) if config.teacher else None
    if teacher:
        teacher.to(accelerator.device).to(memory_format=memory_format)
    optimizer = new_optimizer(network, config)
    global_batch_size = config.batch_size * config.gradient_accumulation * accelerator.num_processes
    progress = Progress(0, "", global_batch_size)
    state = _open_folder(config, resume) if accelerator.is_main_process else None
    (state,) = broadcast_object_list([state])  # the other nodes need not see the folder
    if state:
        progress = state.progress
        if progress.global_batch_size != global_batch_size:
            raise StylecoreError(
                f"{state.path} was trained with {progress.global_batch_size} photos an iteration, and this launch has "
                f"{global_batch_size}; change --batch-size, --gradient-accumulation or the number of processes."
            )
        load_state(state, network, optimizer)
    # The frozen VGG stays out of `prepare`: it has nothing to synchronize.
    trained, optimizer = accelerator.prepare(network, optimizer)
    forward = torch.compile(trained) if config.compile else trained

    stream = batches(
        photos,
        config.batch_size,
        crop=config.crop,
        smallest_crop=config.smallest_crop,
        seed=config.seed,
        first_batch=progress.iteration * config.gradient_accumulation,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        workers=config.workers,
    )
    unreadable: set[str] = set()
    first_iteration = logged_iteration = progress.iteration
    network.train()
    stop_requested, handlers = _listen_for_stop()
    try:
        if accelerator.is_main_process:
            tracker.resume = progress.run_id
            begin_run(config, accelerator, tracker, describe_photos(photos, config.photos), style, caller)
        started = saved_at = logged_at = time.monotonic()
        shown = preview_photos(config) if accelerator.is_main_process else ()
        previews = {name: fit(pixels, config.preview_size) for name, pixels in shown}
        if progress.iteration == 0:
            for name, pixels in previews.items():
                log_preview(tracker, name, pixels, 0)
        elif accelerator.is_main_process and evaluate is None:
            register_checkpoints(config, previews, tracker)
        clock = Clock(config, progress.seconds)
        over = _of_first(accelerator, clock.share(progress.iteration))
        steadiness = torch.zeros((), device=accelerator.device)
        for iteration in range(progress.iteration + 1, config.iterations + 1):
            if over >= 1:  # a resumed run whose minutes were over
                break
            learning_rate = config.learning_rate_at(iteration, over)
            set_learning_rate(optimizer, learning_rate)
            optimizer.zero_grad(set_to_none=True)
            losses: dict[str, Tensor] = {}
            for passes_left in reversed(range(config.gradient_accumulation)):
                batch = next(stream)
                for name in sorted(set(batch.unreadable) - unreadable):
                    print(f"another photo replaces one that cannot be read: {name}", flush=True)
                unreadable.update(batch.unreadable)
                content = batch.pixels.to(accelerator.device, memory_format=memory_format, non_blocking=True)
                # Processes exchange their gradients once per optimizer step, at its last backward pass.
                with accelerator.no_sync(trained) if passes_left else nullcontext():
                    # These depend only on the iteration: they are the same in all processes and after a resume.
                    given = add_noise(content, config.input_noise, iteration)
                    shift = shift_at(iteration // config.steadiness_every)
                    moved = None
                    with accelerator.autocast():
                        if config.steadiness_weight and iteration % config.steadiness_every == 0:
                            stylized, moved = forward(torch.cat([given, move(given, shift)])).chunk(2)
                        else:
                            stylized = forward(given)
                        with torch.no_grad():
                            teacher_pixels = (
                                teacher(add_noise(content, teacher.config.input_noise, iteration)) if teacher else None
                            )
                    part = training_losses(
                        vgg, content, stylized, targets, config, accelerator, teacher_pixels, moved, shift
                    )
                    accelerator.backward(part["loss/total"] / config.gradient_accumulation)
                for name, value in part.items():
                    losses[name] = losses.get(name, 0) + value.detach() / config.gradient_accumulation
            gradient_norm = accelerator.clip_grad_norm_(trained.parameters(), config.gradient_clip or math.inf)
            _refuse_divergence(accelerator, losses, gradient_norm, iteration)
            optimizer.step()
            if config.steadiness_weight and config.steadiness_every > 1:
                losses = losses_to_log(losses, steadiness, config.steadiness_every)
                steadiness = losses["loss/steadiness"]

            if watch and accelerator.is_main_process:
                watch(network, iteration, losses, clock)
            over = _of_first(accelerator, clock.share(iteration))
            is_checkpoint = iteration in config.checkpoints or over >= 1
            if iteration % config.log_every == 0 or is_checkpoint or iteration == 1:
                means = accelerator.reduce(torch.stack(list(losses.values())), "mean").tolist()
                values = dict(zip(losses, means, strict=True))
                now = time.monotonic()
                values |= output_statistics(stylized.detach())
                values["opt/gradient_norm"] = float(gradient_norm)
                values["opt/lr"] = learning_rate
                photos_since = (iteration - logged_iteration) * global_batch_size
                values["perf/images_per_second"] = photos_since / max(now - logged_at, 1e-9)
                values["data/images_seen"] = iteration * global_batch_size
                values["data/unreadable_files"] = len(set(gather_object(sorted(unreadable))))
                logged_at, logged_iteration = now, iteration
                accelerator.log(values, step=iteration)
                if iteration % PRINT_EVERY == 0 or is_checkpoint or iteration == first_iteration + config.log_every:
                    seconds = (now - started) / (iteration - first_iteration)
                    accelerator.print(
                        f"iteration {iteration}{'' if config.minutes else f' of {config.iterations}'}: "
                        f"loss {values['loss/total']:.4g} "
                        f"(content {values['loss/content']:.4g}, style {values['loss/style']:.4g}), "
                        f"{seconds:.2f} s an iteration, {clock.seconds_left(iteration, seconds) / 60:.0f} min left",
                        flush=True,
                    )

            save_due = time.monotonic() - saved_at > config.save_minutes * 60
            stop, save_due = _agreed(accelerator, bool(stop_requested), save_due)
            if is_checkpoint or save_due or stop:
                # MLflow may give the run its id late.
                progress = replace(progress, iteration=iteration, run_id=tracker.run_id, seconds=clock.seconds)
                if accelerator.is_main_process:
                    # In this order, a resumed run repeats what a kill between two of these steps left out.
                    if is_checkpoint:
                        kept = {name: value for name, value in values.items() if name.startswith("loss/")}
                        about = {"losses": kept, "vgg": vgg_weights.source, "git_commit": git_commit}
                        file = config.folder / f"iterations-{iteration}.safetensors"
                        style_of(config, network, iteration, **about).save(file)
                    if is_checkpoint and evaluate:
                        evaluate(tracker, network, iteration)
                    save_state(config.folder, network, optimizer, progress)
                    if is_checkpoint and not evaluate:
                        register_checkpoints(config, previews, tracker)
                saved_at = time.monotonic()
            if stop and over < 1:
                raise Stopped(
                    f"stopped at iteration {iteration}; --resume auto continues from the state in {config.folder}."
                )
        if accelerator.is_main_process and evaluate is None:
            _stop_at_once(stop_requested, "its evaluation was stopped; --resume auto repeats it.")
            evaluate_checkpoints(config, tracker, str(accelerator.device))
            _stop_at_once(stop_requested, "not all of it has arrived in MLflow.")
        tracker.finish()
    except Stopped as stopped:
        tracker.finish("KILLED", str(stopped))
        raise
    except BaseException as error:
        tracker.finish("FAILED", str(error) or type(error).__name__)
        if isinstance(error, torch.OutOfMemoryError):
            raise StylecoreError("there is not enough memory; lower --batch-size or --crop.") from error
        if config.compile and isinstance(error, torch._dynamo.exc.BackendCompilerFailed):
            raise StylecoreError("--compile finds no compiler that works here; leave it out.") from error
        raise
    finally:
        stream.close()  # its workers ignore signals and would delay the exit
        accelerator.end_training()
        for number, handler in handlers.items():  # between two trainings Ctrl-C ends the program
            signal.signal(number, handler)
    if accelerator.is_main_process and evaluate is None:
        versions = ", ".join(f"version {number} ({step} iterations)" for step, number in tracker.versions.items())
        registered = f" and registered as {config.name}: {versions}" if versions else ""
        print(f"done; the checkpoints are in {config.folder}{registered}.")
        if link := tracker.comparison_link():
            print(f"compare the runs with `make mlflow-ui`, at {link}")
    return bool(stop_requested)


def _refuse_lost_processes(accelerator: Accelerator) -> None:
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != accelerator.num_processes:
        raise StylecoreError(
            f"{launched} processes were launched, but each of them would train alone; on CPUs "
            "add --cpu: `accelerate launch --multi_gpu --num_processes 2 training/train.py --cpu`."
        )


def _open_folder(config: TrainConfig, resume: bool) -> State | None:
    """The newest state in the run's folder, if the run is resumed."""
    state = newest_state(config.folder)
    if not resume and (state or any(config.folder.glob("iterations-*.safetensors"))):
        raise StylecoreError(
            f"{config.folder} already holds a run; continue it by --resume auto, or choose another --run-name."
        )
    return state


def _refuse_divergence(
    accelerator: Accelerator, losses: dict[str, Tensor], gradient_norm: Tensor, iteration: int
) -> None:
    """Raise DivergedError before a step that spoils the weights, in all processes: they have the same gradient.
    With float16 an infinite gradient is usual, and the scaler leaves its step out, unless a process has lost its loss.
    """
    if math.isfinite(gradient_norm):
        return
    (lost,) = _agreed(accelerator, not math.isfinite(losses["loss/total"]))
    if lost or accelerator.scaler is None:
        what = next((name for name, loss in losses.items() if not math.isfinite(loss)), "the gradient")
        raise DivergedError(
            f"training diverged: {what} is no longer a number at iteration {iteration}. "
            "Earlier checkpoints and states are good; lower --learning-rate or --style-weight."
        )


def _of_first(accelerator: Accelerator, value: float) -> float:
    """The value of the first process, in all of them: their clocks differ, and their learning rates must not."""
    if accelerator.num_processes == 1:
        return value
    return float(broadcast(torch.tensor(value, dtype=torch.float64, device=accelerator.device)))


def _agreed(accelerator: Accelerator, *here: bool) -> list[bool]:
    """For each value, whether it is true in any process; the result is the same in all processes."""
    if accelerator.num_processes == 1:
        return list(here)
    votes = torch.tensor(here, dtype=torch.float32, device=accelerator.device)
    return [count > 0 for count in accelerator.reduce(votes, "sum").tolist()]


def _listen_for_stop() -> tuple[list[int], dict[signal.Signals, Any]]:
    """A list that gets the termination signals, so that the loop can end after a step; and the handlers before."""
    received: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT)
    return received, {each: signal.signal(each, lambda signum, frame: received.append(signum)) for each in signals}


def _stop_at_once(requested: list[int], but: str) -> None:
    """From now on a termination signal raises Stopped; so does one that has been received already."""

    def stop(signum: int, frame: object) -> None:
        raise Stopped(f"the training is complete, but {but}")

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    if requested:
        stop(requested[0], None)


if __name__ == "__main__":
    sys.exit(main())
