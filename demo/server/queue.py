"""Limits of the queue: how many requests may wait, and how many of them one person may have.

Gradio's queue admits whoever comes first, so that one person could fill it. What is refused is refused before it
waits, and answered with one sentence.
"""

from typing import Any

import gradio as gr
from fastapi import Request

from demo.services.limits import BATCH, FILM, LIVE, LONG, MODEL, Limits

EXCLUSIVE = (LONG, BATCH, FILM, LIVE)
"""Concurrency ids of which a person has one request at a time."""


def limit_queue(page: gr.Blocks, limits: Limits) -> None:
    """Make the page's queue fair. Call it after `Blocks.queue`, which makes the queue anew.

    Gradio (6.31) offers no hook between a request's arrival and its place in the queue but the validator of each
    event, which programs cannot tell from wrong input and which does not see the queue; so `push` is wrapped.
    """
    queue = page._queue
    push = queue.push

    async def admit(body: Any, request: Request, username: str | None) -> Any:
        handler = page.fns.get(body.fn_index)
        concurrency_id = handler.concurrency_id if handler is not None else None
        request.state.person = person_of(request, body.session_hash, limits.behind_proxy)
        refusal = refuse(queue, concurrency_id, request.state.person, limits)
        if refusal is None:
            return await push(body=body, request=request, username=username)
        # Programs recognize a full queue by its own status; the browser shows the sentence of any other.
        return False, refusal, "queue_full" if handler.api_visibility == "public" else "error"

    queue.push = admit


def refuse(queue: Any, concurrency_id: str | None, person: str, limits: Limits) -> str | None:
    """One sentence for a person who may not wait in this queue now; None for one who may."""
    if concurrency_id not in (MODEL, *EXCLUSIVE):
        return None
    line = queue.event_queue_per_concurrency_id.get(concurrency_id)
    waiting = [] if line is None else list(line.queue)
    running = [event for job in queue.active_jobs for event in job or () if event.concurrency_id == concurrency_id]
    # One whose tab was closed is not anyone's any more.
    own = sum(event.request.state.person == person and event.alive for event in waiting + running)
    if concurrency_id in EXCLUSIVE and own:
        return "Your last request of this kind is still under way; wait until it ends, or stop it first."
    if own >= limits.waiting_each:
        return f"{own} of your pictures are waiting already; ask again when one of them is there."
    if len(waiting) >= limits.queue:
        return f"{len(waiting)} people are waiting already; try again in a minute."
    return None


def person_of(request: Request, session: str | None, behind_proxy: bool) -> str:
    """Who asks, as far as one can tell.

    Behind a proxy it is the address that the proxy saw; it writes it last, what stands before it anyone can claim.
    Elsewhere it is the browser's tab or the program's client, or the address of one that names no session.
    """
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    if behind_proxy and forwarded:
        return forwarded
    return session or (request.client.host if request.client else "")
