"""A comparison in words: which is nearer to what, the originals beside it, and where the runs are."""

import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from demo.services import registry_catalogue
from demo.services.catalogue import BundleCatalogue, VersionRecord
from demo.services.registry_catalogue import RegistryCatalogue
from demo.services.stylize import Stylizer
from demo.tabs.compare import chosen_versions, compare
from demo.tabs.comparison_html import Compared, comparison_html, nearest
from tests.demo.conftest import LIMITS


def judged(each: Compared, style_error: float, content_change: float, size: int = 640) -> Compared:
    figures = {"style_error": style_error, "content_change": content_change, "judged_photos": 20.0}
    return replace(each, record=VersionRecord(judged=figures, judged_size=size))


def test_words_say_which_is_nearer_to_what(catalogue: BundleCatalogue, photo: Path) -> None:
    stylizer = Stylizer(catalogue, LIMITS)
    entries = chosen_versions(stylizer, ["night/1", "night/2", "night/3"])
    *_, (one, two, three) = compare(stylizer, str(photo), entries)
    assert nearest([one, two, three]).by == ""  # nobody measured them
    all_three = [judged(one, 0.3, 1.0), judged(two, 0.2, 1.2), judged(three, 0.1, 1.4)]
    shown = comparison_html(entries, all_three, set())
    said = re.sub(r"<[^>]*>", "", shown)
    assert (
        "By a judge that took no part in the training, on 20 photos of 640 pixels: 3,000 iterations is nearest to the "
        "painting, 1,000 iterations is nearest to the photo." in said
    )
    assert shown.count("<b>nearest to the painting</b>") == 1
    assert nearest(all_three).words_for(all_three[1]) == ""
    pair = [judged(one, 0.3, 1.5), judged(two, 0.2, 1.2)]
    assert nearest(pair).words_for(pair[1]) == "nearer to the painting and the photo"
    both = re.sub(r"<[^>]*>", "", comparison_html(entries[:2], pair, set()))
    assert "20 photos of 640 pixels: 2,000 iterations is nearer to the painting and to the photo." in both
    equal = [judged(one, 0.2, 1.0), judged(two, 0.201, 1.5)]
    assert "all are equally near to the painting, " in comparison_html(entries[:2], equal, set())
    # Of pictures of other sizes, of other styles, and while one is missing, nothing is said.
    assert nearest([judged(one, 0.3, 1.0), judged(two, 0.2, 1.2, 1024)]).by == ""
    assert "verdict" not in comparison_html(entries, all_three[:2], set())
    wave = chosen_versions(stylizer, ["night/1", "wave"])
    *_, of_two = compare(stylizer, str(photo), wave)
    assert nearest([judged(each, 0.1, 1.0) for each in of_two]).by == ""


def test_without_a_judge_the_losses_of_the_same_photos_say_it(catalogue: BundleCatalogue, photo: Path) -> None:
    stylizer = Stylizer(catalogue, LIMITS)
    *_, (one, two) = compare(stylizer, str(photo), chosen_versions(stylizer, ["night/1", "night/2"]))
    losses = ({"total": 4.0, "content": 1.0, "style": 3.0}, {"total": 4.0, "content": 2.0, "style": 2.0})
    pair = [
        replace(each, record=VersionRecord(losses=its, losses_size=256))
        for each, its in zip((one, two), losses, strict=True)
    ]
    assert {name: each.label for name, each in nearest(pair).to.items()} == {
        "painting": "2,000 iterations",
        "photo": "1,000 iterations",
    }


def test_the_photo_and_the_painting_stand_beside_the_pictures(catalogue: BundleCatalogue, photo: Path) -> None:
    stylizer = Stylizer(catalogue, LIMITS)
    entries = chosen_versions(stylizer, ["night/1", "night/2"])
    *_, done = compare(stylizer, str(photo), entries)
    shown = comparison_html(entries, done, set(), {"night": "/tmp/painting.jpg"})
    assert [*re.findall(r'class="original" data-label="([^"]*)"', shown)] == ["The photo", "The painting"]
    assert "corner" not in shown
    entries = chosen_versions(stylizer, ["night", "wave"])
    *_, done = compare(stylizer, str(photo), entries)
    shown = comparison_html(entries, done, set(), {"night": "/tmp/painting.jpg"})
    assert [*re.findall(r'class="original" data-label="([^"]*)"', shown)] == ["The photo"]
    assert 'alt="The painting: The Night"' in shown


def test_without_a_page_of_mlflow_its_command_is_told(catalogue: BundleCatalogue, photo: Path) -> None:
    stylizer = Stylizer(catalogue, LIMITS)
    *_, (one,) = compare(stylizer, str(photo), chosen_versions(stylizer, ["night/1"]))
    named = replace(one, entry=replace(one.entry, run_name="night_<a>"))
    shown = comparison_html([named.entry], [named], set())
    assert "<code>make mlflow-ui</code> shows the run <b>night_&lt;a&gt;</b>" in shown
    linked = replace(named, record=VersionRecord(page="http://localhost:5000/#/x"))
    assert "make mlflow-ui" not in comparison_html([linked.entry], [linked], set())


def test_runs_are_linked_to_the_page_on_this_machine_while_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if "run_id=known" in self.path else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(registry_catalogue, "LOCAL_PAGE", address)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    catalogue = RegistryCatalogue(store, is_local=True)
    assert catalogue._local_page("known") == address
    assert catalogue._local_page("another") == ""
    assert RegistryCatalogue(store)._local_page("known") == ""
    server.shutdown()
    server.server_close()
    assert catalogue._local_page("known") == ""
