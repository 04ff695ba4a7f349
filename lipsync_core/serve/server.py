"""Run the page: its folder, its environment, its socket, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from lipsync_core.errors import LipsyncError
from lipsync_core.serve.desk import Desk, Look
from lipsync_core.serve.preview import make_preview
from lipsync_core.serve.settings import ServeSettings
from lipsync_core.serve.visits import Visits, server_folder

log = logging.getLogger(__name__)
SWEEP_SECONDS = 1.0
CLOSE_SECONDS = 2  # for requests that are being answered when the server ends
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
NO_TELEMETRY = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}


def run(
    settings: ServeSettings, dub: Callable[..., Any] | None = None, look: Look | None = None
) -> None:
    """Serve the page until the process is interrupted or terminated.

    dub, look: stand in for `dubbing.dub.dub` and `preview.make_preview` in tests. Raises
    LipsyncError when the checkpoint cannot be used or the port is taken.
    """
    if dub is None:
        dub = _engine(settings)
    look = look or functools.partial(
        make_preview,
        checkpoint=settings.checkpoint,
        device=settings.device,
        models=settings.models,
        detector=settings.detector,
    )
    with (
        _terminated_as_interrupted(),
        server_folder() as folder,
        _listening(settings.host, settings.port) as listener,
    ):
        desk = Desk(settings, Visits(folder), look, dub)
        try:
            _serve(desk, listener)
        except KeyboardInterrupt:
            log.info("stopped")
        finally:
            desk.queue.close()


def _engine(settings: ServeSettings) -> Callable[..., Any]:
    """`dubbing.dub.dub`. Reads the checkpoint once, so that errors in it are seen at the start."""
    from lipsync_core.dubbing.dub import dub
    from lipsync_core.dubbing.generators import load_generator

    load_generator(settings.checkpoint, settings.device)
    return dub


def _serve(desk: Desk, listener: socket.socket) -> None:
    import uvicorn

    host, port = listener.getsockname()[:2]
    app = build_app(desk, local=_is_loopback(host))
    shown = f"[{host}]" if ":" in host else host
    log.info("http://%s:%d  (Ctrl+C ends it)", shown, port)
    if not _is_loopback(host):
        log.warning("%s: whoever reaches this address can use the page; it has no password", host)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # who visits is nobody's business
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])


def build_app(desk: Desk, local: bool) -> Any:
    """The ASGI application: the page behind its gate. local: visited under loopback names only."""
    os.environ.update(NO_TELEMETRY)
    os.environ["GRADIO_TEMP_DIR"] = str(desk.visits.folder)
    import gradio as gr
    from fastapi import FastAPI

    from lipsync_core.serve import texts
    from lipsync_core.serve.gate import Gate
    from lipsync_core.serve.page import Page
    from lipsync_core.serve.receiving import Receiver

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(desk.visits))
        yield
        sweeper.cancel()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app = gr.mount_gradio_app(
        app,
        Page(desk).blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=desk.settings.limits.bytes,
        theme=_theme(gr),
        css=texts.CSS,
    )
    hosts = LOOPBACK_NAMES if local else None
    return Gate(app, desk.visits, Receiver(desk.visits, desk.settings.limits), hosts)


def _theme(gr: Any) -> Any:
    """Gradio's own, with text at a contrast of 4.5:1 at least (WCAG 2, level AA)."""
    theme = gr.themes.Default(primary_hue="blue")
    colors = {
        "block_info_text_color": "*neutral_600",
        "body_text_color_subdued": "*neutral_600",
        "block_label_text_color": "*neutral_700",
        "block_title_text_color": "*neutral_700",
        "button_primary_background_fill": "*primary_700",
        "button_primary_background_fill_hover": "*primary_800",
    }
    dark = {name + "_dark": "*neutral_200" for name in colors if name.endswith("text_color")} | {
        "body_text_color_subdued_dark": "*neutral_300",
        "button_primary_background_fill_dark": "*primary_700",
        "button_primary_background_fill_hover_dark": "*primary_800",
    }
    return theme.set(**colors, **dark)


async def _sweep(visits: Visits) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        await asyncio.to_thread(visits.sweep)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    with contextlib.ExitStack() as stack:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()  # visitors who come before the page is built wait
        except OSError as error:
            raise LipsyncError(
                f"{host}:{port}: cannot be served there ({error.strerror}); choose another --port"
            ) from error
        yield listener


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the process as Ctrl+C does, so that its files are removed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
