"""ONNX models: files of them inside installed packages, and sessions that run them on the CPU."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from lipsync_core.errors import LipsyncError

if TYPE_CHECKING:
    import numpy as np
    from onnxruntime import InferenceSession

ERRORS_ONLY = 3  # onnxruntime's severity


def bundled_file(package: str, name: str) -> Path:
    """Path of the file `name` ("data/x.onnx") in an installed package, which is not imported.

    package: as it is imported; the installer's name may have "-" for "_". Raises LipsyncError when
    the package or the file is not there.
    """
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / name if spec and spec.origin else None
    if path is None or not path.is_file():
        raise LipsyncError(
            f"{path or package}: the model is not installed; "
            f"run `pip install --force-reinstall {package.replace('_', '-')}`"
        )
    return path


def onnxruntime_module() -> ModuleType:
    """The package onnxruntime, without its telemetry; LipsyncError where it is not installed."""
    # It reports models and machine to its maker since 1.31, unless this is set when it is imported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise LipsyncError(
            f"onnxruntime cannot be imported ({error}); run `pip install 'lipsync-pipeline[onnx]'`"
        ) from error
    return onnxruntime


def cpu_session(path: Path, threads: int = 1) -> InferenceSession:
    """A session of `threads` threads, 0 for all cores.

    The default is one: small models gain nothing from more, and jobs run side by side. Raises
    LipsyncError where onnxruntime is not installed.
    """
    onnxruntime = onnxruntime_module()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait for work would take the cores of decoding and encoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(
    session: InferenceSession, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """The named outputs of a model; MemoryError when its arrays do not fit into memory."""
    errors = onnxruntime_module().capi.onnxruntime_pybind11_state
    try:
        return session.run(list(outputs), dict(inputs))
    except errors.RuntimeException as error:
        if "Failed to allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise
