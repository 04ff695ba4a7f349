"""The sounds of a dubbing: what each face says, and what is heard."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lipsync_core.audio import BLOCK_SAMPLES, SAMPLE_RATE, file_features
from lipsync_core.dubbing import rest
from lipsync_core.media.audio import decoded_blocks, to_float
from lipsync_core.media.mixing import mixed_sound

log = logging.getLogger(__name__)
QUIET = -50.0  # dBFS; as the threshold of silence in preparation


@dataclass(frozen=True)
class Voice:
    """What one face says: its mel spectrogram (T, 80), its length, and its pauses.

    silent: as `rest.pauses`; None where the mouth follows the sound in pauses as well.
    """

    mel: np.ndarray
    seconds: float
    silent: np.ndarray | None


def read_voice(path: Path, resting: bool) -> Voice:
    """The voice in a file. Raises ClipError when it cannot be read or is too short."""
    mel, pcm = file_features(path)
    seconds = len(pcm) / SAMPLE_RATE
    silent = None
    if resting:
        starts = range(0, len(pcm), BLOCK_SAMPLES)
        blocks = (to_float(pcm[start : start + BLOCK_SAMPLES]) for start in starts)
        silent = rest.pauses(blocks, seconds)
        if len(silent) == 1 and silent[0].tolist() == [0, seconds] and _audible(pcm):
            log.warning("%s: no speech in it: the mouth follows the sound", path)
            silent = None
    return Voice(mel, seconds, silent)


def _audible(pcm: np.ndarray) -> bool:
    """Whether samples, int16 (N,), are louder than `QUIET` on average."""
    starts = range(0, len(pcm), BLOCK_SAMPLES)
    power = sum(float((to_float(pcm[at : at + BLOCK_SAMPLES]) ** 2).sum()) for at in starts)
    return power / len(pcm) > 10 ** (QUIET / 10)


def length_of(path: Path) -> float:
    """Seconds of the audio of a file. Raises ClipError when it cannot be read."""
    return sum(len(block) for block in decoded_blocks(path)) / SAMPLE_RATE


@contextlib.contextmanager
def heard(voices: Sequence[Path], final_audio: str) -> Iterator[Path]:
    """The file that is heard: `final_audio`, else the voice, or the mix of several."""
    if final_audio or len(voices) == 1:
        yield Path(final_audio or voices[0])
        return
    with mixed_sound(voices) as mix:
        yield mix
