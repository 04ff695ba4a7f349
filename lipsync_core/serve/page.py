"""The page, in Gradio: its parts and what each of them calls.

`server` sets Gradio's environment and then imports this module.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components import Component

from lipsync_core.errors import LipsyncError
from lipsync_core.serve import texts
from lipsync_core.serve.desk import Desk
from lipsync_core.serve.jobs import Job
from lipsync_core.serve.preview import LARGEST
from lipsync_core.serve.uploads import polite

log = logging.getLogger(__name__)
POLL_SECONDS = 0.4
RATES = ["source", "24", "25", "30", "50", "60"]
LARGEST_CHOICE = (LARGEST, -1)
OPTIONS = ("blend", "length", "silence", "fps", "crf", "label")
QUIET: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": None}
FALLBACK = "The dubbing failed; the server's log tells why."


class Page:
    """Connects the parts of the page with the desk."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        with gr.Blocks(title=texts.TITLE, analytics_enabled=False) as self.blocks:
            gr.Markdown(f"# {texts.TITLE}")
            gr.HTML(f'<p class="consent">{texts.CONSENT}</p>')
            with gr.Row():
                with gr.Column():
                    self._inputs()
                with gr.Column():
                    self._outputs()
            self._connect()
            # The page then keeps a stream open, by which the gate sees when it is closed.
            self.blocks.unload(lambda: None)
        # `Desk` runs one dubbing at a time; this queue only passes events on.
        self.blocks.queue(max_size=200, api_open=False)

    def _inputs(self) -> None:
        self.face = gr.File(label="Face: a video or a picture", height=130)
        self.sound = gr.File(label="Sound: what the face says", height=130)
        fixed = self.desk.settings.label
        with gr.Accordion("Options", open=False):
            self.options: list[Component] = [
                _radio("Blend", ["soft", "poisson", "hard"], "How the mouth is set into the frame"),
                _radio(
                    "Length",
                    ["loop", "ping-pong", "hold", "trim"],
                    "When the sound is longer than the video",
                ),
                _radio("Silence", ["rest", "follow"], "In pauses: the mouth rests or follows"),
                gr.Dropdown(RATES, value="source", label="Frames a second"),
                gr.Slider(10, 35, value=18, step=1, label="CRF", info="Less is better and larger"),
                gr.Textbox(
                    value=fixed,
                    label="Visible label",
                    placeholder="AI-generated",
                    max_length=80,
                    info="Drawn on every result" if fixed else "Drawn on the video; may be empty",
                    interactive=not fixed,
                ),
            ]

    def _outputs(self) -> None:
        self.preview = gr.Image(
            label="First frame: click on the face to dub",
            interactive=False,
            buttons=[],
            height=480,  # upright videos would fill the page
            alt_text="First frame with numbered boxes around the faces",
            visible=False,
        )
        self.person = gr.Radio([LARGEST_CHOICE], value=-1, label="Face to dub", visible=False)
        with gr.Row():
            self.begin = gr.Button("Dub", variant="primary")
            self.stop = gr.Button("Stop", interactive=False)
        limits = self.desk.settings.limits
        most = f"{limits.bytes >> 20} MB and {limits.seconds:g} s"
        self.status = gr.HTML(texts.note(f"Drop a face and a sound, each at most {most}."))
        self.result = gr.HTML()

    def _connect(self) -> None:
        shown = [self.preview, self.person, self.status]
        # Without `preprocess`, which would leave an empty file behind for each event.
        look: dict[str, Any] = {
            "preprocess": False,
            "concurrency_limit": 1,
            "concurrency_id": "look",
            "show_progress": "minimal",
        }
        self.face.upload(self._take_face, self.face, [self.face, *shown], **look)
        self.sound.upload(self._take_sound, self.sound, [self.sound, self.status], **look)
        self.face.clear(self._drop_face, None, shown, **QUIET)
        self.sound.clear(self._drop_sound, None, self.status, **QUIET)
        self.person.input(self._choose, self.person, self.preview, **QUIET)
        self.preview.select(self._click, None, [self.preview, self.person], **QUIET)
        self.begin.click(
            self._dub,
            [self.person, *self.options],
            [self.status, self.result, self.begin, self.stop],
            **QUIET,
        )
        self.stop.click(self._stop, None, None, **QUIET)

    def _take_face(self, upload: Any, request: gr.Request) -> dict[Component, Any]:
        key = str(request.session_hash)
        try:
            preview = self.desk.take_face(key, upload["path"]).preview
            picture = self.desk.draw_preview(key, None)
        except (LipsyncError, OSError) as error:
            return self._without_face() | {self.face: None, self.status: self._bad(error)}
        assert preview is not None
        names = [f"face {number + 1}" for number in range(len(preview.boxes))]
        choices = [LARGEST_CHOICE, *zip(names, range(len(names)), strict=True)]
        text = "Click on the face to dub, or leave it to the largest of the video."
        if not names:
            text = "No face is on the first frame; the largest of the video will be dubbed."
        return {
            self.preview: gr.Image(str(picture), visible=True),
            self.person: gr.Radio(choices, value=-1, visible=len(names) > 1),
            self.status: texts.note(text),
        }

    def _take_sound(self, upload: Any, request: gr.Request) -> dict[Component, Any]:
        try:
            visit = self.desk.take_sound(str(request.session_hash), upload["path"])
        except (LipsyncError, OSError) as error:
            return {self.sound: None, self.status: self._bad(error)}
        after = "now drop a face." if visit.face is None else "press Dub."
        return {self.status: texts.note(f"The sound is here; {after}")}

    def _drop_face(self, request: gr.Request) -> dict[Component, Any]:
        self.desk.drop_face(str(request.session_hash))
        return self._without_face() | {self.status: texts.note("")}

    def _drop_sound(self, request: gr.Request) -> str:
        self.desk.drop_sound(str(request.session_hash))
        return texts.note("")

    def _without_face(self) -> dict[Component, Any]:
        return {
            self.preview: gr.Image(None, visible=False),
            self.person: gr.Radio([LARGEST_CHOICE], value=-1, visible=False),
        }

    def _click(self, event: gr.SelectData, request: gr.Request) -> tuple[Any, Any]:
        key = str(request.session_hash)
        preview = self.desk.visits.get(key).preview
        if preview is None:
            return gr.skip(), gr.skip()
        height, width = preview.picture.shape[:2]
        face = preview.nearest(event.index[0] / width, event.index[1] / height)
        picture = gr.skip() if face is None else str(self.desk.draw_preview(key, face))
        return picture, -1 if face is None else face

    def _choose(self, person: int, request: gr.Request) -> Any:
        key = str(request.session_hash)
        if self.desk.visits.get(key).preview is None:
            return gr.skip()
        return str(self.desk.draw_preview(key, None if person < 0 else person))

    async def _dub(
        self, request: gr.Request, person: int, *values: Any
    ) -> AsyncIterator[dict[Component, Any]]:
        key = str(request.session_hash)
        options = dict(zip(OPTIONS, values, strict=True))
        preview = self.desk.visits.get(key).preview
        if preview is not None and 0 <= person < len(preview.boxes):
            options["face_select"] = preview.face_select(person)
        try:
            job = self.desk.start(key, options)
        except (LipsyncError, OSError) as error:
            yield {self.status: self._bad(error)}
            return
        yield {self.result: "", self.begin: _off(), self.stop: _on()}
        while not job.finished:
            yield {self.status: texts.progress(job, self.desk.queue.place(job))}
            await asyncio.sleep(POLL_SECONDS)
        status, result = self._outcome(job)
        yield {self.status: status, self.result: result, self.begin: _on(), self.stop: _off()}

    def _outcome(self, job: Job) -> tuple[str, str]:
        error = job.error
        if error is None:
            return texts.note("Done."), texts.result(Path(job.value.outfile), job.value)
        if job.cancelled:
            return texts.note("Stopped."), ""
        if isinstance(error, (LipsyncError, OSError)):
            return self._bad(error), ""
        log.error("a dubbing failed", exc_info=error)
        return texts.note(FALLBACK, bad=True), ""

    def _stop(self, request: gr.Request) -> None:
        self.desk.stop(str(request.session_hash))

    def _bad(self, error: LipsyncError | OSError) -> str:
        return texts.note(polite(error, self.desk.visits.folder), bad=True)


def _radio(label: str, choices: list[str], info: str) -> gr.Radio:
    return gr.Radio(choices, value=choices[0], label=label, info=info)


def _on() -> gr.Button:
    return gr.Button(interactive=True)


def _off() -> gr.Button:
    return gr.Button(interactive=False)
