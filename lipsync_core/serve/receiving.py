"""Receive uploads, and tell the page how far each is.

Gradio's own way keeps files by content (one for several visitors), limits each file but not their
number, and leaves files behind when a browser goes away.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from lipsync_core.errors import LipsyncError
from lipsync_core.serve.uploads import Limits, safe_name
from lipsync_core.serve.visits import Visits

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

FORM_BYTES = 1 << 16  # of an upload besides its file
MIN_FREE_BYTES = 1 << 30  # that uploads leave on the disk
TELL_SECONDS = 0.2
WAIT_SECONDS = 3.0  # for an upload to begin
FILE_NAME = re.compile(rb'filename="([^"\r\n]*)"')


class Refused(Exception):
    """A request that is not answered; status: of HTTP."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass
class _Progress:
    """bytes: received since the page was told last."""

    name: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class Receiver:
    """Uploads of one server, into folders of `visits`."""

    visits: Visits
    limits: Limits
    _running: dict[str, _Progress] = field(default_factory=dict)

    async def upload(
        self, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str]
    ) -> None:
        """Receive one file; answer with a list of its path. Raises Refused."""
        from starlette.concurrency import run_in_threadpool
        from starlette.formparsers import MultiPartException
        from starlette.requests import Request
        from starlette.responses import JSONResponse

        self._check_size(headers.get("content-length", ""))
        key, progress = _upload_id(scope), _Progress()
        self._running[key] = progress
        try:
            request = Request(scope, _counted(receive, progress))
            async with request.form(max_files=1, max_fields=1) as form:
                files = [value for value in form.values() if not isinstance(value, str)]
                if len(files) != 1:
                    raise Refused(400, "one file is taken at a time")
                try:
                    target = self.visits.new_upload(safe_name(files[0].filename or ""))
                except LipsyncError as error:
                    raise Refused(400, str(error)) from error
                with open(target, "xb") as out:
                    await run_in_threadpool(shutil.copyfileobj, files[0].file, out, 1 << 20)
        except MultiPartException as error:
            raise Refused(400, error.message) from error
        finally:
            self._running.pop(key, None)
        await JSONResponse([str(target)])(scope, receive, send)

    def _check_size(self, length: str) -> None:
        # HTTP servers see to it that no more bytes than stated are received.
        if not length.isdecimal():
            raise Refused(411, "the size of the upload is not stated")
        if int(length) > self.limits.bytes + FORM_BYTES:
            raise Refused(413, f"too large: at most {self.limits.bytes >> 20} MB are taken")
        # Twice: the form is received into an unnamed file.
        if shutil.disk_usage(self.visits.folder).free < 2 * int(length) + MIN_FREE_BYTES:
            raise Refused(507, "the server's disk is full; try again later")

    async def tell(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream the progress of an upload as server-sent events, as Gradio's page reads them."""
        from starlette.responses import StreamingResponse

        answer = StreamingResponse(self._events(_upload_id(scope)), media_type="text/event-stream")
        await answer(scope, receive, send)

    async def _events(self, key: str) -> AsyncIterator[str]:
        waited = 0.0
        while key not in self._running and waited < WAIT_SECONDS:
            await asyncio.sleep(TELL_SECONDS)
            waited += TELL_SECONDS
        while progress := self._running.get(key):
            event = {"msg": "update", "orig_name": progress.name, "chunk_size": progress.bytes}
            progress.bytes = 0
            yield f"data: {json.dumps(event)}\n\n"
            await asyncio.sleep(TELL_SECONDS)
        yield f"data: {json.dumps({'msg': 'done'})}\n\n"


def _upload_id(scope: Scope) -> str:
    return parse_qs(scope["query_string"].decode("latin-1")).get("upload_id", [""])[0]


def _counted(receive: Receive, progress: _Progress) -> Receive:
    async def counted() -> Message:
        message = await receive()
        body = message.get("body", b"")
        if not progress.name and (match := FILE_NAME.search(body[:4096])):
            progress.name = match[1].decode(errors="replace")
        progress.bytes += len(body)
        return message

    return counted
