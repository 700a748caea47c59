"""Many people at once. The whole of it: `STYLECORE_LOAD=20x120 pytest -n 0 -s tests/demo/server/test_load.py`."""

import gc
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from demo.app import build_demo
from demo.services.catalogue import BundleCatalogue
from stylecore.pictures.write import save_picture
from tests.demo.conftest import LIMITS, serving
from tests.small_vgg import small_vgg

PEOPLE, SECONDS = (int(number) for number in os.environ.get("STYLECORE_LOAD", "5x1").split("x"))
ALLOWED_GROWTH = 200
"""Megabytes from a third of the time to its end, of the server and all its visitors in one process. What Python holds
grows by 2 KB a picture; the rest is what threads leave unused in malloc's arenas, and comes to an end."""


def resident_megabytes() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.cluster
def test_everyone_is_served_or_told_to_wait_and_memory_stays(catalogue: BundleCatalogue, tmp_path: Path) -> None:
    if not Path("/proc/self/statm").is_file():
        pytest.skip("memory is read from /proc, which is not here")
    limits = replace(LIMITS, queue=3, remembered_megabytes=1)
    demo = build_demo(catalogue, load_vgg=small_vgg, limits=limits)
    served, refused, failed = [0] * PEOPLE, [0] * PEOPLE, []
    end = time.monotonic() + 600

    def visit(person: int, url: str) -> None:
        generator = torch.Generator().manual_seed(person)
        client = Client(url, verbose=False, download_files=str(tmp_path), httpx_kwargs={"timeout": 120})
        ready.wait()
        while time.monotonic() < end or not served[person]:
            photo = tmp_path / f"{person}.png"
            save_picture(torch.rand(3, 60 + person, 80, generator=generator), photo)
            try:
                _, facts = client.predict(handle_file(photo), "night", api_name="/stylize")
                if (facts["width"], facts["height"]) != (80, 60 + person):
                    failed.append(f"{person} got the picture of somebody else: {facts}")
                served[person] += 1
            except QueueError:
                refused[person] += 1
                time.sleep(0.2)  # as the sentence asks for
            except Exception as error:  # anything else is what must not happen
                failed.append(repr(error))
                return

    ready = threading.Barrier(PEOPLE + 1)
    with serving(demo, limits) as url:
        people = [threading.Thread(target=visit, args=(person, url)) for person in range(PEOPLE)]
        for thread in people:
            thread.start()
        ready.wait()
        end = time.monotonic() + SECONDS
        time.sleep(SECONDS / 3)
        before = resident_megabytes()
        for thread in people:
            thread.join()
        growth = resident_megabytes() - before
    print(f"{sum(served)} served, {min(served)} to {max(served)} each, {sum(refused)} refused; {growth:+.0f} MB")
    assert failed == []
    assert min(served) >= 1
    assert sum(refused) >= 1 or limits.queue + 1 >= PEOPLE
    assert growth < ALLOWED_GROWTH
    assert len(demo._queue) == 0
