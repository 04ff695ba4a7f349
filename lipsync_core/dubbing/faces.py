"""The faces of a file to be dubbed: found as in preparation, and kept for the next sound.

Detection works at 25 frames a second, as in preparation, and the boxes are kept in the same Parquet
files; `face_choice` chooses among them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lipsync_core.config import CropConfig, DetectConfig, DubOptions, TrackConfig
from lipsync_core.corpus.licences import CARD
from lipsync_core.dubbing.generators import is_onnx
from lipsync_core.dubbing.geometry import Geometry
from lipsync_core.errors import DamagedFile, LipsyncError
from lipsync_core.faces import batching, detection, detectors
from lipsync_core.faces.decoding import FrameStream, open_frames
from lipsync_core.faces.tracking.shots import ShotDetector
from lipsync_core.media.timestamps import FPS
from lipsync_core.media.video import is_image, probe
from lipsync_core.pretrained import resolve_detector
from lipsync_core.runtime.files import PathLike, digest, file_sha
from lipsync_core.runtime.progress import OnProgress, Progress

log = logging.getLogger(__name__)
PUBLIC_PADS = [0, 10, 0, 0]  # of the public script: top, bottom, left, right
VERSION = 1  # of the boxes; raised when they change


@dataclass(frozen=True)
class FaceSettings:
    """How faces are found and cropped: as in the preparation of the model's training data.

    sync_model: the SyncNet that tells who speaks; "" for syncnet_v2.model.
    """

    detector: str = "auto"
    detect: DetectConfig = field(default_factory=DetectConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    crop: CropConfig = field(default_factory=lambda: CropConfig(pads=PUBLIC_PADS))
    sync_model: str = ""

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> FaceSettings:
        """Those of the sections detect, track and crop, with a resolved detector."""
        sections = {
            "detect": DetectConfig(**config["detect"]),
            "track": TrackConfig(**config["track"]),
            "crop": CropConfig(**config["crop"]),
        }
        return cls(config["detector"], **sections, sync_model=config.get("sync_model", ""))

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any], here: Mapping[str, Any]) -> FaceSettings:
        """Those of an entry of the config's `dub`.

        here: the sections detect, track and crop, detector and sync_model of this config, which
        count where the generator is trained here.
        """
        if entry["checkpoint"]:
            found = replace(cls.of_checkpoint(entry["checkpoint"]), sync_model=here["sync_model"])
        else:
            found = cls.of_config(here)
        return replace(
            found,
            detect=found.detect.model_copy(update=_given({"long_side": entry.get("long_side")})),
        )

    @classmethod
    def of_checkpoint(cls, checkpoint: PathLike) -> FaceSettings:
        """Those in the model card of a checkpoint or ONNX file; the public script's without one.

        A SyncNet trained beside it tells who speaks. Raises LipsyncError when the card cannot be
        read.
        """
        path = Path(checkpoint)
        syncnet = path.absolute().parent.parent / "syncnet" / "checkpoint.pth"
        beside = str(syncnet) if syncnet.is_file() else ""
        try:
            card = _model_card(path)
            found = cls.of_config(card["faces"]) if card.get("faces") else cls()
        except (ValueError, KeyError, TypeError) as error:
            raise LipsyncError(f"{path}: its model card is not whole ({error})") from error
        return replace(found, sync_model=beside)

    def changed(self, options: DubOptions, detector: str | None = None) -> FaceSettings:
        """These settings with those of the user's own that are given."""
        detect = {"long_side": options.long_side}
        track = {"max_gap": options.max_gap, "smooth": None if options.smooth else 0}
        crop = {"pads": options.pads}
        return replace(
            self,
            detector=detector or self.detector,
            detect=self.detect.model_copy(update=_given(detect)),
            track=self.track.model_copy(update=_given(track)),
            crop=self.crop.model_copy(update=_given(crop)),
        )

    def key(self, path: PathLike, geometry: Geometry, static: bool, models: PathLike) -> str:
        """Name of the boxes of a file: changes with the file and all that detection depends on."""
        facts = Path(path).stat()
        source = str(Path(path).absolute()), facts.st_size, facts.st_mtime_ns
        detector = resolve_detector(self.detector, models)
        settings = self.detect.model_dump(exclude={"batch_size"})
        changes = geometry.resize_factor, geometry.rotate, geometry.crop, static
        return digest([VERSION, *map(repr, (source, detector, changes)), settings])


def _model_card(path: Path) -> dict[str, Any]:
    """The card beside a checkpoint, or in an ONNX file; {} without one of this very file."""
    if is_onnx(path):
        from lipsync_core.dubbing.onnx_engine import metadata

        return json.loads(metadata(path).get("model_card", "{}"))
    beside = path.with_name(CARD)
    if not beside.is_file():
        return {}
    card = json.loads(beside.read_text(encoding="utf-8"))
    return card if card["checkpoint_sha256"] == file_sha(path) else {}


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def cache_folder() -> Path:
    """The user's folder for boxes of files that were dubbed (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "lipsync" / "faces"


def find_faces(
    path: PathLike,
    settings: FaceSettings,
    device: str = "auto",
    models: PathLike = "models",
    geometry: Geometry | None = None,
    static: bool = False,
    batch_size: int = 0,
    on_progress: OnProgress | None = None,
) -> detection.Detections:
    """Every face in a video or still picture, in the pixels of its frames after `geometry`.

    static: look at the first frame only. batch_size: of the detector; 0 takes what the memory
    holds. on_progress: is called with the number of frames seen, and about that of all; an
    exception in it ends the search. Shows progress. Raises ClipError when the file cannot be read.
    """
    geometry = geometry or Geometry()
    detect = settings.detect
    detector = detectors.build(
        settings.detector, device, models, threshold=detect.threshold, precision=detect.precision
    )
    size, length = _size_and_length(path, static)
    if size is not None:
        side = geometry.detection_side(detect.long_side, *size)
    else:
        side = detect.long_side
    *size, frames = open_frames(path, side, size, threads=0 if detector.on_gpu else 1)
    decoded = geometry.decoded(*size)
    stream = FrameStream(path, *geometry.size(*decoded))
    shots = ShotDetector()
    with (
        contextlib.closing(frames),
        Progress(length, f"find faces in {Path(path).name}", "frame") as progress,
    ):

        def changed() -> Iterator[np.ndarray]:
            for frame in itertools.islice(frames, 1 if static else None):
                yield geometry.apply_scaled(frame, *decoded)
                progress.advance()
                if on_progress is not None:
                    on_progress(progress.done, length)

        [(_, found)] = detection.detect_streams(
            [(stream, changed())],
            detector,
            batch_size or batching.batch_size(detector, device, detect.long_side),
            detect.stride,
            detect.motion,
            on_frame=lambda _, frame: shots.add(frame),
        )
    return replace(found, cuts=shots.cuts(found))


def _size_and_length(path: PathLike, static: bool) -> tuple[tuple[int, int] | None, int]:
    """Width and height of a video's frames, None of a picture; its number of frames at 25 fps."""
    if is_image(path):
        return None, 1
    found = probe(path)
    return (found.width, found.height), 1 if static else max(1, round(found.seconds * FPS))


def kept_faces(
    path: PathLike,
    settings: FaceSettings,
    folder: PathLike,
    models: PathLike = "models",
    geometry: Geometry | None = None,
    static: bool = False,
    **finding: Any,
) -> detection.Detections:
    """`find_faces`, read from `folder` where the boxes of this file were found before.

    A folder that cannot be written costs the next search only. Raises as `find_faces`.
    """
    geometry = geometry or Geometry()
    kept = Path(folder) / f"{settings.key(path, geometry, static, models)}.parquet"
    if kept.is_file():
        try:
            found = detection.read_boxes(kept)
        except DamagedFile as error:
            log.warning("%s; the faces are found again", error)
        else:
            log.info("faces of %s: as found before (%s)", path, kept)
            return found
    found = find_faces(path, settings, models=models, geometry=geometry, static=static, **finding)
    try:
        detection.write_boxes(kept, found)
    except OSError as error:  # such as a home folder that cannot be written
        log.warning("%s: the faces are not kept for the next audio (%s)", kept, error.strerror)
    return found
