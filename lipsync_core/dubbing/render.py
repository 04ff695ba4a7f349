"""Generate the faces of a dubbing's frames, batch by batch, and draw them into the frames."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from lipsync_core.audio import MEL_RATE, mel_windows_from, unload
from lipsync_core.dubbing.compositor import Compositor
from lipsync_core.dubbing.face_choice import Face, FacePath
from lipsync_core.dubbing.generator_input import inference_input
from lipsync_core.dubbing.generators import Generator as FaceGenerator
from lipsync_core.dubbing.rest import RestReference, quieter, speech_weight
from lipsync_core.dubbing.timeline import TimedFrame
from lipsync_core.faces.archive import resize_square
from lipsync_core.media.color import ColorTags, to_bgr

MAX_SKIPPED = 3  # source frames between two that are drawn; more is a jump
MAX_BATCH_BYTES = 128 << 20  # of frames that wait for the generator: large frames, small batches


@dataclass
class Speaker:
    """A face and what it says.

    path: where the face is. mel: (T, 80). seconds: length of the audio. silent: pauses, see
    `rest.pauses`; None: the mouth follows the sound in pauses too. compositor: draws the face.
    """

    path: FacePath
    mel: np.ndarray
    seconds: float
    silent: np.ndarray | None
    compositor: Compositor
    rest: RestReference = field(default_factory=RestReference)
    drawn: int | None = None  # time stamp of the source frame that was drawn last


class Drawing(NamedTuple):
    """A generated face, float32 (S, S, 3) BGR in [0, 1], of the speaker `who`."""

    who: int
    place: Face
    face: np.ndarray


class RenderedFrame(NamedTuple):
    """A frame of the result and what is to be drawn into it."""

    frame: TimedFrame
    drawings: list[Drawing]


class _Job(NamedTuple):
    frame: int  # in the batch
    who: int
    place: Face
    crop: np.ndarray  # uint8 (S, S, 3) BGR
    weight: float  # of the speech, 1 - that of the mouth at rest
    mel: np.ndarray
    rest_reference: np.ndarray | None


@dataclass(frozen=True)
class Renderer:
    """Generates the faces of frames.

    tick, shown_tick: seconds of a unit of the frames' `source` and `shown` times. gap: usual ticks
    between two source frames.
    """

    generator: FaceGenerator
    speakers: Sequence[Speaker]
    tick: Fraction
    shown_tick: Fraction
    color: ColorTags
    gap: int

    def rendered(
        self, frames: Iterator[TimedFrame], batch_size: int
    ) -> Generator[RenderedFrame, None, None]:
        """The frames with their drawings, in order; frames without a face have none."""
        for batch in _batches(frames, batch_size):
            jobs = list(self._jobs(batch))
            drawings: list[list[Drawing]] = [[] for _ in batch]
            for job, face in zip(jobs, self._generate(jobs), strict=True):
                drawings[job.frame].append(Drawing(job.who, job.place, face))
            for speaker in self.speakers:
                unload(speaker.mel)
            yield from map(RenderedFrame, batch, drawings)

    def draw(self, rendered: RenderedFrame) -> None:
        """Draw into the planes of a frame, in place; call it for every frame, in order."""
        for who, place, face in rendered.drawings:
            speaker, time = self.speakers[who], rendered.frame.source
            if not self._continues(speaker, time):
                speaker.compositor.reset()
            speaker.compositor.paste(rendered.frame.planes, place.box, place.landmarks, face)
            speaker.drawn = time

    def _continues(self, speaker: Speaker, time: int) -> bool:
        """Whether a source frame follows the one that was drawn last, in the same shot."""
        if speaker.drawn is None:
            return True
        near = abs(time - speaker.drawn) <= MAX_SKIPPED * self.gap
        shots = {speaker.path.shot(float(stamp * self.tick)) for stamp in (time, speaker.drawn)}
        return near and len(shots) == 1

    def _jobs(self, batch: Sequence[TimedFrame]) -> Iterator[_Job]:
        size = self.generator.image_size
        for number, frame in enumerate(batch):
            for who, speaker in enumerate(self.speakers):
                place = speaker.path.at(float(frame.source * self.tick))
                if place is None:
                    continue
                crop = resize_square(cut_out(frame.planes, place.box, self.color), size)
                weight, reference = self._resting(speaker, frame, crop)
                start = frame.shown * self.shown_tick * MEL_RATE // 1
                mel = mel_windows_from(speaker.mel, np.array([start], np.int64))[0]
                if weight < 1:
                    mel = quieter(mel, weight)
                yield _Job(number, who, place, crop, weight, mel, reference)

    def _resting(
        self, speaker: Speaker, frame: TimedFrame, crop: np.ndarray
    ) -> tuple[float, np.ndarray | None]:
        if speaker.silent is None:
            return 1.0, None
        time = float(frame.shown * self.shown_tick)
        weight = speech_weight(speaker.silent, time, speaker.seconds)
        speaker.rest.see(crop, time, speaker.path.shot(float(frame.source * self.tick)))
        reference = speaker.rest.reference(resting=weight < 1)
        return weight, reference if weight < 1 else None

    def _generate(self, jobs: Sequence[_Job]) -> Sequence[np.ndarray]:
        """The face of each job, float32 (S, S, 3) BGR in [0, 1]."""
        if not jobs:
            return ()
        size = self.generator.image_size
        faces = inference_input([job.crop for job in jobs], size)
        for face, job in zip(faces, jobs, strict=True):
            if job.rest_reference is not None:
                closed = inference_input([job.rest_reference], size)[0, 3:]
                # Little by little: another reference at once would be a step.
                face[3:] += np.float32(1 - job.weight) * (closed - face[3:])
        return self.generator.generate(np.stack([job.mel for job in jobs]), faces)


def cut_out(planes: np.ndarray, box: tuple[int, int, int, int], color: ColorTags) -> np.ndarray:
    """The region `box` of an I420 frame as uint8 (h, w, 3) BGR."""
    x1, y1, x2, y2 = box
    left, top = x1 - x1 % 2, y1 - y1 % 2
    region = to_bgr(planes, (left, top, x2 + x2 % 2, y2 + y2 % 2), color)
    return region[y1 - top : y2 - top, x1 - left : x2 - left]


def _batches(frames: Iterator[TimedFrame], size: int) -> Iterator[list[TimedFrame]]:
    """Lists of at most `size` frames and MAX_BATCH_BYTES of pixels (but at least one frame)."""
    for first in frames:
        room = max(1, min(size, MAX_BATCH_BYTES // first.planes.nbytes))
        yield [first, *itertools.islice(frames, room - 1)]
