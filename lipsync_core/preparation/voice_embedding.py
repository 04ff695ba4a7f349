"""Voice embedding of a clip by public weights of a speaker encoder, if they are there.

The features are those of the weights: 40 mel bands of power, 25 ms windows every 10 ms, partial
utterances of 1.6 s every 0.77 s, the mean of whose embeddings is that of the clip.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.media.audio import SAMPLE_RATE
from lipsync_core.models.speaker_encoder import MEL_BANDS
from lipsync_core.runtime.files import file_sha

if TYPE_CHECKING:
    from lipsync_core.models.speaker_encoder import SpeakerEncoder

WINDOW, HOP = 400, 160  # samples
PARTIAL, STEP, MIN_COVERAGE = 160, 77, 0.75  # windows, windows, share of a partial utterance
LEVEL = 10 ** (-30 / 20)  # root mean square to which quieter audio is raised
BLOCK, PAUSE_DB, MARGIN = 480, 30, 3  # samples; below the loud blocks; blocks kept around speech
MAX_SECONDS = 30  # of a clip


class VoiceEncoder:
    """Computes voice embeddings; `mark` names the weights in the key of a stored print."""

    def __init__(self, weights: Path) -> None:
        """Raises LipsyncError if the file is damaged or of another network."""
        from lipsync_core.checkpoints import read_checkpoint
        from lipsync_core.models.speaker_encoder import SpeakerEncoder

        self.mark = f"voice {file_sha(weights)[:12]}"
        network = SpeakerEncoder()
        content = read_checkpoint(weights)
        state = content.get("model_state") if isinstance(content, dict) else None
        names = network.state_dict().keys()
        try:
            network.load_state_dict({name: state[name] for name in names})
        except (KeyError, TypeError, RuntimeError) as error:
            raise LipsyncError(
                f"{weights}: not the weights of a speaker encoder; fetch the file again"
            ) from error
        self.network: SpeakerEncoder = network.eval()

    def __call__(self, wav: np.ndarray) -> np.ndarray:
        """Embedding of a clip: float32 (N,), 16 kHz, -1..1 -> float32 (256,) of unit length."""
        import torch

        mels = partial_utterances(loud_parts(wav[: MAX_SECONDS * SAMPLE_RATE]))
        with torch.inference_mode():
            mean = self.network(torch.from_numpy(mels)).numpy().mean(axis=0)
        return mean / max(float(np.linalg.norm(mean)), 1e-6)


def loud_parts(wav: np.ndarray) -> np.ndarray:
    """The audio without pauses, at least as loud as the encoder expects: float32 (M,)."""
    blocks = wav[: len(wav) // BLOCK * BLOCK].reshape(-1, BLOCK)
    if not len(blocks):
        return wav
    levels = 10 * np.log10(np.mean(blocks**2, axis=1) + 1e-10)
    loud = levels > np.percentile(levels, 95) - PAUSE_DB
    near = np.convolve(loud, np.ones(2 * MARGIN + 1), "same") > 0
    spoken = blocks[near].ravel()
    level = float(np.sqrt(np.mean(spoken**2))) + 1e-9
    return spoken * max(1.0, LEVEL / level)


def partial_utterances(wav: np.ndarray) -> np.ndarray:
    """Mel spectrograms of partial utterances: float32 (n, 160, 40); padded with silence."""
    padded = np.pad(wav, (WINDOW // 2, WINDOW // 2 + WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: len(wav) + 1 : HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    mel = (power @ _mel_basis().T).astype(np.float32)
    starts = list(range(0, max(1, len(mel) - PARTIAL + STEP + 1), STEP))
    if len(starts) > 1 and len(mel) - starts[-1] < MIN_COVERAGE * PARTIAL:
        starts.pop()
    mel = np.pad(mel, ((0, max(0, starts[-1] + PARTIAL - len(mel))), (0, 0)))
    return np.stack([mel[start : start + PARTIAL] for start in starts])


@functools.cache
def _mel_basis() -> np.ndarray:
    import librosa  # imports slowly

    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=MEL_BANDS)
