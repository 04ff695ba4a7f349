"""Face detectors, built by name."""

from __future__ import annotations

from lipsync_core.faces.detectors.base import Detector
from lipsync_core.pretrained import resolve_detector
from lipsync_core.runtime.files import PathLike


def build(
    name: str,
    device: str = "auto",
    models_dir: PathLike = "models",
    threshold: float = 0.5,
    precision: str = "auto",
) -> Detector:
    """Build the detector `name`: "auto", "s3fd" or "centerface".

    Parameters
    ----------
    device: "auto", "cpu", "cuda" ...; see `lipsync_core.runtime.device.pick`.
    models_dir: folder of the public weights (`s3fd.pth`).
    threshold: lowest score of a face, in (0, 1).
    precision: of S3FD's numbers, "auto", "float32" or "bf16"; CenterFace is float32.

    Raises LipsyncError for an unknown name, and for weights that are missing or wrong.
    """
    # Each detector has its own inference engine; only the one in use is imported.
    if resolve_detector(name, models_dir) == "s3fd":
        from lipsync_core.faces.detectors.s3fd import S3FD

        return S3FD.from_folder(models_dir, device=device, threshold=threshold, precision=precision)
    from lipsync_core.faces.detectors.centerface import CenterFace

    return CenterFace(device=device, threshold=threshold)
