"""MLflow's own page in Chromium: it shows what the project stores for it."""

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import fork, free_port
from tracked_runs import log_style, start_run

from stylecore.pictures.write import to_image
from training.registry.versions import log_preview

PATIENCE = 120
"""Seconds that a busy machine may take."""


@pytest.fixture(scope="module")
def address(new_store: Callable[[Path], str], tiny_style, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's server with two runs, each with a version of the style tiny_waves."""
    folder = tmp_path_factory.mktemp("mlflow")
    store = new_store(folder)
    for number, name in enumerate(("calm", "wild")):
        run = start_run(
            run_name=name,
            params={"title": f"The {name} waves", "iterations": 10, "width": 0.5},
            note="why",
            note_image=to_image(torch.rand(3, 8, 12)),
            tracking_uri=store,
        )
        for step in (0, 10):
            run.log({"loss/total": 1 / (step + 1), "data/images_seen": step}, step)
            log_preview(run, "lion", torch.full((3, 24, 32), (step + number) / 20), step)
        log_style(run, tiny_style("tiny_waves", 10), 10, {"loss/total": 0.5})
        run.log_evaluation({"eval/style_error_640": 0.25 + number}, 10)
        run.finish()
    with served(store, folder) as address:
        yield address


@contextlib.contextmanager
def served(store: str, folder: Path) -> Iterator[str]:
    """MLflow's server in a process of its own: it sets the tracking address of the process that it is in."""
    from mlflow import server as variables  # seconds, which collecting the tests need not have

    port = free_port()
    environment = {**os.environ, variables.BACKEND_STORE_URI_ENV_VAR: store, variables.SERVE_ARTIFACTS_ENV_VAR: "true"}
    process = fork(_serve, port, environment=environment, output=folder / "server.txt")
    try:
        while not _listens(port):
            assert process.exitcode is None, (folder / "server.txt").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.join()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _serve(port: int) -> None:
    import uvicorn

    uvicorn.run("mlflow.server.fastapi_app:app", port=port, log_level="warning")


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Iterator[Any]:
    """One page for all: between addresses of MLflow it need not load again."""
    context = browser.new_context(viewport={"width": 1900, "height": 3000}, base_url=address)
    context.set_default_timeout(PATIENCE * 1000)
    yield context.new_page()
    context.close()


def test_an_experiment_leads_to_its_runs(page: Any) -> None:
    page.goto("/#/experiments/1")  # opens on the page for language models, whose description has the links
    page.get_by_role("button", name="Got it").click()
    assert page.get_by_role("link", name="Charts and pictures").count() == 1
    page.goto(page.get_by_role("link", name="Table of the runs").get_attribute("href"))  # a click opens another window
    page.get_by_role("link", name="wild").wait_for()
    headers = page.locator(".ag-header-cell").evaluate_all("(all) => all.map((cell) => cell.getAttribute('col-id'))")
    columns = [re.sub(r".*`(.*)`", r"\1", name) for name in headers]
    # The grid orders its cells by their place on the screen, not in the document.
    assert {"title", "iterations", "width", "eval/style_error_640", "duration"} <= set(columns)
    assert "data/images_seen" not in columns


def test_a_version_has_picture_signature_and_the_model_says_how_to_use_it(page: Any) -> None:
    page.goto("/#/models/tiny_waves")
    page.get_by_text("python -m training.registry file tiny_waves@champion").wait_for()
    page.goto("/#/models/tiny_waves/versions/2")
    page.wait_for_function(
        "[...document.images].some((image) => image.src.includes('preview~lion%2Bstep%2B10') && image.naturalWidth)"
    )
    page.get_by_text("Inputs (1)").click()
    page.get_by_text("shape: [-1,3,-1,-1]").first.wait_for()


def test_the_sample_pictures_of_two_runs_lie_beside_each_other_at_one_step(page: Any) -> None:
    page.goto("/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=compare&compareRunsMode=CHART")
    card = page.get_by_test_id("experiment-view-compare-runs-card").filter(has_text="preview/lion")
    for step in (0, 10):
        pictures = card.locator(f"img[src*='preview~lion%2Bstep%2B{step}%2B']")
        pictures.nth(1).wait_for()
        assert pictures.count() == 2
        card.get_by_role("slider").press("ArrowRight")
    assert all(card.get_by_text(name).count() for name in ("calm", "wild"))
