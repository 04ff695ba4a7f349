"""Crop faces from the frames of a video, and store the crops of each track in an archive.

A crop is the detector's box (as the public weights expect), a square around it, or a square aligned
to the landmarks. `archive` defines the file format.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np

from lipsync_core.errors import LipsyncError
from lipsync_core.faces.archive import write_archive
from lipsync_core.faces.decoding import Region, downscale, open_region
from lipsync_core.faces.track import Track
from lipsync_core.runtime.files import PathLike

CROP_SIZE = 256
JPEG_QUALITY = 95
MAX_PENDING_CROPS = 16  # crops that may wait for the encoder
# Positions in an aligned crop of the left and right eye (as seen), the tip of the nose and the
# corners of the mouth, as fractions of its side. They are close to the mean positions in the square
# around the detector's box on real talking faces, so that aligned crops show as much as raw boxes.
ALIGNED_LANDMARKS = np.array(
    [[0.32, 0.38], [0.68, 0.38], [0.5, 0.575], [0.34, 0.73], [0.66, 0.73]], np.float64
)


@dataclass(frozen=True)
class CropSpec:
    """How a face is cropped.

    mode: "box" is the box itself, clipped to the frame; "square" the square around it; "aligned"
        a square rotated, shifted and scaled so that eyes, nose and mouth are close to
        `ALIGNED_LANDMARKS`. Outside of the frame, squares repeat its edge pixels.
    pads: pixels of full size added to the box at top, bottom, left, right, as the public `--pads`;
        not used by "aligned".
    margin: added on all four sides, as a fraction of the face's longer side (aligned: the crop's).
    """

    mode: str = "box"
    pads: Sequence[float] = (0, 0, 0, 0)
    margin: float = 0.0


@dataclass(frozen=True)
class CropStats:
    """Number of crops stored for a track, and the median longer side of its boxes.

    face_px is in full-size pixels, without pads; 0 when there is no crop.
    """

    frames: int
    face_px: float


def clip_box(
    box: Sequence[float], shape: Sequence[int], pads: Sequence[float] = (0, 0, 0, 0)
) -> tuple[int, int, int, int]:
    """The box in whole pixels x1, y1, x2, y2, grown by `pads` and clipped to the frame.

    Parameters
    ----------
    box: x1, y1, x2, y2 in pixels.
    shape: height, width (and more) of the frame.
    pads: pixels added at top, bottom, left, right; the public `--pads`.
    """
    x1, y1, x2, y2 = (round(float(side)) for side in box[:4])
    top, bottom, left, right = (round(pad) for pad in pads)
    height, width = shape[:2]
    x1, x2 = (min(max(x, 0), width) for x in (x1 - left, x2 + right))
    y1, y2 = (min(max(y, 0), height) for y in (y1 - top, y2 + bottom))
    return x1, y1, max(x1, x2), max(y1, y2)


def crop_box(
    frame: np.ndarray, box: Sequence[float], pads: Sequence[float] = (0, 0, 0, 0)
) -> np.ndarray:
    """The part of `frame`, uint8 (H, W, 3), inside the box: a view, uint8 (h, w, 3).

    See `clip_box`; h or w is 0 when the box lies outside of the frame.
    """
    x1, y1, x2, y2 = clip_box(box, frame.shape, pads)
    return frame[y1:y2, x1:x2]


def cropped_boxes(track: Track, spec: CropSpec) -> np.ndarray:
    """The upright boxes that the crops of a track show: float32 (m, 4) x1, y1, x2, y2 in pixels.

    With pads and margin, not clipped to the frame. An aligned crop is turned with the head; its
    box is the upright square of the same center and size.
    """
    boxes = track.boxes.astype(np.float64)
    if spec.mode == "aligned" and track.landmarks is not None and len(track):
        transforms = fit_similarity(track.landmarks.reshape(-1, 5, 2))
        middle = transforms[:, 1] + transforms[:, 0] * (0.5 + 0.5j)
        half = np.abs(transforms[:, 0]) * (0.5 + spec.margin)
        corners = middle.real - half, middle.imag - half, middle.real + half, middle.imag + half
        return np.stack(corners, axis=1).astype(np.float32)
    margins = spec.margin * (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    top, bottom, left, right = (pad + margins for pad in spec.pads)
    boxes += np.stack((-left, -top, right, bottom), axis=1)
    if spec.mode != "box":
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
        boxes = np.concatenate((center - half, center + half), axis=1)
    return boxes.astype(np.float32)


def write_crops(
    video_path: PathLike,
    tracks: Sequence[Track],
    zip_paths: Sequence[PathLike],
    spec: CropSpec | None = None,
    size: int = CROP_SIZE,
    quality: int = JPEG_QUALITY,
    long_side: int | None = None,
    video_size: tuple[int, int] | None = None,
) -> list[CropStats]:
    """Decode a video (or still) and store the crops of each track in its archive.

    Parameters
    ----------
    size: crops with a longer side above this are scaled down to it; none is scaled up.
    quality: of the JPEG images, 1 to 100.
    long_side: decode the video scaled down to this; faster where faces are large.
    video_size: width and height of its frames, where they are known; saves a probe.

    Each archive is written atomically, the first one first. Equal inputs give equal bytes. An empty
    track gives an empty archive. Decoder, cropping and JPEG encoder run in parallel; memory grows
    by less than a kilobyte a crop.
    Raises ClipError when the video cannot be read; LipsyncError as `iter_crops`.
    """
    sides: list[list[float]] = [[] for _ in tracks]
    pending: deque[tuple[int, int, Future[bytes]]] = deque()
    with contextlib.ExitStack() as stack:
        # The stack closes the last one entered first: enter them in reverse order.
        writers = [
            stack.enter_context(write_archive(path, track.cuts))
            for path, track in reversed(list(zip(zip_paths, tracks, strict=True)))
        ][::-1]
        encoder = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="jpeg"))

        def store(max_pending: int) -> None:
            while len(pending) > max_pending:
                number, frame, job = pending.popleft()
                writers[number].add(frame, job.result())

        for number, row, crop in iter_crops(video_path, tracks, spec, size, long_side, video_size):
            frame = int(tracks[number].frames[row])
            pending.append((number, frame, encoder.submit(_encode_jpeg, crop, size, quality)))
            x1, y1, x2, y2 = tracks[number].boxes[row].tolist()
            sides[number].append(max(x2 - x1, y2 - y1))
            store(MAX_PENDING_CROPS)
        store(0)
    return [CropStats(len(own), float(np.median(own)) if own else 0.0) for own in sides]


def iter_crops(
    video_path: PathLike,
    tracks: Sequence[Track],
    spec: CropSpec | None = None,
    size: int = CROP_SIZE,
    long_side: int | None = None,
    video_size: tuple[int, int] | None = None,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield the crops of all tracks, frame by frame: (track number, row, uint8 (h, w, 3) BGR).

    A crop is a copy. Boxes and squares keep their size; aligned crops, which are resampled anyway,
    have at most `size` pixels a side. Boxes outside of the frame yield nothing. `video_size` as for
    `write_crops`.

    Raises ClipError when the video cannot be read, LipsyncError for an unknown mode, and when
    faces without landmarks are to be aligned.
    """
    spec = spec or CropSpec()
    ends = [int(track.frames[-1]) + 1 if len(track) else 0 for track in tracks]
    if not any(ends):
        return
    needed = np.array([_required_region(track, spec, size) for track in tracks if len(track)])
    around = (*needed[:, :2].min(axis=0), *needed[:, 2:].max(axis=0))
    region = open_region(video_path, around, long_side, video_size)
    croppers = [_make_cropper(_translated(track, region), spec, size) for track in tracks]
    next_rows = [0] * len(tracks)
    for index, frame in enumerate(region.frames):
        x, y = frame.shape[1] / region.width, frame.shape[0] / region.height
        for number, track in enumerate(tracks):
            row = next_rows[number]
            if index < ends[number] and track.frames[row] == index:
                next_rows[number] += 1
                crop = croppers[number](frame, row, x, y)
                if crop.size:
                    yield number, row, crop
        if index + 1 >= max(ends):
            return


def _required_region(track: Track, spec: CropSpec, size: int) -> np.ndarray:
    """Bounds of all crops of a track, with a small margin: x1, y1, x2, y2 in full-size pixels."""
    sides = track.boxes[:, 2:] - track.boxes[:, :2]
    center = track.boxes[:, :2] + sides / 2
    longer = sides.max(axis=1, keepdims=True)
    reach = longer * (0.5 + spec.margin) + max(*spec.pads, 0) + 2
    if spec.mode == "aligned" and track.landmarks is not None:
        transforms = fit_similarity(track.landmarks.reshape(-1, 5, 2))
        middle = transforms[:, 1] + transforms[:, 0] * (0.5 + 0.5j)
        native = np.abs(transforms[:, :1]) * (1 + 2 * spec.margin)
        # Half a diagonal, and the pixels that smoothing reads around it.
        around = 0.75 * native + 4 * np.maximum(1, native / size) + 2
        center = np.concatenate((center, np.stack((middle.real, middle.imag), axis=1)))
        reach = np.concatenate((reach, around))
    return np.concatenate(((center - reach).min(axis=0), (center + reach).max(axis=0)))


def _translated(track: Track, region: Region) -> Track:
    """The track in the pixels of a region of the frame."""
    corner = np.array([region.left, region.top], np.float32)
    points = track.landmarks
    return replace(
        track,
        boxes=track.boxes - np.tile(corner, 2),
        landmarks=None if points is None else points - np.tile(corner, points.shape[1] // 2),
    )


# Takes a frame, a row of the track, and the frame's size relative to the full one in x and y.
Cropper = Callable[[np.ndarray, int, float, float], np.ndarray]


def _make_cropper(track: Track, spec: CropSpec, size: int) -> Cropper:
    def scaled_box(row: int, x: float, y: float) -> tuple[np.ndarray, list[float]]:
        """The box and the pads, in pixels of the frame."""
        box = track.boxes[row]
        margin = spec.margin * float(max(box[2] - box[0], box[3] - box[1]))
        scales = (y, y, x, x)
        pads = [(pad + margin) * scale for pad, scale in zip(spec.pads, scales, strict=True)]
        return box * np.array([x, y, x, y]), pads

    def box(frame: np.ndarray, row: int, x: float, y: float) -> np.ndarray:
        return crop_box(frame, *scaled_box(row, x, y)).copy()

    def square(frame: np.ndarray, row: int, x: float, y: float) -> np.ndarray:
        return _crop_square(frame, *scaled_box(row, x, y))

    def aligned(frame: np.ndarray, row: int, x: float, y: float) -> np.ndarray:
        if not crop_box(frame, track.boxes[row] * np.array([x, y, x, y])).size:
            return frame[:0]
        return _crop_aligned(frame, *transforms[row], np.array([x, y]), spec.margin, size)

    if spec.mode == "aligned" and len(track):
        if track.landmarks is None:
            raise LipsyncError(
                "crop.mode aligned: these faces have no landmarks; set `detector: centerface`, "
                "or `crop.mode: box` or `square`, in config/config.yaml"
            )
        transforms = fit_similarity(track.landmarks.reshape(-1, 5, 2))
    modes = {"box": box, "square": square, "aligned": aligned}
    if spec.mode not in modes:
        raise LipsyncError(f"crop.mode: {spec.mode!r} is not known; use {' | '.join(modes)}")
    return modes[spec.mode]


def _crop_square(frame: np.ndarray, box: np.ndarray, pads: Sequence[float]) -> np.ndarray:
    """The square around the padded box; empty where the box lies outside of the frame."""
    if not crop_box(frame, box, pads).size:
        return frame[:0]
    top, bottom, left, right = pads
    x1, y1, x2, y2 = box + np.array([-left, -top, right, bottom])
    side = max(1, round(float(max(x2 - x1, y2 - y1))))
    x, y = round(float(x1 + x2 - side) / 2), round(float(y1 + y2 - side) / 2)
    height, width = frame.shape[:2]
    inside = frame[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
    beyond = (max(-y, 0), max(y + side - height, 0), max(-x, 0), max(x + side - width, 0))
    return cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_REPLICATE)


def fit_similarity(points: np.ndarray) -> np.ndarray:
    """Least-squares similarity transforms from ALIGNED_LANDMARKS to each face's landmarks.

    points: (n, 5, 2), x and y. Returns complex128 (n, 2): factors f and shifts s such that
    f * (x + iy of the layout) + s fits the points best (Umeyama, 1991, in complex numbers). abs(f)
    is the side of an aligned crop in pixels.
    """
    layout = ALIGNED_LANDMARKS[:, 0] + 1j * ALIGNED_LANDMARKS[:, 1]
    landmarks = points[..., 0].astype(np.float64) + 1j * points[..., 1]
    centered = layout - layout.mean()
    factor = (landmarks - landmarks.mean(axis=1, keepdims=True)) @ centered.conj()
    factor = factor / np.sum(np.abs(centered) ** 2)
    return np.stack((factor, landmarks.mean(axis=1) - factor * layout.mean()), axis=1)


def _crop_aligned(
    frame: np.ndarray, factor: complex, shift: complex, scales: np.ndarray, margin: float, size: int
) -> np.ndarray:
    """An aligned crop: the layout's unit square with `margin` around it, sampled from the frame."""
    extent = 1 + 2 * margin
    native = abs(factor) * extent * float(scales.mean())  # side in pixels of the frame
    side = int(np.clip(round(native), 1, size))
    step = factor * extent / side
    start = shift - factor * (1 + 1j) * margin + step * (0.5 + 0.5j)  # center of the first pixel
    # Pixel (column, row) of the crop is at step * (column + i row) + start in full-size pixels;
    # `matrix` maps it to pixel indices of the frame.
    matrix = np.array([[step.real, -step.imag, start.real], [step.imag, step.real, start.imag]])
    matrix *= scales[:, None]
    matrix[:, 2] -= 0.5
    # Large faces are halved before they are sampled, which avoids aliasing.
    halvings = int(np.log2(max(1.0, native / side)))
    edge = 4 << halvings
    corners = matrix @ np.array([[0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]])
    low = np.maximum(np.floor(corners.min(axis=1)).astype(int) - edge, 0)
    high = np.ceil(corners.max(axis=1)).astype(int) + edge
    region = frame[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]
    if not region.size:
        return region
    matrix[:, 2] -= low
    for _ in range(halvings):
        region = cv2.pyrDown(region)
    matrix /= 2**halvings
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = cv2.BORDER_REPLICATE
    return cv2.warpAffine(region, matrix, (side, side), flags=flags, borderMode=border)


def _encode_jpeg(crop: np.ndarray, size: int, quality: int) -> bytes:
    crop = downscale(crop, size)
    return cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
