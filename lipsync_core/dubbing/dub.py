"""Dub a face: write a video whose lips follow a given audio.

Frames are streamed: faces are found in a first pass over scaled-down frames, whose boxes are kept;
in the second pass every frame is decoded once, its faces are generated batch by batch, drawn into
it and written. Decoding, generating and writing overlap, and memory does not grow with length.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core.config import DubOptions
from lipsync_core.dubbing import face_choice, faces, inputs, label, provenance, sounds
from lipsync_core.dubbing.compositor import Compositor
from lipsync_core.dubbing.enhancer import Enhancer
from lipsync_core.dubbing.face_choice import FacePath
from lipsync_core.dubbing.generators import Generator, load_generator
from lipsync_core.dubbing.geometry import Geometry
from lipsync_core.dubbing.render import Renderer, Speaker
from lipsync_core.dubbing.source import FaceSource
from lipsync_core.dubbing.timeline import TimedFrame, at_rate, timed_frames
from lipsync_core.faces.detection import Detections, read_boxes
from lipsync_core.media.native_frames import SourceFormat
from lipsync_core.media.stamped_writer import StampedWriter
from lipsync_core.media.timestamps import FPS, MIN_RATE
from lipsync_core.runtime.ahead import ahead
from lipsync_core.runtime.files import PathLike, atomic_path
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


def dub(
    face: PathLike,
    audio: PathLike | Mapping[str, PathLike],
    checkpoint: PathLike,
    outfile: PathLike = "results/result_voice.mp4",
    *,
    detector: str | None = None,
    device: str = "auto",
    models: PathLike = "models",
    settings: faces.FaceSettings | None = None,
    faces_dir: PathLike | None = None,
    boxes: PathLike | None = None,
    on_progress: OnProgress | None = None,
    on_faces: OnProgress | None = None,
    **options: Any,
) -> DubStats:
    """Write `outfile`: the video or picture `face` with lips that follow `audio`.

    Every frame of a video keeps its own time; the result is as long as the audio, within half a
    frame. Frames without the face, other people and all that lies outside of the mask stay as they
    are. The same inputs give the same frames.

    Parameters
    ----------
    face: a still picture or a video, told apart by content.
    audio: any file with audio (of a video, its audio track); or several: what `face_select` takes
        -> the file that this face speaks. They are mixed in the result.
    checkpoint: a Wav2Lip generator, or its export to ONNX.
    outfile: an MP4 file; written whole or not at all.
    detector, device, models: as `faces.detectors.build` and `device.pick` take them; detector None:
        that of `settings`.
    settings: how faces are found; by default as in the model card beside the checkpoint.
    faces_dir: folder of the faces found before; by default the user's cache.
    boxes: a file of faces found before (`faces.find_faces`), which are then not looked for.
    on_progress: is called with the number of frames written and to be written, after each; an
        exception in it cancels the dubbing.
    on_faces: likewise, while faces are looked for.
    options: the fields of `config.DubOptions`.

    Raises LipsyncError (file, reason, remedy) for unusable inputs and when no frame has a face.
    """
    chosen = inputs.checked_options(options)
    given = dict(audio) if isinstance(audio, Mapping) else {chosen.face_select: audio}
    face, checkpoint = inputs.input_file(face, "face"), inputs.input_file(checkpoint, "checkpoint")
    voices = {key: inputs.input_file(path, "audio") for key, path in given.items()}
    if chosen.final_audio:
        inputs.input_file(chosen.final_audio, "final_audio")
    outfile = inputs.output_file(outfile, (face, checkpoint, *voices.values()))
    source = FaceSource(
        face, Geometry.of_entry(dict(chosen)), chosen.static, chosen.start, chosen.end
    )
    settings = settings or faces.FaceSettings.of_checkpoint(checkpoint)
    spoken = [sounds.read_voice(path, chosen.silence == "rest") for path in voices.values()]
    generator = load_generator(checkpoint, device, chosen.precision, chosen.batch_size)
    settings = settings.changed(chosen, detector)
    finder = Finder(settings, device, models, faces_dir, boxes, on_faces)
    paths = finder.paths(source, chosen, list(voices))
    with sounds.heard(list(voices.values()), chosen.final_audio) as sound:
        dubbing = Dubbing(source, spoken, paths, sound, generator, chosen, outfile, on_progress)
        return dubbing.write(checkpoint, list(voices.values()))


@dataclass(frozen=True)
class Finder:
    """Finds the faces of a source; see `dub` for its fields."""

    settings: faces.FaceSettings
    device: str
    models: PathLike
    faces_dir: PathLike | None
    boxes: PathLike | None
    on_faces: OnProgress | None = None

    def paths(
        self, source: FaceSource, options: DubOptions, choices: Sequence[str]
    ) -> list[FacePath]:
        """The path of the face that each choice names."""
        if options.box is not None:
            return [face_choice.user_path(options.box, source.size, source.path)] * len(choices)
        chooser = face_choice.FaceChooser(
            source.path,
            read_boxes(self.boxes) if self.boxes is not None else self._found(source, options),
            self.settings,
            source.geometry.unchanged,
            self.device,
            self.models,
        )
        return [chooser.face_path(choice) for choice in choices]

    def _found(self, source: FaceSource, options: DubOptions) -> Detections:
        return faces.kept_faces(
            source.path,
            self.settings,
            self.faces_dir or faces.cache_folder(),
            self.models,
            source.geometry,
            source.static,
            device=self.device,
            batch_size=options.face_det_batch_size,
            on_progress=self.on_faces,
        )


@dataclass(frozen=True)
class Dubbing:
    """All that is needed to write a dubbing; a voice and a path for each face. sound: is heard."""

    source: FaceSource
    voices: list[sounds.Voice]
    paths: list[FacePath]
    sound: Path
    generator: Generator
    options: DubOptions
    outfile: Path
    on_progress: OnProgress | None = None

    def write(self, checkpoint: Path, audio: Sequence[Path]) -> DubStats:
        """Write the video, with its claim and, where a certificate is given, its signature.

        checkpoint, audio: the files that it is made from, besides the face.
        """
        claim = provenance.make_claim(checkpoint)
        options = self.options
        if not options.sign_cert:
            return self._write(self.outfile, provenance.tags(claim))
        from lipsync_core.media import content_credentials

        key = content_credentials.load_signing_key(options.sign_cert, options.sign_key)
        manifest = provenance.make_manifest(claim, self.source.path, audio, self.outfile)
        with atomic_path(self.outfile) as unsigned:
            stats = self._write(unsigned, provenance.tags(claim))
            content_credentials.sign(unsigned, manifest, key)
        return stats

    def _write(self, target: Path, tags: Mapping[str, str]) -> DubStats:
        seconds = self._seconds()
        shown = self._format(seconds)
        renderer = self._renderer(shown.tick)
        mark = (
            label.prepare_label(
                self.options.label, shown.width, shown.height, shown.color.full_range
            )
            if self.options.label
            else None
        )
        depth = max(2, min(MAX_READ_AHEAD, READ_AHEAD_BYTES // (shown.width * shown.height * 2)))
        total = max(1, round(seconds / float(shown.duration * shown.tick)))
        count, faceless, used, latest, last = 0, 0, 0, -1, 0
        with contextlib.ExitStack() as stack:
            frames = stack.enter_context(
                contextlib.closing(ahead(self._frames(shown, seconds), depth, "decode"))
            )
            rendered = stack.enter_context(
                contextlib.closing(
                    ahead(renderer.rendered(frames, self.generator.batch_size), depth, "generate")
                )
            )
            writer = stack.enter_context(
                StampedWriter(target, shown, self.sound, seconds, tags, self.options.crf)
            )
            progress = stack.enter_context(Progress(total, f"dub {self.outfile.name}", "frame"))
            for each in rendered:
                renderer.draw(each)
                if mark is not None:
                    label.draw_label(each.frame.planes, mark)
                writer.write(each.frame.shown, each.frame.planes)
                count, faceless = count + 1, faceless + (not each.drawings)
                last = each.frame.shown
                used, latest = used + (each.frame.source > latest), max(each.frame.source, latest)
                progress.advance()
                if self.on_progress is not None:
                    self.on_progress(count, total)
        if faceless:
            log.warning(
                "%s: %d of %d frames without the face: unchanged", self.source.path, faceless, count
            )
        return DubStats(
            outfile=self.outfile,
            frames=count,
            seconds=float((last + shown.duration) * shown.tick),
            fps=float(1 / (shown.duration * shown.tick)),
            width=shown.width,
            height=shown.height,
            faceless_frames=faceless,
            source_frames=used,
            sound=str(writer.sound_mode),
        )

    def _seconds(self) -> float:
        """Length of the result: that of the sound, or of the video where it ends before (trim)."""
        if self.options.final_audio:
            seconds = sounds.length_of(self.sound)
        else:
            seconds = max(voice.seconds for voice in self.voices)
        own = self.source.seconds
        return min(seconds, own) if self.options.length == "trim" and own else seconds

    def _rate(self) -> Fraction | None:
        """The constant rate of the result, None for the source's own times.

        A source with too few frames for a mouth to move smoothly (a slide show) gets 25 a second.
        """
        asked = inputs.rate_of(self.options)
        slow = self.source.frames_a_second < MIN_RATE
        return asked or (Fraction(FPS) if slow else None)

    def _format(self, seconds: float) -> SourceFormat:
        """The format of the result's frames."""
        rate, source = self._rate(), self.source
        width, height = source.size
        return SourceFormat(
            width=width,
            height=height,
            shown_width=width,
            shown_height=height,
            pixel_aspect=source.pixel_aspect,
            tick=source.tick if rate is None else 1 / rate,
            stamps=np.arange(2) * (source.gap if rate is None else 1),
            duration=source.gap if rate is None else 1,
            color=source.color,
            bits=8,
            pixel_format="yuv420p",
        )

    def _frames(self, shown: SourceFormat, seconds: float) -> Iterator[TimedFrame]:
        """The frames of the result, at their times in `shown.tick`s."""
        source = self.source
        # A frame is shown when more than half of it is before the end.
        until = max(1, math.ceil(seconds / float(source.tick) - source.gap / 2))
        keeps_clock = source.start == 0 and source.path.samefile(self.sound)
        frames = timed_frames(
            source.play, source.backwards, self.options.length, source.gap, until, keeps_clock
        )
        rate = self._rate()
        if rate is None:
            yield from frames
        else:
            yield from at_rate(frames, source.tick, rate, max(1, round(seconds * rate)))

    def _renderer(self, shown_tick: Fraction) -> Renderer:
        options, source = self.options, self.source
        enhancer = Enhancer(options.enhancer) if options.enhancer else None
        compositors = (
            Compositor(
                source.color,
                options.blend,
                enhancer,
                options.occluder == "keep",
                source.frames_a_second,
            )
            for _ in self.voices
        )
        speakers = [
            Speaker(path, voice.mel, voice.seconds, voice.silent, compositor)
            for path, voice, compositor in zip(self.paths, self.voices, compositors, strict=True)
        ]
        return Renderer(self.generator, speakers, source.tick, shown_tick, source.color, source.gap)
