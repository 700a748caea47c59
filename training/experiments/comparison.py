"""One training of a comparison: its network is judged, by measures that it was not trained for, and not registered."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stylecore.errors import StylecoreError
from stylecore.files import write_whole
from stylecore.inference.engine import Engine
from stylecore.johnson.transform_net import TransformNet
from stylecore.pictures.read import fit
from training.checkpoints import Caller, preview_photos, style_of
from training.command import Stopped
from training.config import TrainConfig
from training.judge import SIZES, Judge, judge_style, metrics
from training.registry.versions import log_preview
from training.tracking import JournaledTracker
from training.train import train

RESULT, NETWORK = "judged.json", "network.style"


def train_and_judge(config: TrainConfig, comparison: str, judge: Judge, about: dict[str, Any]) -> None:
    """Train one network and judge its pictures of the preview photos, unless that is done already.

    The run has the tag `comparison`. Its folder gets the network, and a file with `about`, the iterations, the
    processor's seconds, the settings and the judge's metrics.

    Raises:
        StylecoreError: when a training cannot begin, or diverges, or the folder has a result of other settings.
        Stopped: after SIGTERM or Ctrl-C.
    """
    result, settings = config.folder / RESULT, config.for_card()
    if result.exists():
        if json.loads(result.read_text(encoding="utf-8")).get("settings", settings) != settings:
            raise StylecoreError(f"{config.folder} was made with other settings; choose another --output-dir.")
        return
    began = time.process_time()
    photos = dict(preview_photos(config))

    def evaluate(tracker: JournaledTracker, network: TransformNet, iteration: int) -> None:
        seconds = round(time.process_time() - began)
        model = style_of(config, network, iteration)
        model.save(config.folder / NETWORK)
        engine = Engine(model, "cpu" if config.cpu else None)
        judged = metrics(judge_style(engine.stylize, photos.items(), judge, SIZES[:1]))
        tracker.log(judged, iteration)
        for name, photo in photos.items():
            log_preview(tracker, name, engine.stylize(fit(photo, config.preview_size)), iteration)
        found = about | {"iterations": iteration, "seconds": seconds, "settings": settings} | judged
        write_whole(result, json.dumps(found).encode())

    print(f"{config.run_name}, from {config.init_from or 'random weights'}", flush=True)
    caller = Caller(f"python -m training.experiments.{comparison}", {"comparison": comparison}, evaluate)
    with own_signals():
        stop = train(config, resume=True, caller=caller)
    if stop:
        raise Stopped("stopped; the same command continues with the next one.")


@contextmanager
def own_signals() -> Iterator[None]:
    """Restore the signal handlers, which `train` replaces: between two trainings Ctrl-C ends the command."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
