"""What makes the examples on the API page run as they are pasted: samples that have an address on this page.

Gradio's own examples are files on another server, and this page fetches nothing. Gradio writes the examples before
it knows the address that visitors see, so they are written with `PLACEHOLDER`, and completed as they are sent.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gradio.route_utils import get_root_url
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from demo.services.previews import preview_photo
from stylecore.samples import sample_films, sample_photos

PLACEHOLDER = "http://this-page.invalid"
PAGES_WITH_EXAMPLES = ("/", "/gradio_api/info", "/gradio_api/openapi.json")
MENDED = (
    # In bash, the last command of a pipeline is a shell of its own, and what it reads is lost behind it.
    (rb"\| read EVENT_ID; (curl -N [^\"\s\\]+\$EVENT_ID)", rb"| (read EVENT_ID; \1)"),
    (rb"FILE_PATH=\$\(curl", rb"curl -s -o photo.jpg PHOTO\\n\\nFILE_PATH=$(curl"),
    (rb"files=@/path/to/your/file", rb"files=@photo.jpg"),
    # The second of two pictures would be declared by the name of the first.
    (rb"const exampleImage = await response_1", rb"const exampleImage_1 = await response_1"),
)
"""Pattern and replacement, in JSON, for what keeps Gradio's (6.31) own examples from running."""
FETCHED = ("/file=http", "/proxy=")
"""Paths by which Gradio fetches other servers' files for a visitor, under the page's own name."""
MONITORING = "/monitoring/summary"
"""The API page asks for it and shows times of waiting, if it is answered; refused, it is an error in the console."""


def example_photo() -> str | None:
    """The address of a sample photo, with the placeholder; None where there are no sample photos."""
    photo = preview_photo()
    return None if photo is None else f"{PLACEHOLDER}/sample/{photo.stem}.jpg"


def example_film() -> str | None:
    """The same of a film."""
    return next((f"{PLACEHOLDER}/sample/{name}.mp4" for name in sample_films()), None)


def samples() -> dict[str, Path]:
    """File name in an address to the file of a sample photo or film."""
    films = {f"{name}.mp4": file for name, file in sample_films().items()}
    return {f"{name}.jpg": file for name, file in sample_photos().items()} | films


def sample_at(address: str) -> str | None:
    """The name of the sample that an address means, on whatever host this page is seen at; else None."""
    found = re.fullmatch(r"https?://[^/?#]+(?:/[^?#]*)?/sample/(\w+)\.(?:jpg|mp4)", address)
    return found[1] if found and address.rpartition("/")[2] in samples() else None


class OwnAnswers:
    """Middleware: serves the samples, puts the page's own address into the examples, refuses to fetch."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "") if scope["type"] == "http" else ""
        if answer := _own_answer(path):
            await answer(scope, receive, send)
        elif path in PAGES_WITH_EXAMPLES:
            root = get_root_url(Request(scope), path, None)
            await self.app(scope, receive, _completing(send, root))
        else:
            await self.app(scope, receive, send)


def _own_answer(path: str) -> Response | None:
    if any(start in unquote(path) for start in FETCHED):
        return PlainTextResponse("This page serves its own files only.", status_code=403)
    if path == MONITORING:
        return JSONResponse({"functions": {}})
    if path.startswith("/sample/") and (file := samples().get(path.removeprefix("/sample/"))):
        return FileResponse(file)
    return None


def _completing(send: Any, root: str) -> Any:
    """`send`, with the placeholder replaced in the whole body."""
    start: dict[str, Any] = {}
    parts: list[bytes] = []

    async def complete(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        parts.append(message.get("body", b""))
        if message.get("more_body"):
            return
        body = b"".join(parts)
        for pattern, replacement in MENDED:
            body = re.sub(pattern, replacement.replace(b"PHOTO", (example_photo() or "").encode()), body)
        body = body.replace(PLACEHOLDER.encode(), root.rstrip("/").encode())
        headers = [(key, value) for key, value in start["headers"] if key != b"content-length"]
        await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await send({"type": "http.response.body", "body": body})

    return complete
