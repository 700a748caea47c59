"""What the page's server refuses beside Gradio: to fetch for a visitor what lies elsewhere."""

from typing import Any
from urllib.parse import unquote

from starlette.responses import JSONResponse, PlainTextResponse, Response

FETCHED = ("/file=http", "/proxy=")
"""Paths by which Gradio fetches other servers' files for a visitor, under the page's own name."""
MONITORING = "/monitoring/summary"
"""The API page asks for it and shows times of waiting, if it is answered; refused, it is an error in the console."""


class Refusals:
    """Middleware: refuses to fetch, and has no times of waiting to show."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope.get("path", "") if scope["type"] == "http" else ""
        answer: Response | None = None
        if any(start in unquote(path) for start in FETCHED):
            answer = PlainTextResponse("This page serves its own files only.", status_code=403)
        elif path == MONITORING:
            answer = JSONResponse({"functions": {}})
        await (answer or self.app)(scope, receive, send)
