"""What the page does for a visit, without the page: take files, choose a face, dub."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import PathLike
from lipsync_core.serve.jobs import Job, JobQueue, Report
from lipsync_core.serve.preview import Preview, write_picture
from lipsync_core.serve.settings import ServeSettings
from lipsync_core.serve.uploads import check_face, check_sound
from lipsync_core.serve.visits import Visit, Visits

RESULT = "dubbed.mp4"
FINDING, DUBBING = "Finding faces", "Dubbing"  # stages, as visitors read them
Look = Callable[[PathLike], Preview]


class Desk:
    """One for the server.

    visits: the open pages. look: makes the preview of a face file. dub: `dubbing.dub.dub`. Methods
    raise LipsyncError with a line for the visitor.
    """

    def __init__(
        self, settings: ServeSettings, visits: Visits, look: Look, dub: Callable[..., Any]
    ) -> None:
        self.settings, self.visits = settings, visits
        self._look, self._dub = look, dub
        self.queue = JobQueue()

    def take_face(self, key: str, upload: str) -> Visit:
        """Check an upload, make it the face of the visit, and find the faces of its first frame."""
        visit, path = self.visits.get(key), self.visits.take(upload)
        self.drop_face(key)
        try:
            check_face(path, self.settings.limits)
            visit.preview = self._look(path)
        except BaseException:
            self.visits.remove(path)
            raise
        visit.face = path
        return self._kept(visit, path)

    def take_sound(self, key: str, upload: str) -> Visit:
        """Check an upload and make it the sound of the visit."""
        visit, path = self.visits.get(key), self.visits.take(upload)
        self.drop_sound(key)
        try:
            check_sound(path, self.settings.limits)
        except BaseException:
            self.visits.remove(path)
            raise
        visit.sound = path
        return self._kept(visit, path)

    def drop_face(self, key: str) -> None:
        """Remove the face of the visit, and stop a dubbing of it."""
        self.stop(key)
        visit = self.visits.get(key)
        self.visits.remove(visit.face)
        visit.face = visit.preview = None

    def drop_sound(self, key: str) -> None:
        """Remove the sound of the visit, and stop a dubbing with it."""
        self.stop(key)
        visit = self.visits.get(key)
        self.visits.remove(visit.sound)
        visit.sound = None

    def draw_preview(self, key: str, chosen: int | None) -> Path:
        """Write the first frame with its faces, and return where."""
        visit = self.visits.get(key)
        if visit.preview is None:
            raise LipsyncError("there is no face to choose from; drop a video or picture first")
        # Another name for each choice, so that browsers load it anew.
        path = visit.folder / f"preview{'' if chosen is None else chosen + 1}.jpg"
        write_picture(visit.preview.drawn(chosen), path)
        return path

    def start(self, key: str, options: Mapping[str, Any]) -> Job:
        """Queue the dubbing of the visit's face and sound with `config.DubOptions`."""
        visit, settings = self.visits.get(key), self.settings
        missing = [n for n, file in (("face", visit.face), ("sound", visit.sound)) if file is None]
        if missing:
            raise LipsyncError(f"no {' and no '.join(missing)} yet: drop a file first")
        if visit.job is not None and not visit.job.finished:
            raise LipsyncError("your last dubbing has not ended; stop it first")
        given = dict(options)
        if settings.label:
            given["label"] = settings.label
        visit.job = self.queue.submit(
            functools.partial(self._work, visit, visit.face, visit.sound, given)
        )
        return visit.job

    def _work(
        self,
        visit: Visit,
        face: Path | None,
        sound: Path | None,
        options: Mapping[str, Any],
        report: Report,
    ) -> Any:
        settings = self.settings
        try:
            return self._dub(
                face,
                sound,
                settings.checkpoint,
                visit.folder / RESULT,
                detector=settings.detector,
                device=settings.device,
                models=settings.models,
                faces_dir=visit.folder / "faces",
                on_progress=functools.partial(report, DUBBING),
                on_faces=functools.partial(report, FINDING),
                sign_cert=settings.sign_cert,
                sign_key=settings.sign_key,
                **options,
            )
        finally:
            # Work that had not yet noticed that its visit was closed may have made it again.
            if not self.visits.is_open(visit):
                shutil.rmtree(visit.folder, ignore_errors=True)

    def stop(self, key: str) -> None:
        """Cancel the dubbing of the visit."""
        job = self.visits.get(key).job
        if job is not None:
            job.cancel()

    def _kept(self, visit: Visit, upload: Path) -> Visit:
        """`visit`, unless it was closed in between; then its upload is removed."""
        if not self.visits.is_open(visit):
            self.visits.remove(upload)
            raise LipsyncError("this visit has ended; load the page again")
        return visit
