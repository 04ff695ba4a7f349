"""Dubbing: a face, a sound and a generator make a video whose lips follow the sound.

Streaming: the first pass over the face video keeps boxes only, the second decodes it again, runs
the generator batch by batch and writes; the sound and its mel spectrogram are in files. Knows the
order of the work and the options users know; pixels are `blending`'s, boxes are `faces`'.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lipsync_core import __version__
from lipsync_core.audio import file_mel, mel_window
from lipsync_core.checkpoints import build_from
from lipsync_core.dubbing.blending import BLENDS, Box, generator_input, paste
from lipsync_core.dubbing.face_source import FaceSource, track_face
from lipsync_core.errors import LipsyncError
from lipsync_core.faces import detection, detectors
from lipsync_core.faces.crops import clip_box
from lipsync_core.faces.tracking import tracks
from lipsync_core.media.timestamps import FPS, read_timeline
from lipsync_core.media.video import VideoWriter, probe
from lipsync_core.models import Wav2Lip
from lipsync_core.runtime.device import pick
from lipsync_core.runtime.files import PathLike
from lipsync_core.runtime.progress import Progress

log = logging.getLogger(__name__)

COMMENT = f"synthetic: lip-synced by lipsync {__version__}"
BATCH_BYTES = 256 << 20  # frames that wait for the generator: large pictures make small batches
CPU_BATCH = 16  # more at a time is no faster on a CPU, and 128 take 1.5 GB
SOURCE = "source"  # as a frame rate: that of the face file
AUTO_BOX = (-1, -1, -1, -1)


@dataclass(frozen=True)
class DubStats:
    """What came out of `dub`.

    `seconds` is the length of the picture; `faceless_frames` were written unchanged; fewer
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
    *,
    detector: str = "auto",
    models: PathLike = "models",
    device: str = "auto",
    fps: float | str | Fraction = SOURCE,
    pads: Sequence[int] = (0, 10, 0, 0),
    box: Sequence[int] | None = None,
    crop: Sequence[int] | None = None,
    resize_factor: int = 1,
    rotate: bool = False,
    static: bool = False,
    smooth: bool = True,
    blend: str = "soft",
    batch_size: int = 128,
    face_det_batch_size: int = detection.BATCH_SIZE,
    long_side: int = detection.LONG_SIDE,
    max_gap: int = tracks.MAX_GAP_FRAMES,
) -> DubStats:
    """Write `outfile`: the face of `face` saying the sound of `audio`.

    A video that is shorter than the sound starts again from its beginning (as the public script
    does); a longer one is cut. The result is as long as the sound, within half a frame. Frames
    without a face are written unchanged. The same inputs give the same frames.

    Parameters
    ----------
    face: a still picture or a video, told apart by content.
    audio: any file with sound; of a video, its sound track.
    checkpoint: a Wav2Lip generator; width and image size are read from its tensors.
    outfile: MP4 by its name; written whole or not at all.
    detector, models, device: as `faces.detectors.build` and `device.pick` take them.
    fps: frame rate of the result, 1 to 120, or "source": that of the video (see
        `timestamps.constant_rate` for one that varies), 25 for a still picture. The models read
        0.2 s of sound from the time of a frame on, at any rate.
    pads: pixels added to the detected box: top, bottom, left, right.
    box: a constant face box (top, bottom, left, right) instead of detection, not padded; in the
        pixels of the resized, turned and cropped picture. All -1 or None: detect.
    crop, resize_factor, rotate, static: see `FaceSource`.
    smooth: smooth the boxes over time (two-sided, without lag).
    blend: "soft" or "hard", see `blending.paste`.
    batch_size: most frames at a time in the generator; fewer on a CPU and of large frames.
    face_det_batch_size: frames at a time in the detector.
    long_side: frames are scaled down to this many pixels for detection.
    max_gap: up to so many frames in a row without a detection take an interpolated box.

    Raises LipsyncError (file, reason, remedy) for unusable inputs and when no frame has a face.
    """
    counts = resize_factor, batch_size, face_det_batch_size, long_side
    forced = _checked(fps, pads, box, crop, blend, counts)
    source = FaceSource(
        _input(face, "face"), resize_factor, rotate, tuple(crop) if crop else None, static
    )
    audio, checkpoint = _input(audio, "audio"), _input(checkpoint, "checkpoint")
    outfile = _output(outfile, (source.path, audio, checkpoint))
    source = replace(source, fps=forced or _source_rate(source))
    mel, seconds = file_mel(audio)
    count = max(1, round(seconds * source.fps))

    chosen = pick(device)
    generator = build_from(checkpoint, Wav2Lip).to(chosen).eval()
    given = box if box is not None and tuple(box) != AUTO_BOX else None
    if given:
        top, bottom, left, right = given
        boxes, pads = np.array([[left, top, right, bottom]], np.float32), (0, 0, 0, 0)
    else:
        engine = detectors.build(detector, device, models)
        window = tracks.SMOOTHING_WINDOW if smooth else 0
        boxes = track_face(source, count, engine, long_side, face_det_batch_size, max_gap, window)
        del engine
    renderer = FrameRenderer(generator, chosen, mel, source.fps, boxes, pads, blend)
    limit = min(batch_size, CPU_BATCH) if chosen.type == "cpu" else batch_size
    return _write(renderer, source, (audio, seconds), outfile, count, limit, given)


def _write(
    renderer: FrameRenderer,
    source: FaceSource,
    sound: tuple[Path, float],
    outfile: Path,
    count: int,
    limit: int,
    given: Sequence[int] | None,
) -> DubStats:
    """Dub `count` frames, at most `limit` at a time, and write them with `sound` (file, seconds).

    given: the face box of the user, for the error when it is outside of the picture.
    """
    audio, seconds = sound
    length = float(count / source.fps)
    longest = max(seconds, length)  # the picture is rounded to frames: cut no sound
    done = faceless = used = 0
    writer = None
    with (
        contextlib.closing(source.loop(count)) as pictures,
        contextlib.ExitStack() as stack,
        Progress(count, f"dub {outfile.name}", "frame") as progress,
    ):
        for batch in _batches(pictures, limit):
            if writer is None:
                height, width = batch[0][1].shape[:2]
                if given and renderer.region(*batch[0]) is None:
                    place = f"the {width}x{height} picture of {source.path}"
                    raise LipsyncError(f"box {list(given)}: outside of {place}")
                tags = {"comment": COMMENT}
                writer = stack.enter_context(
                    VideoWriter(outfile, (width, height), source.fps, audio, tags, longest)
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


def _checked(
    fps: float | str | Fraction,
    pads: Sequence[int],
    box: Sequence[int] | None,
    crop: Sequence[int] | None,
    blend: str,
    counts: Sequence[int],
) -> Fraction | None:
    """The frame rate as an exact number, None for the source's own.

    Raises LipsyncError for options out of range.
    """
    for name, sides in (("pads", pads), ("box", box), ("crop", crop)):
        if sides is not None and len(sides) != 4:
            raise LipsyncError(f"{name} {list(sides)}: wanted four numbers, top bottom left right")
    if box is not None and tuple(box) != AUTO_BOX:
        top, bottom, left, right = box
        if not (0 <= top < bottom - 1 and 0 <= left < right - 1):
            raise LipsyncError(
                f"box {list(box)}: wanted top < bottom and left < right, in pixels (order: top "
                "bottom left right)"
            )
    if min(counts) < 1:
        raise LipsyncError("resize_factor, the batch sizes and long_side must be at least 1")
    if blend not in BLENDS:
        raise LipsyncError(f"blend {blend!r}: wanted one of {', '.join(BLENDS)}")
    if fps == SOURCE:
        return None
    try:
        rate = Fraction(str(fps))
    except (ValueError, ZeroDivisionError) as error:
        raise LipsyncError(
            f"fps {fps!r}: wanted {SOURCE} or a number such as 25 or 30000/1001"
        ) from error
    if not 1 <= rate <= 120:
        raise LipsyncError(f"fps {fps}: wanted 1 to 120")
    return rate


def _source_rate(source: FaceSource) -> Fraction:
    """The frame rate of the face file: 25 for a still picture."""
    if source.still:
        return Fraction(FPS)
    probe(source.path)  # says what is wrong with a file that is no video
    return read_timeline(source.path).rate


def _input(path: PathLike, role: str) -> Path:
    if not Path(path).exists():
        raise LipsyncError(f"{path}: no such {role} file; check the name")
    if not Path(path).is_file():  # a pipe could wait for ever, and cannot be read twice
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

    generator: nn.Module
    device: torch.device
    mel: np.ndarray  # (T, 80)
    rate: Fraction
    boxes: np.ndarray
    pads: Sequence[int]
    blend: str

    def render(self, first: int, batch: Sequence[tuple[int, np.ndarray]]) -> list[bool]:
        """Dub frames first, first + 1, ... of the result in place; tell which have a face.

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
            sound = np.stack([mel_window(self.mel, number, self.rate) for number, _, _ in faces])
            generated = self._generate(sound, generator_input(crops, self.generator.image_size))
            for (_, frame, region), face in zip(faces, generated, strict=True):
                paste(frame, region, face, self.blend)
        return [region is not None for region in regions]

    def region(self, position: int, frame: np.ndarray) -> Box | None:
        """The face of one picture of the source, with pads, in whole pixels; None without one."""
        box = self.boxes[min(position, len(self.boxes) - 1)]  # a given box is one row for all
        if np.isnan(box).any():
            return None
        x1, y1, x2, y2 = clip_box(box, frame.shape, self.pads)
        return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= 2 else None

    def _generate(self, sound: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """(B, 80, 16) and (B, 6, S, S) -> float32 (B, S, S, 3) BGR in [0, 1]."""
        with torch.inference_mode():
            try:
                mel = torch.from_numpy(sound[:, None]).to(self.device)
                generated = self.generator(mel, torch.from_numpy(faces).to(self.device))
            except torch.OutOfMemoryError as error:
                raise LipsyncError(
                    f"{self.device}: {len(faces)} frames at a time do not fit in its memory; give "
                    "a smaller --wav2lip_batch_size"
                ) from error
            return np.ascontiguousarray(generated.permute(0, 2, 3, 1).float().cpu().numpy())


def _batches(
    pictures: Iterator[tuple[int, np.ndarray]], size: int
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Lists of at most `size` pictures, and of at most BATCH_BYTES of pixels (but one picture)."""
    for first in pictures:
        room = max(1, min(size, BATCH_BYTES // first[1].nbytes))
        yield [first, *itertools.islice(pictures, room - 1)]
