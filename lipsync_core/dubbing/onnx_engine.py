"""The generator of an ONNX file under ONNX Runtime, without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lipsync_core.audio import MEL_BANDS, MEL_WINDOW
from lipsync_core.errors import LipsyncError
from lipsync_core.runtime import threads
from lipsync_core.runtime.files import PathLike
from lipsync_core.runtime.onnx_models import cpu_session, onnxruntime_module, run

CPU_BATCH = 16  # frames; more at a time are no faster
# Exceptions of onnxruntime for a file that it cannot run.
UNUSABLE = ("InvalidProtobuf", "InvalidGraph", "InvalidArgument", "Fail", "NotImplemented")
INPUTS, OUTPUT = ("mel", "faces"), "generated"


class OnnxEngine:
    """Runs what `lipsync export-onnx` writes, on the CPU; see `generators.load_generator`."""

    def __init__(self, path: PathLike, device: str = "auto") -> None:
        if device not in ("auto", "cpu"):
            raise LipsyncError(
                f"device {device!r}: {path} is an ONNX file, which runs on the CPU; give --device "
                "cpu, or the checkpoint that it was made from"
            )
        self._session = _session(Path(path))
        self.image_size = _image_size(Path(path), self._session)
        self.name = "onnxruntime cpu float32"
        self.batch_size = CPU_BATCH

    def run(self, mels: np.ndarray, faces: np.ndarray) -> np.ndarray:
        """See `generators.Engine`."""
        inputs = dict(zip(INPUTS, (mels[:, None], faces), strict=True))
        (generated,) = run(self._session, [OUTPUT], inputs)
        return generated.transpose(0, 2, 3, 1)


def metadata(path: Path) -> dict[str, str]:
    """What `lipsync export-onnx` says about a model in its file, such as model_card (JSON)."""
    return dict(_session(path).get_modelmeta().custom_metadata_map)


def _session(path: Path):
    if not path.is_file():
        raise LipsyncError(f"{path}: no such ONNX file; make it with `lipsync export-onnx`")
    errors = onnxruntime_module().capi.onnxruntime_pybind11_state
    try:
        return cpu_session(path, threads.allowed())
    except tuple(getattr(errors, name) for name in UNUSABLE) as error:
        reason = str(error).splitlines()[0][:160]
        raise LipsyncError(f"{path}: damaged or no ONNX model ({reason}); make it again") from error


def _image_size(path: Path, session) -> int:
    """The image size of a generator; LipsyncError when the model has other inputs or outputs."""
    shapes = {value.name: value.shape[1:] for value in session.get_inputs()}
    size = shapes.get("faces", [0])[-1]
    wanted = {"mel": [1, MEL_BANDS, MEL_WINDOW], "faces": [6, size, size]}
    results = {value.name: value.shape[1:] for value in session.get_outputs()}
    if not isinstance(size, int) or shapes != wanted or results.get(OUTPUT) != [3, size, size]:
        raise LipsyncError(
            f"{path}: is no generator (inputs {shapes}, outputs {results}); give a file that "
            "`lipsync export-onnx` wrote"
        )
    return size
