"""The generator at inference: a checkpoint under torch, or an ONNX file under ONNX Runtime.

Imports neither; an ONNX file is run where torch is not installed.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Protocol

import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import PathLike

log = logging.getLogger(__name__)

MAX_BATCH = 128  # frames in one call of the network
PRECISIONS = ("auto", "float32", "bf16")


class Engine(Protocol):
    """A network that generates faces; `name` tells in logs what runs it.

    batch_size: frames of one call that are fastest and fit into the memory.
    """

    name: str
    image_size: int
    batch_size: int

    def run(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """float32 (B, 80, 16) and (B, 6, S, S) in [0, 1] -> float32 (B, S, S, 3) BGR in [0, 1].

        Rows that are not seen may be those of the input.
        """


class Generator:
    """Runs an engine in batches; halves the batch when memory runs out.

    Attributes: `name` and `image_size` of the engine, `batch_size`: most frames in one call.
    """

    def __init__(self, engine: Engine, max_batch: int = MAX_BATCH) -> None:
        self._engine = engine
        self.name, self.image_size = engine.name, engine.image_size
        self.batch_size = max(1, min(max_batch, engine.batch_size))

    def generate(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """Faces in sync with the audio: float32 (B, S, S, 3) BGR in [0, 1].

        mels: float32 (B, 80, 16). faces: float32 (B, 6, S, S) in [0, 1], see
        `generator_input.inference_input`. Any B. Raises LipsyncError when one frame does not fit
        into memory.
        """
        generated = np.empty((len(faces), *faces.shape[2:], 3), np.float32)
        done = 0
        while done < len(faces):
            batch = slice(done, min(len(faces), done + self.batch_size))
            try:
                generated[batch] = self._engine.run(mels[batch], faces[batch])
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                self._halve(batch.stop - done, error)
            else:
                done = batch.stop
                continue
            # Outside of the handler, where the exception keeps the failed call's tensors alive.
            if "torch" in sys.modules:
                sys.modules["torch"].cuda.empty_cache()
        return generated

    def _halve(self, frames: int, error: Exception) -> None:
        if frames == 1:
            raise LipsyncError(
                f"{self.name}: no memory for one face of {self.image_size} pixels; end other "
                "programs that use it, or give --device cpu"
            ) from error
        self.batch_size = frames // 2
        log.warning("%s: out of memory: %d faces at a time from here on", self.name, frames // 2)


def load_generator(
    checkpoint: PathLike,
    device: str = "auto",
    precision: str = "auto",
    max_batch: int = MAX_BATCH,
    seen_from: float = 0.0,
) -> Generator:
    """The generator of a checkpoint or of an ONNX file, told apart by content.

    Parameters
    ----------
    checkpoint: a Wav2Lip checkpoint, width and image size are read from its tensors; or what
        `lipsync export-onnx` writes.
    device: as for `runtime.device.pick`. An ONNX file runs on the CPU.
    precision: of the numbers inside a checkpoint's network: "float32", "bf16", or "auto".
    max_batch: most frames in one call; fewer on a CPU, or when the memory is small.
    seen_from: rows of a face above this fraction of its height are not seen: a
        checkpoint's network does not compute them. The input takes their place.

    Raises LipsyncError when the file cannot be read, is no generator, or its engine is not
    installed.
    """
    path = Path(checkpoint)
    if precision not in PRECISIONS:
        raise LipsyncError(f"precision {precision!r}: wanted one of {', '.join(PRECISIONS)}")
    if is_onnx(path):
        from lipsync_core.dubbing.onnx_engine import OnnxEngine

        engine: Engine = OnnxEngine(path, device)
    else:
        try:
            from lipsync_core.dubbing.torch_engine import TorchEngine
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise LipsyncError(
                f"{path}: a checkpoint needs torch, which is not installed; run `pip install "
                "'lipsync-pipeline[train]'`, or give an ONNX file: `lipsync export-onnx` makes one "
                "where torch is installed"
            ) from error
        engine = TorchEngine(path, device, precision, seen_from)
    generator = Generator(engine, max_batch)
    log.debug("%s: %s, %d faces at a time", path, generator.name, generator.batch_size)
    return generator


def is_onnx(path: Path) -> bool:
    """Whether the file is an ONNX model: by its first byte, else (missing, empty) by its name."""
    if not path.is_file():
        return path.suffix == ".onnx"
    with path.open("rb") as stream:
        start = stream.read(1)
    # ONNX begins with its first field, the version; torch with PK of a ZIP or with a pickle.
    return start == b"\x08" or (path.suffix == ".onnx" and start not in (b"P", b"\x80"))


def _out_of_memory(error: Exception) -> bool:
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    )
