"""A user's own face restoration model (ONNX), applied to generated faces before they are pasted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime.files import PathLike
from lipsync_core.runtime.onnx_models import onnxruntime_module

DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
RANGES = {"-1,1": (-1.0, 1.0), "0,1": (0.0, 1.0)}
DEFAULT_RANGE = "-1,1"  # as GFPGAN, CodeFormer and GPEN are exported
RANGE_KEY, CHANNELS_KEY = "value_range", "channels"  # in the model's metadata
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
MAX_SIDE = 2048  # pixels; a larger output is a mistake and would fill the memory


class Enhancer:
    """A restoration model as a function of one face.

    path: an ONNX model with one input and a first output of float32 or float16 (1 or any, 3, H, W);
        H and W fixed, or free: then the face is given as it is. Files are read, never executed.
    value_range: "-1,1" or "0,1", of the model's input and output; None: the metadata entry
        "value_range" of the model, else "-1,1". Channels are RGB, unless the metadata entry
        "channels" is "bgr".
    threads: of onnxruntime; 0 for all cores.

    Raises LipsyncError (file, reason, remedy) for a file that is no such model.
    """

    def __init__(self, path: PathLike, value_range: str | None = None, threads: int = 0) -> None:
        self.path = Path(path)
        self._session = _open(self.path, threads)
        self._input, self._size, self._dtype = _input_of(self._session, self.path)
        metadata = self._session.get_modelmeta().custom_metadata_map
        wanted = value_range or metadata.get(RANGE_KEY, DEFAULT_RANGE)
        if wanted.replace(" ", "") not in RANGES:
            raise LipsyncError(f"{self.path}: value range {wanted!r}; use {' or '.join(RANGES)}")
        self._low, self._high = RANGES[wanted.replace(" ", "")]
        self._rgb = metadata.get(CHANNELS_KEY, "rgb").lower() != "bgr"

    def __call__(self, face: np.ndarray) -> np.ndarray:
        """float32 (S, S, 3) BGR in [0, 1] -> the restored face, float32 (H, W, 3), likewise."""
        if self._size is not None:
            face = cv2.resize(face, self._size, interpolation=cv2.INTER_CUBIC)
        planes = self._swapped(face).transpose(2, 0, 1)[None]
        scale = self._high - self._low
        fed = np.ascontiguousarray(np.clip(planes, 0, 1) * scale + self._low, self._dtype)
        [output, *_] = self._run(fed)
        if output.ndim != 4 or output.shape[:2] != (1, 3) or max(output.shape) > MAX_SIDE:
            raise LipsyncError(
                f"{self.path}: gives an array of {_shape(output.shape)} for a face of "
                f"{_shape(fed.shape)}; an enhancer gives 1x3xHxW, at most {MAX_SIDE} pixels a side"
            )
        restored = (output[0].astype(np.float32) - self._low) / scale
        if not np.isfinite(restored).all():
            raise LipsyncError(
                f"{self.path}: gives values that are not finite; try the model in float32"
            )
        restored = np.clip(restored, 0, 1).transpose(1, 2, 0)
        return np.ascontiguousarray(self._swapped(restored))

    def _swapped(self, face: np.ndarray) -> np.ndarray:
        return face[:, :, ::-1] if self._rgb else face

    def _run(self, fed: np.ndarray) -> list[np.ndarray]:
        try:
            return self._session.run(None, {self._input: fed})
        except _onnx_errors() as error:
            raise LipsyncError(
                f"{self.path}: fails on a face of {_shape(fed.shape)} ({_first_line(error)}); "
                "export it with fixed height and width, or leave out the enhancer"
            ) from error


def _open(path: Path, threads: int) -> Any:
    onnxruntime = onnxruntime_module()
    if not path.is_file():
        raise LipsyncError(f"{path}: no such enhancer; give an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors are raised, with their reason
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=_providers())
    except _onnx_errors() as error:
        raise LipsyncError(
            f"{path}: is no ONNX model that onnxruntime {onnxruntime.__version__} can load "
            f"({_first_line(error)}); export it again"
        ) from error


def _providers() -> list[str]:
    available = onnxruntime_module().get_available_providers()
    return [name for name in PROVIDERS if name in available]


def _input_of(session: Any, path: Path) -> tuple[str, tuple[int, int] | None, type]:
    """Name, (width, height) if fixed, and dtype of the model's input."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise LipsyncError(
            f"{path}: has {len(inputs)} inputs ({names}); an enhancer has one, a face: export the "
            "others as constants"
        )
    shape, kind = inputs[0].shape, inputs[0].type
    fixed = [side if isinstance(side, int) and side > 0 else None for side in shape]
    fits = len(fixed) == 4 and fixed[0] in (1, None) and fixed[1] in (3, None)
    if not fits or kind not in DTYPES or (fixed[2] is None) != (fixed[3] is None):
        raise LipsyncError(
            f"{path}: takes {kind} of {_shape(shape)}; an enhancer takes float of Nx3xHxW"
        )
    size = None if fixed[2] is None or fixed[3] is None else (fixed[3], fixed[2])
    return inputs[0].name, size, DTYPES[kind]


def _onnx_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoSuchFile")
    names += ("NotImplemented", "RuntimeException", "EPFail", "ModelLoaded", "NoModel")
    return tuple(getattr(state, name) for name in names if hasattr(state, name))


def _shape(shape: Any) -> str:
    return "x".join(str(side) for side in shape)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:160]
