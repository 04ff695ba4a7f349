"""ONNX models: files of them inside installed packages, and sessions that run them on the CPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from lipsync_core.errors import LipsyncError

if TYPE_CHECKING:
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
    """The package onnxruntime; LipsyncError where it is not installed."""
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
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
