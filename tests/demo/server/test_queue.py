"""The queue: its limits, one long request a person, and a served page where people meet."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from gradio_client.utils import QueueError

from demo.server.queue import limit_queue, person_of, refuse
from demo.services.limits import BATCH, LIVE, LONG, MODEL
from tests.demo.conftest import LIMITS, client_of

SMALL = replace(LIMITS, queue=3, waiting_each=2)


def event(person: str, lane: str, alive: bool = True) -> Any:
    request = SimpleNamespace(state=SimpleNamespace(person=person))
    return SimpleNamespace(request=request, concurrency_id=lane, alive=alive)


def queue_of(waiting: list[Any] = (), running: list[Any] = ()) -> Any:  # type: ignore[assignment]
    lanes: dict[str, Any] = {}
    for one in waiting:
        lanes.setdefault(one.concurrency_id, SimpleNamespace(queue=[])).queue.append(one)
    return SimpleNamespace(event_queue_per_concurrency_id=lanes, active_jobs=[None, *([one] for one in running)])


@pytest.mark.parametrize("lane", [LONG, BATCH, LIVE])
def test_of_what_takes_long_everyone_has_one(lane: str) -> None:
    waiting, running = queue_of(waiting=[event("ann", lane)]), queue_of(running=[event("ann", lane)])
    for queue in (waiting, running):
        assert "still under way" in (refuse(queue, lane, "ann", SMALL) or "")
        assert refuse(queue, lane, "bob", SMALL) is None
        assert refuse(queue, MODEL, "ann", SMALL) is None
    # Whose tab was closed has none.
    assert refuse(queue_of(running=[event("ann", lane, alive=False)]), lane, "ann", SMALL) is None


def test_nobody_fills_the_queue_and_a_full_one_says_so() -> None:
    own = [event("ann", MODEL), event("ann", MODEL)]
    assert "2 of your pictures are waiting" in (refuse(queue_of(own), MODEL, "ann", SMALL) or "")
    assert refuse(queue_of(own), MODEL, "bob", SMALL) is None
    full = queue_of([*own, event("cid", MODEL)])
    assert "3 people are waiting already" in (refuse(full, MODEL, "bob", SMALL) or "")
    assert refuse(full, LONG, "bob", SMALL) is None
    assert refuse(full, "another", "bob", SMALL) is None


def test_who_asks() -> None:
    request: Any = SimpleNamespace(
        headers={"x-forwarded-for": "1.1.1.1, 2.2.2.2"}, client=SimpleNamespace(host="3.3.3.3")
    )
    assert person_of(request, "tab", behind_proxy=True) == "2.2.2.2"  # what stands before can be made up
    assert person_of(request, "tab", behind_proxy=False) == "tab"
    assert person_of(request, None, behind_proxy=False) == "3.3.3.3"
    request.headers = {}
    assert person_of(request, "tab", behind_proxy=True) == "tab"


@pytest.fixture
def busy() -> Iterator[tuple[str, threading.Event]]:
    """A page whose /work in the queue of the networks takes until the event is set, and whose /paint likewise."""
    done = threading.Event()

    def work() -> str:
        done.wait(300)
        return "done"

    def free() -> str:
        return "free"

    with gr.Blocks(analytics_enabled=False) as page:
        answer = gr.Textbox()
        gr.Button().click(work, None, answer, api_name="work", concurrency_id=MODEL)
        gr.Button().click(work, None, answer, api_name="paint", concurrency_id=LONG)
        gr.Button().click(free, None, answer, api_name="free")
    page.queue(max_size=50, default_concurrency_limit=1, api_open=False)
    limit_queue(page, SMALL)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False)
    yield url, done
    done.set()
    page.close()


def test_programs_are_served_in_turn_or_told_to_wait(busy: tuple[str, threading.Event]) -> None:
    url, done = busy
    people = [client_of(url, download_files=False) for _ in range(5)]
    jobs = [person.submit(api_name="/work") for person in people[:1]]
    while jobs[0].status().code.name != "PROCESSING":
        done.wait(0.05)
    jobs += [person.submit(api_name="/work") for person in people[1:4]]
    while not all(job.status().rank is not None for job in jobs[1:]):
        done.wait(0.05)
    # One works and three wait: the fifth is refused at once, and what needs no network is answered beside them.
    with pytest.raises(QueueError):
        people[4].predict(api_name="/work")
    assert people[4].predict(api_name="/free") == "free"
    painting = people[0].submit(api_name="/paint")
    while painting.status().code.name != "PROCESSING":
        done.wait(0.05)
    with pytest.raises(QueueError):
        people[0].predict(api_name="/paint")
    done.set()
    assert [job.result(timeout=200) for job in [*jobs, painting]] == ["done"] * 5
    assert people[4].predict(api_name="/work") == "done"
