"""Write a dubbing: every frame is decoded once, its faces are generated, drawn and encoded.

Frames are streamed: decoding, generating and writing overlap, and memory does not grow with length.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lipsync_core.dubbing import label, provenance
from lipsync_core.dubbing.compositor import Compositor
from lipsync_core.dubbing.enhancer import Enhancer
from lipsync_core.dubbing.face_choice import FacePath
from lipsync_core.dubbing.generators import Generator
from lipsync_core.dubbing.render import RenderedFrame, Renderer, Speaker
from lipsync_core.dubbing.schedule import Schedule
from lipsync_core.dubbing.sounds import Voice
from lipsync_core.media.content_credentials import SigningKey, sign
from lipsync_core.media.stamped_writer import StampedWriter
from lipsync_core.runtime.ahead import Ahead
from lipsync_core.runtime.files import atomic_path
from lipsync_core.runtime.progress import OnProgress, Progress

log = logging.getLogger(__name__)
READ_AHEAD_BYTES = 64 << 20  # of frames decoded ahead of the generator
MAX_READ_AHEAD = 32


@dataclass(frozen=True)
class DubStats:
    """Facts about a written dubbing.

    `seconds` is the length of the video; `faceless_frames` were written unchanged; fewer
    `source_frames` (different frames of the face file) than `frames` means that some were shown
    again. sound: "copied" packet by packet, or "encoded".
    """

    outfile: Path
    frames: int
    seconds: float
    fps: float
    width: int
    height: int
    faceless_frames: int
    source_frames: int
    sound: str


@dataclass
class Tally:
    """Counts of the frames that were written, see `DubStats`. last: when the last one is shown."""

    frames: int = 0
    faceless_frames: int = 0
    source_frames: int = 0
    last: int = 0
    _latest: int | None = None  # time stamp in the source

    def add(self, written: RenderedFrame) -> None:
        """Count a frame; they come in the order of the result."""
        frame = written.frame
        self.frames += 1
        self.faceless_frames += not written.drawings
        self.last = frame.shown
        # What is played again, or backwards, was seen before.
        if self._latest is None or frame.source > self._latest:
            self.source_frames += 1
            self._latest = frame.source


@dataclass(frozen=True)
class Dubbing:
    """All that is needed to write a dubbing, but the places of the faces.

    voices: one for each face. mark: a visible label. signing: of the C2PA manifest. Each is made
    before faces are looked for, so that a wrong file costs no search.
    """

    schedule: Schedule
    voices: Sequence[Voice]
    generator: Generator
    outfile: Path
    enhancer: Enhancer | None = None
    mark: label.Label | None = None
    signing: SigningKey | None = None
    on_progress: OnProgress | None = None

    def write(self, paths: Sequence[FacePath], checkpoint: Path, audio: Sequence[Path]) -> DubStats:
        """Write the video, with its claim and, where there is a key, its signature.

        paths: of the face of each voice. checkpoint, audio: the files that it is made from, besides
        the face.
        """
        claim = provenance.make_claim(checkpoint)
        if self.signing is None:
            return self._write(self.outfile, paths, provenance.tags(claim))
        face = self.schedule.source.path
        manifest = provenance.make_manifest(claim, face, audio, self.outfile)
        with atomic_path(self.outfile) as unsigned:
            stats = self._write(unsigned, paths, provenance.tags(claim))
            sign(unsigned, manifest, self.signing)
        return stats

    def _write(self, target: Path, paths: Sequence[FacePath], tags: Mapping[str, str]) -> DubStats:
        schedule, tally = self.schedule, Tally()
        shown, total = schedule.shown, schedule.total
        renderer = self._renderer(paths)
        with (
            self._rendered(renderer) as rendered,  # begins before the writer reads the sound
            StampedWriter(
                target, shown, schedule.sound, schedule.seconds, tags, schedule.options.crf
            ) as writer,
            Progress(total, f"dub {self.outfile.name}", "frame") as progress,
        ):
            for each in rendered:
                renderer.draw(each)
                if self.mark is not None:
                    label.draw_label(each.frame.planes, self.mark)
                writer.write(each.frame.shown, each.frame.planes)
                tally.add(each)
                progress.advance()
                if self.on_progress is not None:
                    self.on_progress(tally.frames, total)
        if tally.faceless_frames:
            log.warning(
                "%s: %d of %d frames without the face: unchanged",
                schedule.source.path,
                tally.faceless_frames,
                tally.frames,
            )
        return DubStats(
            outfile=self.outfile,
            frames=tally.frames,
            seconds=float((tally.last + shown.duration) * shown.tick),
            fps=float(1 / (shown.duration * shown.tick)),
            width=shown.width,
            height=shown.height,
            faceless_frames=tally.faceless_frames,
            source_frames=tally.source_frames,
            sound=str(writer.sound_mode),
        )

    @contextlib.contextmanager
    def _rendered(self, renderer: Renderer) -> Iterator[Iterator[RenderedFrame]]:
        """The frames with their faces; threads decode and generate some ahead of their use."""
        shown = self.schedule.shown
        depth = max(2, min(MAX_READ_AHEAD, READ_AHEAD_BYTES // (shown.width * shown.height * 2)))
        with contextlib.closing(Ahead(self.schedule.frames(), depth, "decode")) as frames:
            rendered = renderer.rendered(frames, self.generator.batch_size)
            with contextlib.closing(Ahead(rendered, depth, "generate")) as items:
                yield items

    def _renderer(self, paths: Sequence[FacePath]) -> Renderer:
        schedule = self.schedule
        source, options = schedule.source, schedule.options
        speakers = [
            Speaker(
                path,
                voice.mel,
                voice.seconds,
                voice.silent,
                Compositor(
                    source.color,
                    options.blend,
                    self.enhancer,
                    options.occluder == "keep",
                    source.frames_a_second,
                ),
            )
            for path, voice in zip(paths, self.voices, strict=True)
        ]
        shown_tick = schedule.shown.tick
        return Renderer(self.generator, speakers, source.tick, shown_tick, source.color, source.gap)
