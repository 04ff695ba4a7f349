"""S3FD (Zhang et al., 2017): the face detector of the public Wav2Lip models. No landmarks.

The network class is that of face-alignment; pre- and postprocessing are implemented here, for whole
batches. One CPU thread detects about 9 frames of 272 x 480 a second with bfloat16 units, 2 without
them; CenterFace detects 65.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from face_alignment.detection.sfd.net_s3fd import s3fd as Network

from lipsync_core.errors import LipsyncError
from lipsync_core.faces.boxes import nms
from lipsync_core.faces.detectors.base import Faces, check_frames
from lipsync_core.pretrained import S3FD_WEIGHTS
from lipsync_core.runtime.device import cpu_has_bf16, pick
from lipsync_core.runtime.files import PathLike

MEANS = (104.0, 117.0, 123.0)  # of blue, green and red
MIN_CANDIDATE_SCORE = 0.05  # of the public postprocessing
NMS_IOU = 0.3
CENTER_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
FIRST_STRIDE = 4  # pixels; doubled at each of the six scales
REMEDY = (
    "put the public s3fd.pth there, ask for it with `snakemake models/s3fd.pth`, "
    "or set `detector: centerface` in config/config.yaml"
)


class S3FD:
    """S3FD over batches of frames.

    Parameters
    ----------
    state: the network's weights, a state dict as in the public `s3fd.pth`.
    device: as for `lipsync_core.runtime.device.pick`.
    threshold: lowest score of a face.
    precision: "float32" gives the public results; "bf16" is four times faster on a CPU that
        has it, and moves boxes by about a hundredth of their size; "auto" is bfloat16 on such a
        CPU, else float32.
    batch_size: frames of one pass; None is all on a GPU and 1 on a CPU, where that is faster.
    """

    name = "s3fd"

    def __init__(
        self,
        state: dict[str, torch.Tensor],
        device: str = "auto",
        threshold: float = 0.5,
        precision: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        self.threshold = threshold
        self.device = pick(device)
        self.on_gpu = self.device.type == "cuda"
        self.batch_size = batch_size or (1 if self.device.type == "cpu" else None)
        self.precision = choose_precision(precision, self.device)
        network = Network()
        network.load_state_dict(state)
        network.eval().to(self.device, self.precision)
        self.network = network.to(memory_format=torch.channels_last)

    @classmethod
    def from_folder(
        cls,
        models_dir: PathLike,
        device: str = "auto",
        threshold: float = 0.5,
        precision: str = "auto",
    ) -> S3FD:
        """The detector with the weights `models_dir`/s3fd.pth (or a path to such a file).

        Raises LipsyncError when the file is missing or holds something else.
        """
        path = Path(models_dir)
        path = path / S3FD_WEIGHTS if path.is_dir() or not path.suffix else path
        state = _read_state(path)
        try:
            return cls(state, device, threshold, precision)
        except RuntimeError as error:  # what load_state_dict raises for foreign tensors
            raise LipsyncError(
                f"{path}: not the weights of S3FD ({_first_lines(error)}); {REMEDY}"
            ) from error

    def detect(self, frames: np.ndarray) -> list[np.ndarray]:
        """Boxes of each frame: float32 (n, 5) x1, y1, x2, y2, score."""
        check_frames(frames)
        step = self.batch_size or max(1, len(frames))
        starts = range(0, len(frames), step)
        return [boxes for start in starts for boxes in self._pass(frames[start : start + step])]

    def detect_faces(self, frames: np.ndarray) -> list[Faces]:
        """As `detect`, with empty landmarks (n, 0)."""
        return [
            Faces(boxes, np.zeros((len(boxes), 0), np.float32)) for boxes in self.detect(frames)
        ]

    def _pass(self, frames: np.ndarray) -> list[np.ndarray]:
        # TensorFloat-32 rounds differently from one batch size to the next.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            outputs = self.network(self._prepare(frames))
        hits = decode([part.float() for part in outputs], max(MIN_CANDIDATE_SCORE, self.threshold))
        per_frame = (hits[hits[:, 0] == index, 1:] for index in range(len(frames)))
        return [boxes[nms(boxes, NMS_IOU, border=1.0)] for boxes in per_frame]

    def _prepare(self, frames: np.ndarray) -> torch.Tensor:
        # Frames are BGR, as the network takes them; the view below is channels_last already.
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        means = torch.tensor(MEANS, device=self.device)
        # Whole numbers up to 255, which bfloat16 represents exactly.
        return (pixels - means).to(self.precision).permute(0, 3, 1, 2)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of "auto", "float32" or "bf16" on this device. LipsyncError for other names."""
    if name == "auto":
        return torch.bfloat16 if cpu_has_bf16(device) else torch.float32
    if name not in ("float32", "bf16"):
        raise LipsyncError(f"detect.precision: {name!r} is not known; use auto, float32 or bf16")
    return torch.float32 if name == "float32" else torch.bfloat16


def decode(outputs: list[torch.Tensor], threshold: float) -> np.ndarray:
    """Decode the boxes above `threshold` from the network's output, before NMS.

    Parameters
    ----------
    outputs: six pairs of class logits (B, 2, h, w) and offsets (B, 4, h, w), finest first.

    Returns float32 (n, 6): frame index, x1, y1, x2, y2, score. A score equal to the threshold is
    left out. Boxes below the threshold cannot suppress one above it, so that filtering first gives
    the same as the public code, which filters after NMS.
    """
    found = []
    for level, (logits, offsets) in enumerate(zip(outputs[::2], outputs[1::2], strict=True)):
        stride = FIRST_STRIDE * 2**level
        scores = logits.softmax(dim=1)[:, 1]
        frame, row, column = torch.nonzero(scores > threshold, as_tuple=True)
        offset = offsets[frame, :, row, column]  # (n, 4)
        prior = torch.stack((column, row), dim=1) * stride + stride / 2
        center = prior + offset[:, :2] * (CENTER_VARIANCE * 4 * stride)
        half = torch.exp(offset[:, 2:] * SIZE_VARIANCE) * (4 * stride / 2)
        score = scores[frame, row, column]
        found.append(
            torch.cat((frame[:, None], center - half, center + half, score[:, None]), dim=1)
        )
    return torch.cat(found).cpu().numpy()


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise LipsyncError(f"{path}: no such file; {REMEDY}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise LipsyncError(
            f"{path}: cannot be read as weights ({_first_lines(error)}); {REMEDY}"
        ) from error
    if not isinstance(state, dict):
        raise LipsyncError(f"{path}: holds a {type(state).__name__}, not weights; {REMEDY}")
    return state


def _first_lines(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
