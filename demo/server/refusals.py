"""What the page does not do, though Gradio would."""

from typing import Any
from urllib.parse import unquote

from starlette.responses import PlainTextResponse

REFUSED = ("/file=http", "/proxy=")


class NothingFetched:
    """Middleware: other servers' files are not fetched for a visitor, under the page's own name."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and any(start in unquote(scope["path"]) for start in REFUSED):
            await PlainTextResponse("This page serves its own files only.", status_code=403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)
