"""A server on this machine that answers what `huggingface_hub` 2.4 asks when a Space is deployed."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN = "hf_good"


@dataclass
class Hub:
    """What the hub knows and was asked. `refuse` maps the beginning of a path to the (status, words) of its answer."""

    files: dict[str, bytes] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    exists: bool = False
    refuse: dict[str, tuple[int, str]] = field(default_factory=dict)
    created: dict[str, Any] = field(default_factory=dict)
    variables_set: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def __enter__(self) -> "Hub":
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                hub.asked.append(f"{self.command} {self.path}")
                refused = [answer for path, answer in hub.refuse.items() if self.path.startswith(path)]
                if self.command != "PUT" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    status, answer = 401, {"error": "Invalid username or password."}
                elif refused:
                    status, answer = refused[0][0], {"error": refused[0][1]}
                else:
                    status, answer = hub.answer(self.command, self.path.partition("?")[0], body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer  # noqa: N815 - BaseHTTPRequestHandler's names

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        space = r"/api/spaces/[\w.-]+/[\w.-]+"
        if path == "/api/whoami-v2":
            return 200, {"name": "user", "type": "user"}
        if path == "/api/repos/create":
            self.created = json.loads(body)
            url = f"{self.url}/spaces/{self.created['organization']}/{self.created['name']}"
            return (
                (409, {"error": "You already created this space repo", "url": url})
                if self.exists
                else (200, {"url": url})
            )
        if re.fullmatch(f"{space}/variables", path):
            if method == "POST":
                asked = json.loads(body)
                self.variables[asked["key"]] = asked["value"]
                self.variables_set.append(asked["key"])
            return 200, {key: {"value": value} for key, value in self.variables.items()}
        if re.fullmatch(f"{space}/tree/main", path):
            return 200, [
                {"type": "file", "path": name, "size": len(content), "oid": _blob(content)}
                for name, content in self.files.items()
            ]
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if re.fullmatch(f"{space}/preupload/main", path):
            return 200, {"files": [self._mode(file["path"]) for file in json.loads(body)["files"]]}
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self._place(item) for item in json.loads(body)["objects"]]}
        if method == "PUT" and path.startswith("/large/"):
            assert hashlib.sha256(body).hexdigest() == path.removeprefix("/large/")
            self.large[path.removeprefix("/large/")] = body
            return 200, {}
        if re.fullmatch(f"{space}/commit/main", path):
            self._commit([json.loads(line) for line in body.splitlines()])
            return 200, {
                "success": True,
                "commitOid": "0" * 40,
                "commitUrl": f"{self.url}/spaces/user/name/commit/1",
                "hookOutput": "",
            }
        return 404, {"error": f"{method} {path} is not known here"}

    def _mode(self, path: str) -> dict[str, Any]:
        mode = "lfs" if path.endswith(".safetensors") else "regular"
        known = {"oid": _blob(self.files[path])} if path in self.files and mode == "regular" else {}
        return {"path": path, "uploadMode": mode, "shouldIgnore": False, **known}

    def _place(self, item: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.url}/large/{item['oid']}", "header": {}}
        return {"oid": item["oid"], "size": item["size"], "actions": {"upload": upload}}

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.commits.append(value["summary"])
            elif line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.large[value["oid"]]
            elif line["key"] == "deletedFile":
                del self.files[value["path"]]
                self.deleted.append(value["path"])
            else:
                raise AssertionError(line["key"])


def _blob(content: bytes) -> str:
    """git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
