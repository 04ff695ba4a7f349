"""ONNX models that come inside installed packages, and sessions that run them on the CPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path
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


def cpu_session(path: Path) -> InferenceSession:
    """A session of one thread: small models gain nothing from more, and jobs run side by side."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
