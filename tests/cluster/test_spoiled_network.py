"""A network that spoils requests, many runs at once, a page under load."""

import os
import random
import re
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from outages import check_that_all_is_there_once, impatient, replay_until_all_is_sent, spoiling  # noqa: F401 - fixtures
from PIL import Image
from servers import S3, MLflowServer, Postgres
from tracked_runs import log_style, start_run, tiny_style

from stylecore.pictures.write import to_image
from training.registry.versions import log_preview

RUNS = int(os.environ.get("STYLECORE_TEST_RUNS", "3"))
SECONDS = float(os.environ.get("STYLECORE_TEST_SECONDS", "4"))
STEP_SECONDS = float(os.environ.get("STYLECORE_TEST_STEP_SECONDS", "0.05"))
"""Of many runs at once; 32 runs, 300 seconds and 1 second a step are the long form, with S3 away for a minute."""


def a_run(folder: Path, seconds: float, **settings: object) -> list[float]:
    """A run that says something of every kind for so long; returns how long each step's metrics took to say."""
    run = start_run(
        run_name=folder.name,
        params={"seed": 1, "width": 0.25},
        tags={"device": "cpu"},
        note="why",
        note_image=to_image(torch.rand(3, 16, 16)),
        dataset={"name": "photos"},
        folder=folder,
        end_seconds=0.5,
        **settings,  # type: ignore[arg-type]
    )
    took = []
    until = time.monotonic() + seconds
    step = 0
    while time.monotonic() < until or step < 20:
        values = {f"loss/{name}": random.random() for name in ("total", "content", "style", "tv")}
        began = time.perf_counter()
        run.log(values, step)
        took.append(time.perf_counter() - began)
        if step % 20 == 0:
            log_preview(run, "amber", torch.rand(3, 32, 48), step)
        if step % 100 == 10:
            log_style(run, tiny_style(folder.name, step), step, values)
            run.log_evaluation({"eval/total": 1.0}, step)
        step += 1
        time.sleep(STEP_SECONDS)
    run.finish()
    return took


def test_through_a_network_that_spoils_a_third_of_all_requests_everything_arrives_once(
    serve: Callable[..., MLflowServer], tmp_path: Path
) -> None:
    server = serve()
    folder = tmp_path / "spoiled"
    with spoiling(server.url, share=1 / 3) as proxy:
        a_run(folder, 2.0, tracking_uri=proxy.url)
        proxy.share = 1 / 6
        replay_until_all_is_sent(folder, proxy.url)
        assert all(proxy.spoiled.values()), proxy.spoiled
    check_that_all_is_there_once(MlflowClient(server.url), folder)


@pytest.mark.timeout(600 + 6 * SECONDS)
def test_many_runs_at_once_lose_nothing_though_the_database_restarts(
    serve: Callable[..., MLflowServer], postgres: Postgres, s3: S3, tmp_path: Path, record_property
) -> None:
    server = serve()
    took: dict[int, list[float]] = {}

    def one(number: int) -> None:
        took[number] = a_run(tmp_path / f"run_{number}", SECONDS)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(RUNS)]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS / 3)
    postgres.kill()
    postgres.start()
    time.sleep(SECONDS / 6)
    s3.pause()
    time.sleep(SECONDS / 5)
    s3.resume()
    for thread in threads:
        thread.join()
    assert len(took) == RUNS
    for number in range(RUNS):
        replay_until_all_is_sent(tmp_path / f"run_{number}")
        check_that_all_is_there_once(MlflowClient(server.url), tmp_path / f"run_{number}")
    every = sorted(seconds for of_run in took.values() for seconds in of_run)
    latency = (
        f"{statistics.median(every) * 1000:.2f} ms, 99 of 100 below {every[len(every) * 99 // 100] * 1000:.1f} ms"
    )
    print(f"\n{RUNS} runs, {len(every)} steps: saying a step's metrics took {latency}")
    record_property("latency", latency)


def test_a_demo_under_load_is_promoted_from_version_to_version_without_a_failed_request(
    serve: Callable[..., MLflowServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from demo.services.limits import Limits
    from demo.services.registry_catalogue import RegistryCatalogue
    from demo.services.stylize import Stylizer
    from training.registry.registry import Registry

    server = serve()
    run = start_run()
    for step in (10, 20, 30):
        log_style(run, tiny_style("stripes", step), step, {"loss/total": 1.0})
    run.finish()
    assert run.versions == {10: "1", 20: "2", 30: "3"}
    monkeypatch.setattr("demo.services.registry_catalogue.SECONDS_BETWEEN_READS", 0)
    stylizer = Stylizer(RegistryCatalogue(server.url), Limits())
    ended = threading.Event()
    served: list[str] = []
    failed: list[BaseException] = []

    def ask(seed: int) -> None:
        photo = tmp_path / f"{seed}.png"
        while not ended.is_set():
            Image.fromarray(np.random.randint(0, 255, (24, 24, 3), dtype=np.uint8)).save(photo)
            try:
                served.append(stylizer.stylize(photo, "stripes").version)
            except BaseException as error:
                failed.append(error)

    askers = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
    for asker in askers:
        asker.start()
    registry = Registry(server.url)
    promoted = set()
    for turn in range(4):
        promoted.add(registry.promote("stripes", str(turn % 3 + 1)).version)
        before = len(served)
        while len(served) < before + 2 and not failed:
            time.sleep(0.05)
    ended.set()
    for asker in askers:
        asker.join()
    assert not failed
    assert promoted == set(served) == {"1", "2", "3"}


def test_a_run_that_begins_without_its_server_is_complete_when_it_comes(
    serve: Callable[..., MLflowServer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve()
    server.kill()
    a_run(tmp_path / "early", 1.0)
    sentence = re.search(r"`python -m training.tracking sync (\S+)` sends them", caplog.text)
    assert sentence
    server.start()
    replay_until_all_is_sent(Path(sentence[1]))
    check_that_all_is_there_once(MlflowClient(server.url), tmp_path / "early")
