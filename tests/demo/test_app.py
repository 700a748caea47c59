"""The served page, asked by a program: the endpoints, and what wrong input is answered."""

import argparse
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import gradio as gr
import httpx
import pytest
import torch
from gradio_client import Client, handle_file
from PIL import Image

from demo import app
from demo.app import build_demo, main
from demo.page import save_for_browser
from demo.services.catalogue import BundleCatalogue
from demo.services.limits import Limits
from demo.services.registry_catalogue import RegistryCatalogue
from stylecore.pictures.write import save_picture
from tests.demo.conftest import LIMITS, client_of, serving, write_bundle, write_film


@pytest.fixture(scope="module")
def client(page: tuple[gr.Blocks, str]) -> Client:
    return client_of(page[1])


def test_the_endpoints_are_these_and_documented(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/styles", "/stylize", "/compare", "/gatys", "/film"}
    names = [parameter["parameter_name"] for parameter in endpoints["/stylize"]["parameters"]]
    assert names == ["photo", "style", "version", "longest_side", "strength", "keep_colors", "brush"]
    assert all(endpoint["description"] for endpoint in endpoints.values())


def test_styles_and_stylize(client: Client, photo: Path) -> None:
    styles = client.predict(api_name="/styles")
    assert {style["name"]: style["versions"] for style in styles} == {"night": ["3", "2", "1"], "wave": ["1"]}
    picture, facts = client.predict(handle_file(photo), "night", api_name="/stylize")
    assert (facts["version"], facts["width"], facts["height"]) == ("3", 61, 45)
    with Image.open(picture) as image:
        assert (image.size, image.mode, image.format) == ((61, 45), "RGBA", "PNG")
    _, facts = client.predict(handle_file(photo), "night", "iterations-1000", 32, 0.5, True, api_name="/stylize")
    assert (facts["version"], facts["width"], facts["strength"], facts["keep_colors"]) == ("1", 32, 0.5, True)


@pytest.mark.parametrize(
    ("name", "content", "style", "says"),
    [
        ("photo.jpg", b"I am text", "night", "This file is not a picture"),
        ("photo.svg", b"<svg/>", "night", "This file is not a picture"),
        ("photo.png", None, "nope", "There is no style 'nope'; the styles are night, wave."),
        ("photo.png", None, "../../etc", "There is no style"),
        ("photo.png", None, None, "There is no style ''; the styles are night, wave."),
    ],
)
def test_wrong_input_is_answered_with_one_sentence(
    client: Client, photo: Path, tmp_path: Path, name: str, content: bytes | None, style: str | None, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(photo.read_bytes() if content is None else content)
    with pytest.raises(Exception, match=says) as caught:
        client.predict(handle_file(path), style, api_name="/stylize")
    assert "Traceback" not in str(caught.value)


def test_a_request_without_a_photo_says_so(client: Client) -> None:
    with pytest.raises(Exception, match="There is no photo yet"):
        client.predict(None, "night", api_name="/stylize")


@pytest.mark.parametrize("extra", [{}, {"meta": {"_type": "gradio.FileData"}}, {"url": "data:image/png;base64,AAAA"}])
def test_files_of_the_server_are_not_photos(
    page: tuple[gr.Blocks, str], http: httpx.Client, photo: Path, extra: dict
) -> None:
    endpoint = f"{page[1]}gradio_api/call/stylize"
    payload = {"path": str(photo), **extra}  # it is there, and nobody uploaded it
    call = http.post(endpoint, json={"data": [payload, "night", "champion", 96, 1.0, False, 1.0]}).json()
    answer = http.get(f"{endpoint}/{call['event_id']}").text
    assert "event: error" in answer
    assert "stylized" not in answer


def test_gatys_streams_previews_and_losses(client: Client, photo: Path) -> None:
    job = client.submit(handle_file(photo), handle_file(photo), 3, 32, start=None, api_name="/gatys")
    answers = list(job)
    assert [facts["step"] for _, facts in answers][-1] == 3
    assert len(answers) >= 2
    assert {"total", "content", "style"} <= set(answers[-1][1]["losses"])
    assert "--steps 3" in answers[-1][1]["command_line"]
    with Image.open(answers[-1][0]) as image:
        assert image.size == (32, 24)


def test_a_film_streams_how_far_it_is_and_comes_back(client: Client, tmp_path: Path) -> None:
    film = handle_file(write_film(tmp_path / "film.mp4", 35))
    answers = list(client.submit(film, "night", calm=0, api_name="/film"))
    painted, facts = answers[-1]
    assert (facts["frames"], facts["width"], facts["stopped"]) == (35, 64, False)
    with av.open(str(painted)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]
    (text := tmp_path / "text.mp4").write_text("I am text")
    with pytest.raises(Exception, match="This film cannot be read: it is broken, cut short, or no film"):
        client.predict(handle_file(text), "night", api_name="/film")


def test_a_canceled_painting_makes_room_for_the_next(client: Client, photo: Path) -> None:
    job = client.submit(handle_file(photo), handle_file(photo), 500, 48, api_name="/gatys")
    deadline = time.monotonic() + 200
    while not job.outputs() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert job.outputs()
    job.cancel()
    _, facts = client.predict(handle_file(photo), "night", api_name="/stylize")
    assert facts["style"] == "night"
    assert torch.is_grad_enabled()


def test_without_any_style_the_page_still_opens(tmp_path: Path) -> None:
    catalogue = BundleCatalogue(write_bundle(tmp_path / "empty", []))
    with serving(build_demo(catalogue)) as url:
        assert client_of(url).predict(api_name="/styles") == []


def test_a_broken_bundle_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bundle", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_main_restores_the_published_runs_and_serves_the_registry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("training.registry")
    asked: dict[str, object] = {}
    told: list[str] = []

    def restore(tracking_uri: str, progress: Callable[[int, int], None]) -> list[str]:
        progress(1, 2)
        told.append(asked["catalogue"].loading)  # type: ignore[attr-defined]
        return ["starry_night"]

    monkeypatch.setattr("training.registry.restoring.restore_published", restore)

    class Page:
        def launch(self, **options: object) -> tuple[None, str, None]:
            asked.update(options)
            return None, "http://127.0.0.1:7860/", None

        def block_thread(self) -> None:  # it is served before there are styles
            for thread in threading.enumerate():
                if thread.name == "styles":
                    thread.join(200)

    def build(catalogue: object, limits: Limits, teacher: object) -> Page:
        assert teacher is None
        asked["catalogue"] = catalogue
        return Page()

    monkeypatch.setattr(app, "build_demo", build)
    assert main(["--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}", "--inbrowser", "--no-teach"]) == 0
    assert isinstance(asked["catalogue"], RegistryCatalogue)
    assert told == ["The published styles are being fetched: 1 of 2 trainings are there."]
    assert asked["catalogue"].loading == ""
    assert asked["inbrowser"] is True
    assert asked["enable_monitoring"] is False
    assert asked["ssr_mode"] is False
    output = capsys.readouterr().out
    assert "Restored the published runs starry_night." in output
    assert "The page is at http://127.0.0.1:7860/" in output


@pytest.mark.parametrize("flags", [["--tracking-uri", "sqlite:///mlflow.db"], []])
def test_lessons_are_recorded_in_the_pages_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: list[str]
) -> None:
    """A lesson runs in a folder of its own, where a relative path would mean another file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    options = app._parser().parse_args([*flags, "--teach", "--lessons", "lessons"])
    with app._teaching(options, LIMITS) as teacher:
        assert teacher is not None
        assert teacher._environment["MLFLOW_TRACKING_URI"] == f"sqlite:///{tmp_path / 'mlflow.db'}"


def test_the_bundle_may_be_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, bundle: Path) -> None:
    monkeypatch.setenv(app.BUNDLE_VARIABLE, str(bundle))
    options: argparse.Namespace = app._parser().parse_args([])
    assert Path(options.bundle) == bundle


def test_a_large_upload_is_refused(page: tuple[gr.Blocks, str]) -> None:
    assert page[0].max_file_size == 80 * 1024 * 1024


def test_downloads_keep_working_with_awkward_names(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "süße Grüße & <b>.png"
    save_picture(torch.rand(3, 20, 24), path)
    picture, _ = client.predict(handle_file(path), "wave", api_name="/stylize")
    assert Path(picture).suffix == ".png"


def test_a_picture_that_is_being_fetched_is_not_cut_short_by_making_it_again() -> None:
    pixels = torch.rand(3, 64, 64)
    file = Path(save_for_browser(pixels, "PNG", "photo"))
    content = file.read_bytes()
    with file.open("rb") as fetched:
        assert save_for_browser(pixels, "PNG", "photo") == str(file)
        assert os.fstat(fetched.fileno()).st_nlink == 0  # put in its place, not written over
        assert fetched.read() == content
    assert [each.name for each in file.parent.iterdir()] == ["photo.png"]
