"""Dub a face: write a video whose lips follow a given audio.

Frames are streamed: the first pass over the face video keeps boxes only; the second decodes it
again, runs the generator batch by batch and writes the result. The audio and its mel spectrogram
are in files, so that memory does not grow with length.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core import __version__
from lipsync_core.audio import file_mel, mel_window
from lipsync_core.dubbing.blending import BLENDS, Box, inference_input, paste
from lipsync_core.dubbing.face_source import FaceSource, track_face
from lipsync_core.dubbing.generators import Generator, load_generator
from lipsync_core.errors import LipsyncError
from lipsync_core.faces import detection, detectors
from lipsync_core.faces.crops import clip_box
from lipsync_core.faces.tracking import tracks
from lipsync_core.media.timestamps import FPS, read_timeline
from lipsync_core.media.video import VideoWriter, probe
from lipsync_core.runtime.files import PathLike
from lipsync_core.runtime.progress import Progress

log = logging.getLogger(__name__)

COMMENT = f"synthetic: lip-synced by lipsync {__version__}"
MAX_BATCH_BYTES = 256 << 20  # of frames that wait for the generator: large frames, small batches
SOURCE = "source"  # as a frame rate: that of the face file
AUTO_BOX = (-1, -1, -1, -1)
MIN_FPS, MAX_FPS = 1, 120


@dataclass(frozen=True)
class DubOptions:
    """Options of a dubbing; LipsyncError for values out of range.

    detector, models, device: as `faces.detectors.build` and `device.pick` take them.
    fps: frame rate of the result, 1 to 120, or "source": that of the video (see
        `timestamps.constant_rate` for a variable one), 25 for a still picture. The models read
        0.2 s of audio from the time of a frame on, at any rate.
    pads: pixels added to the detected box: top, bottom, left, right.
    box: a constant face box (top, bottom, left, right) instead of detection, without pads; in the
        pixels of the resized, rotated and cropped frame. All -1 or None: detect.
    crop, resize_factor, rotate, static: see `FaceSource`.
    smooth: smooth the boxes over time (two-sided, without lag).
    blend: "soft" or "hard", see `blending.paste`.
    batch_size: largest batch of the generator; smaller on a CPU and with large frames.
    face_det_batch_size: frames at a time in the detector.
    long_side: frames are scaled down to this many pixels for detection.
    max_gap: up to so many frames in a row without a detection take an interpolated box.
    """

    detector: str = "auto"
    models: PathLike = "models"
    device: str = "auto"
    fps: float | str | Fraction = SOURCE
    pads: Sequence[int] = (0, 10, 0, 0)
    box: Sequence[int] | None = None
    crop: Sequence[int] | None = None
    resize_factor: int = 1
    rotate: bool = False
    static: bool = False
    smooth: bool = True
    blend: str = "soft"
    batch_size: int = 128
    face_det_batch_size: int = detection.BATCH_SIZE
    long_side: int = detection.LONG_SIDE
    max_gap: int = tracks.MAX_GAP_FRAMES

    def __post_init__(self) -> None:
        for name in ("pads", "box", "crop"):
            sides = getattr(self, name)
            if sides is not None and len(sides) != 4:
                raise LipsyncError(
                    f"{name} {list(sides)}: wanted four numbers, top bottom left right"
                )
        if self.fixed_box is not None:
            top, bottom, left, right = self.fixed_box
            if not (0 <= top < bottom - 1 and 0 <= left < right - 1):
                raise LipsyncError(
                    f"box {list(self.fixed_box)}: wanted top < bottom and left < right, in pixels "
                    "(order: top bottom left right)"
                )
        counts = self.resize_factor, self.batch_size, self.face_det_batch_size, self.long_side
        if min(counts) < 1:
            raise LipsyncError("resize_factor, the batch sizes and long_side must be at least 1")
        if self.blend not in BLENDS:
            raise LipsyncError(f"blend {self.blend!r}: wanted one of {', '.join(BLENDS)}")
        if self.rate is not None and not MIN_FPS <= self.rate <= MAX_FPS:
            raise LipsyncError(f"fps {self.fps}: wanted {MIN_FPS} to {MAX_FPS}")

    @property
    def fixed_box(self) -> tuple[int, ...] | None:
        """The box given by the user, None when faces are detected."""
        return None if self.box is None or tuple(self.box) == AUTO_BOX else tuple(self.box)

    @property
    def rate(self) -> Fraction | None:
        """The frame rate as an exact number, None for the source's own."""
        if self.fps == SOURCE:
            return None
        try:
            return Fraction(str(self.fps))
        except (ValueError, ZeroDivisionError) as error:
            raise LipsyncError(
                f"fps {self.fps!r}: wanted {SOURCE} or a number such as 25 or 30000/1001"
            ) from error


@dataclass(frozen=True)
class DubStats:
    """Facts about a written dubbing.

    `seconds` is the length of the video; `faceless_frames` were written unchanged; fewer
    `source_frames` (different frames of the face file) than `frames` means that it was looped.
    """

    outfile: Path
    frames: int
    seconds: float
    fps: float
    width: int
    height: int
    faceless_frames: int
    source_frames: int


def dub(
    face: PathLike,
    audio: PathLike,
    checkpoint: PathLike,
    outfile: PathLike = "results/result_voice.mp4",
    **options: Any,
) -> DubStats:
    """Write `outfile`: the video or picture `face` with lips that follow `audio`.

    A video that is shorter than the audio starts again from its beginning (as in the public
    script); a longer one is cut. The result is as long as the audio, within half a frame. Frames
    without a face are written unchanged. The same inputs give the same frames.

    Parameters
    ----------
    face: a still picture or a video, told apart by content.
    audio: any file with audio; of a video, its audio track.
    checkpoint: a Wav2Lip generator, or an ONNX file of one: see `generators.load_generator`.
    outfile: an MP4 file; written whole or not at all.
    options: the fields of `DubOptions`.

    Raises LipsyncError (file, reason, remedy) for unusable inputs and when no frame has a face.
    """
    chosen = DubOptions(**options)
    crop = tuple(chosen.crop) if chosen.crop else None
    source = FaceSource(
        _input(face, "face"), chosen.resize_factor, chosen.rotate, crop, chosen.static
    )
    audio, checkpoint = _input(audio, "audio"), _input(checkpoint, "checkpoint")
    outfile = _output(outfile, (source.path, audio, checkpoint))
    source = replace(source, fps=chosen.rate or _source_rate(source))
    mel, seconds = file_mel(audio)
    count = max(1, round(seconds * source.fps))

    generator = load_generator(checkpoint, chosen.device, max_batch=chosen.batch_size)
    boxes, pads = _face_boxes(source, count, chosen)
    renderer = FrameRenderer(generator, mel, source.fps, boxes, pads, chosen.blend)
    return _write(renderer, source, (audio, seconds), outfile, count, chosen.fixed_box)


def _face_boxes(
    source: FaceSource, count: int, options: DubOptions
) -> tuple[np.ndarray, Sequence[int]]:
    """Boxes as `FrameRenderer` takes them, and their pads: detected, or the user's."""
    if options.fixed_box is not None:
        top, bottom, left, right = options.fixed_box
        return np.array([[left, top, right, bottom]], np.float32), (0, 0, 0, 0)
    detector = detectors.build(options.detector, options.device, options.models)
    window = tracks.SMOOTHING_WINDOW if options.smooth else 0
    limits = options.long_side, options.face_det_batch_size, options.max_gap, window
    return track_face(source, count, detector, *limits), options.pads


def _write(
    renderer: FrameRenderer,
    source: FaceSource,
    audio: tuple[Path, float],
    outfile: Path,
    count: int,
    fixed_box: Sequence[int] | None,
) -> DubStats:
    """Render `count` frames in batches and write them with `audio` (file, seconds).

    fixed_box: the face box of the user, for the error when it is outside of the frame.
    """
    audio_file, seconds = audio
    length = float(count / source.fps)
    longest = max(seconds, length)  # the video is rounded to frames: cut no audio
    done = faceless = used = 0
    writer = None
    with (
        contextlib.closing(source.loop(count)) as frames,
        contextlib.ExitStack() as stack,
        Progress(count, f"dub {outfile.name}", "frame") as progress,
    ):
        for batch in _batches(frames, renderer.generator.batch_size):
            if writer is None:
                height, width = batch[0][1].shape[:2]
                if fixed_box and renderer.region(*batch[0]) is None:
                    place = f"the {width}x{height} frame of {source.path}"
                    raise LipsyncError(f"box {list(fixed_box)}: outside of {place}")
                tags = {"comment": COMMENT}
                writer = stack.enter_context(
                    VideoWriter(outfile, (width, height), source.fps, audio_file, tags, longest)
                )
            faceless += renderer.render(done, batch).count(False)
            for position, frame in batch:
                writer.write(frame)
                used = max(used, position + 1)
            done += len(batch)
            progress.advance(len(batch))
    if faceless:
        log.warning("%s: %d of %d frames have no face: unchanged", source.path, faceless, count)
    rate = float(source.fps)
    return DubStats(outfile, count, length, rate, width, height, faceless, used)


def _source_rate(source: FaceSource) -> Fraction:
    """The frame rate of the face file: 25 for a still picture."""
    if source.still:
        return Fraction(FPS)
    probe(source.path)  # raises an error that names the reason when the file is no video
    return read_timeline(source.path).rate


def _input(path: PathLike, role: str) -> Path:
    if not Path(path).exists():
        raise LipsyncError(f"{path}: no such {role} file; check the name")
    if not Path(path).is_file():  # a pipe could block, and cannot be read twice
        raise LipsyncError(f"{path}: the {role} is no file; write it to one first")
    return Path(path)


def _output(path: PathLike, inputs: Sequence[Path]) -> Path:
    target = Path(path)
    if target.is_dir() or not target.suffix:
        raise LipsyncError(f"{target}: the result needs a file name such as result_voice.mp4")
    if any(target.exists() and target.samefile(file) for file in inputs):
        raise LipsyncError(f"{target}: the result would replace an input; choose another name")
    return target


@dataclass(frozen=True)
class FrameRenderer:
    """Runs the generator over frames. `boxes` (n, 4) by index in the source, NaN for no face."""

    generator: Generator
    mel: np.ndarray  # (T, 80)
    rate: Fraction
    boxes: np.ndarray
    pads: Sequence[int]
    blend: str

    def render(self, first: int, batch: Sequence[tuple[int, np.ndarray]]) -> list[bool]:
        """Dub frames first, first + 1, ... of the result in place; return which have a face.

        batch: pairs (index in the source, uint8 (H, W, 3) BGR).
        """
        regions = [self.region(position, frame) for position, frame in batch]
        faces = [
            (number, frame, region)
            for number, ((_, frame), region) in enumerate(zip(batch, regions, strict=True), first)
            if region is not None
        ]
        if faces:
            crops = [frame[y1:y2, x1:x2] for _, frame, (x1, y1, x2, y2) in faces]
            mels = np.stack([mel_window(self.mel, number, self.rate) for number, _, _ in faces])
            size = self.generator.image_size
            generated = self.generator.generate(mels, inference_input(crops, size))
            for (_, frame, region), face in zip(faces, generated, strict=True):
                paste(frame, region, face, self.blend)
        return [region is not None for region in regions]

    def region(self, position: int, frame: np.ndarray) -> Box | None:
        """The face of one frame of the source, with pads, in whole pixels; None without one."""
        box = self.boxes[min(position, len(self.boxes) - 1)]  # a fixed box is one row for all
        if np.isnan(box).any():
            return None
        x1, y1, x2, y2 = clip_box(box, frame.shape, self.pads)
        return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= 2 else None


def _batches(
    frames: Iterator[tuple[int, np.ndarray]], size: int
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Lists of at most `size` frames and MAX_BATCH_BYTES of pixels (but at least one frame)."""
    for first in frames:
        room = max(1, min(size, MAX_BATCH_BYTES // first[1].nbytes))
        yield [first, *itertools.islice(frames, room - 1)]
