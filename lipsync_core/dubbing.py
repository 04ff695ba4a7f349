"""Dubbing: a face, a sound and a generator make a video whose lips follow the sound.

Streaming, so memory does not grow with length: the first pass over the face video keeps boxes
only, the second decodes it again, runs the generator batch by batch and writes. Knows the order
of the work and the options users know; pixels are `blending`'s, boxes are `faces`'.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lipsync_core import __version__
from lipsync_core.audio import SAMPLE_RATE, WINDOW, load_wav, mel_window, melspectrogram
from lipsync_core.blending import BLENDS, Box, generator_input, paste
from lipsync_core.checkpoints import build_from
from lipsync_core.device import pick
from lipsync_core.errors import LipsyncError
from lipsync_core.face_source import FaceSource, locate
from lipsync_core.faces import detection, detectors, tracks
from lipsync_core.faces.crops import bounds
from lipsync_core.models import Wav2Lip
from lipsync_core.progress import Progress
from lipsync_core.video import FPS, PathLike, VideoWriter, probe

log = logging.getLogger(__name__)

COMMENT = f"synthetic: lip-synced by lipsync {__version__}"
BATCH_BYTES = 256 << 20  # frames that wait for the generator: large pictures make small batches
CPU_BATCH = 16  # more at a time is no faster on a CPU, and 128 take 1.5 GB
AUTOMATIC = (-1, -1, -1, -1)


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
    fps: float | str | Fraction = FPS,
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
    max_gap: int = tracks.MAX_GAP,
) -> DubStats:
    """Write `outfile`: the face of `face` saying the sound of `audio`.

    A video that is shorter than the sound starts again from its beginning (as the public script
    does); a longer one is cut. The result is as long as the sound, within half a frame. Frames
    without a face are written unchanged. The same inputs give the same frames.

    Parameters
    ----------
    face: a still picture or a video, told apart by content. A video is dubbed at 25 frames a
        second, the rate of the public models, whatever its own.
    audio: any file with sound; of a video, its sound track.
    checkpoint: a Wav2Lip generator; width and image size are read from its tensors.
    outfile: MP4 by its name; written whole or not at all.
    detector, models, device: as `faces.detectors.build` and `device.pick` take them.
    fps: frame rate of the result when `face` is a still picture, 1 to 120.
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
    rate = _checked(fps, pads, box, crop, blend, counts)
    source = FaceSource(
        _input(face, "face"), resize_factor, rotate, tuple(crop) if crop else None, static
    )
    audio, checkpoint = _input(audio, "audio"), _input(checkpoint, "checkpoint")
    outfile = _output(outfile, (source.path, audio, checkpoint))
    if not source.still:
        probe(source.path)
        rate = Fraction(FPS)
    wav = load_wav(audio)
    if len(wav) <= WINDOW:
        raise LipsyncError(f"{audio}: {len(wav)} samples of sound are too short to dub; give 0.1 s")
    seconds = len(wav) / SAMPLE_RATE
    count = max(1, round(seconds * rate))
    mel = melspectrogram(wav).T
    del wav

    chosen = pick(device)
    generator = build_from(checkpoint, Wav2Lip).to(chosen).eval()
    given = box is not None and tuple(box) != AUTOMATIC
    if not given:
        engine = detectors.build(detector, device, models)
        window = tracks.SMOOTH if smooth else 0
        boxes = locate(source, count, engine, long_side, face_det_batch_size, max_gap, window)
        del engine
    else:
        top, bottom, left, right = box
        boxes, pads = np.array([[left, top, right, bottom]], np.float32), (0, 0, 0, 0)

    painter = Painter(generator, chosen, mel, rate, boxes, pads, blend)
    length = float(count / rate)
    done = faceless = used = 0
    with (
        contextlib.closing(source.looped(count)) as pictures,
        contextlib.ExitStack() as stack,
        Progress(count, f"dub {outfile.name}", "frame") as progress,
    ):
        writer = None
        limit = min(batch_size, CPU_BATCH) if chosen.type == "cpu" else batch_size
        for batch in _batches(pictures, limit):
            if writer is None:
                height, width = batch[0][1].shape[:2]
                if given and painter.region(*batch[0]) is None:
                    raise LipsyncError(
                        f"box {list(box)}: outside of the {width}x{height} picture of {source.path}"
                    )
                tags = {"comment": COMMENT}
                longest = max(seconds, length)  # the picture is rounded to frames: cut no sound
                writer = stack.enter_context(
                    VideoWriter(outfile, (width, height), rate, audio, tags, longest)
                )
            faceless += painter.paint(done, batch).count(False)
            for position, frame in batch:
                writer.write(frame)
                used = max(used, position + 1)
            done += len(batch)
            progress.advance(len(batch))
    if faceless:
        log.warning("%s: %d of %d frames have no face: unchanged", source.path, faceless, count)
    return DubStats(outfile, count, length, float(rate), width, height, faceless, used)


def _checked(
    fps: float | str | Fraction,
    pads: Sequence[int],
    box: Sequence[int] | None,
    crop: Sequence[int] | None,
    blend: str,
    counts: Sequence[int],
) -> Fraction:
    """The frame rate as an exact number. Raises LipsyncError for options out of range."""
    for name, sides in (("pads", pads), ("box", box), ("crop", crop)):
        if sides is not None and len(sides) != 4:
            raise LipsyncError(f"{name} {list(sides)}: wanted four numbers, top bottom left right")
    if box is not None and tuple(box) != AUTOMATIC:
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
    try:
        rate = Fraction(str(fps))
    except (ValueError, ZeroDivisionError) as error:
        raise LipsyncError(f"fps {fps!r}: wanted a number such as 25 or 30000/1001") from error
    if not 1 <= rate <= 120:
        raise LipsyncError(f"fps {fps}: wanted 1 to 120")
    return rate


def _input(path: PathLike, role: str) -> Path:
    if not Path(path).is_file():
        raise LipsyncError(f"{path}: no such {role} file; check the name")
    return Path(path)


def _output(path: PathLike, inputs: Sequence[Path]) -> Path:
    target = Path(path)
    if target.is_dir() or not target.suffix:
        raise LipsyncError(f"{target}: the result needs a file name such as result_voice.mp4")
    if any(target.exists() and target.samefile(file) for file in inputs):
        raise LipsyncError(f"{target}: the result would replace an input; choose another name")
    return target


@dataclass(frozen=True)
class Painter:
    """Runs the generator over frames. `boxes` (n, 4) by index in the source, NaN for no face."""

    generator: nn.Module
    device: torch.device
    mel: np.ndarray  # (T, 80)
    rate: Fraction
    boxes: np.ndarray
    pads: Sequence[int]
    blend: str

    def paint(self, first: int, batch: Sequence[tuple[int, np.ndarray]]) -> list[bool]:
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
            painted = self._generate(sound, generator_input(crops, self.generator.image_size))
            for (_, frame, region), face in zip(faces, painted, strict=True):
                paste(frame, region, face, self.blend)
        return [region is not None for region in regions]

    def region(self, position: int, frame: np.ndarray) -> Box | None:
        """The face of one picture of the source, with pads, in whole pixels; None without one."""
        box = self.boxes[min(position, len(self.boxes) - 1)]  # a given box is one row for all
        if np.isnan(box).any():
            return None
        x1, y1, x2, y2 = bounds(box, frame.shape, self.pads)
        return (x1, y1, x2, y2) if min(x2 - x1, y2 - y1) >= 2 else None

    def _generate(self, sound: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """(B, 80, 16) and (B, 6, S, S) -> float32 (B, S, S, 3) BGR in [0, 1]."""
        with torch.inference_mode():
            try:
                mel = torch.from_numpy(sound[:, None]).to(self.device)
                painted = self.generator(mel, torch.from_numpy(faces).to(self.device))
            except torch.OutOfMemoryError as error:
                raise LipsyncError(
                    f"{self.device}: {len(faces)} frames at a time do not fit in its memory; give "
                    "a smaller --wav2lip_batch_size"
                ) from error
            return np.ascontiguousarray(painted.permute(0, 2, 3, 1).float().cpu().numpy())


def _batches(
    pictures: Iterator[tuple[int, np.ndarray]], size: int
) -> Iterator[list[tuple[int, np.ndarray]]]:
    """Lists of at most `size` pictures, and of at most BATCH_BYTES of pixels (but one picture)."""
    for first in pictures:
        room = max(1, min(size, BATCH_BYTES // first[1].nbytes))
        yield [first, *itertools.islice(pictures, room - 1)]
