"""What reaches the page's server: the addresses that the page needs, from no other site.

Gradio has more: some of them fetch any URL, or copy files of this machine into its cache.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lipsync_core.serve.receiving import Receiver, Refused
from lipsync_core.serve.visits import Visits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/gradio_api"
OPEN = {
    "GET": re.compile(
        r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static)/.+"
        rf"|{API}/(theme\.css|info/?|startup-events|queue/data|upload_progress"
        r"|heartbeat/[\w-]+|file=.+)"
    ),
    "POST": re.compile(rf"{API}/(upload|queue/join|cancel|reset/?)"),
}
MAX_EVENT_BYTES = 1 << 20  # of an event of the page; files come as uploads
# Nothing is loaded from elsewhere and no other site shows the page in a frame.
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; connect-src 'self'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Gate:
    """ASGI middleware around the page.

    hosts: names under which the page is visited, None for any; against other sites whose name is
    made to point here (DNS rebinding).
    """

    app: ASGIApp
    visits: Visits
    receiver: Receiver
    hosts: Collection[str] | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        from starlette.responses import PlainTextResponse

        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            send = _with_headers(send)
            try:
                await self._answer(scope, receive, send)
            except Refused as refused:
                answer = PlainTextResponse(str(refused), refused.status)
                await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        path = scope["path"]
        self._check(scope["method"], path, headers)
        if path == f"{API}/upload":
            await self.receiver.upload(scope, receive, send, headers)
        elif path == f"{API}/upload_progress":
            await self.receiver.tell(scope, receive, send)
        elif path == f"{API}/queue/join":
            event = await _checked_event(receive, headers, self.visits.folder)
            await self.app(scope, event, send)
        elif path.startswith(f"{API}/heartbeat/"):
            key = path.rpartition("/")[2]
            self.visits.arrive(key)
            try:
                await self.app(scope, receive, send)
            finally:
                self.visits.leave(key)
        else:
            await self.app(scope, receive, send)

    def _check(self, method: str, path: str, headers: dict[str, str]) -> None:
        host = headers.get("host", "")
        if self.hosts is not None and urlsplit(f"//{host}").hostname not in self.hosts:
            raise Refused(421, "this page is not served under this name")
        known = OPEN.get("GET" if method == "HEAD" else method)
        if known is None or not known.fullmatch(path):
            raise Refused(404, "no such page")
        if method == "POST" and urlsplit(headers.get("origin", f"//{host}")).netloc != host:
            raise Refused(403, "sent by another site")
        if path.startswith(f"{API}/file="):
            wanted = unquote(path.removeprefix(f"{API}/file="))
            if not _lies_in(wanted, self.visits.folder):
                raise Refused(404, "no such file")


async def _checked_event(receive: Receive, headers: dict[str, str], folder: Path) -> Receive:
    """The body of an event, read whole and replayed.

    Raises Refused when it is too large, no JSON, or names a file outside of `folder`: Gradio would
    copy it from this machine, or fetch it from another.
    """
    length = headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MAX_EVENT_BYTES:
        raise Refused(413, "too much in one event")
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "disconnected")
        body += message.get("body", b"")
        more = message.get("more_body", False)
    try:
        event = json.loads(body)
        if not all(_lies_in(path, folder) for path in _paths(event)):
            raise Refused(400, "files are taken as uploads only")
    except (ValueError, RecursionError) as error:
        raise Refused(400, "no JSON") from error
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _paths(value: Any) -> Iterator[Any]:
    """The values of all keys "path" in a JSON value: they are what names a file in Gradio."""
    if isinstance(value, dict):
        if value.get("path") is not None:
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _paths(each)


def _lies_in(path: Any, folder: Path) -> bool:
    return isinstance(path, str) and Path(path).is_relative_to(folder) and ".." not in path


def _with_headers(send: Send) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {key.lower() for key, _ in message["headers"]}
            added = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
            own = [pair for pair in added if pair[0] not in present]
            message = {**message, "headers": [*message["headers"], *own]}
        await send(message)

    return answer
