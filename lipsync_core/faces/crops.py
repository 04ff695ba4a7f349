"""Face crops: cutting them from the frames of a video, and storing those of each of its tracks.

What is cut is the detector's box (as the public weights expect), a square, or a square in which
eyes and mouth have fixed places. The file format is `archive`'s part; what the crops are for is
left to others.
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
from lipsync_core.faces.archive import CropArchive, write_archive
from lipsync_core.faces.decoding import Region, open_region
from lipsync_core.faces.track import Track
from lipsync_core.runtime.files import PathLike

__all__ = [
    "CropArchive",
    "CropSpec",
    "CropStats",
    "clip_box",
    "crop_box",
    "iter_crops",
    "write_crops",
    "write_track_crops",
]

CROP_SIZE = 256
JPEG_QUALITY = 95
MAX_PENDING_CROPS = 16  # crops that may wait for the encoder
# Where an aligned crop has the eyes (as seen, left and right), the tip of the nose and the corners
# of the mouth, in shares of its side: about the middle of the square around the detector's box on
# real talking faces, so that an aligned crop shows as much of a face as a raw box does.
ALIGNED_LANDMARKS = np.array(
    [[0.32, 0.38], [0.68, 0.38], [0.5, 0.575], [0.34, 0.73], [0.66, 0.73]], np.float64
)


@dataclass(frozen=True)
class CropSpec:
    """How a crop is cut.

    mode: "box" is the box itself, clipped to the picture; "square" the square around it; "aligned"
        a square turned, moved and scaled so that eyes, nose and mouth come near to
        `ALIGNED_LANDMARKS`. Beyond its edges the picture's last pixels are repeated in squares.
    pads: pixels of full size added to the box at top, bottom, left, right, as the public `--pads`;
        not used by "aligned".
    margin: added on all four sides, in shares of the face's longer side (aligned: of the crop's).
    """

    mode: str = "box"
    pads: Sequence[float] = (0, 0, 0, 0)
    margin: float = 0.0


@dataclass(frozen=True)
class CropStats:
    """What was stored for a track: how many crops, and the median of the boxes' longer sides.

    face_px is in full-size pixels, without pads; 0 when there is no crop.
    """

    frames: int
    face_px: float


def clip_box(
    box: Sequence[float], shape: Sequence[int], pads: Sequence[float] = (0, 0, 0, 0)
) -> tuple[int, int, int, int]:
    """The box in whole pixels x1, y1, x2, y2, grown by `pads` and clipped to the picture.

    Parameters
    ----------
    box: x1, y1, x2, y2 in pixels.
    shape: height, width (and more) of the picture.
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


def write_crops(
    video_path: PathLike,
    track: Track,
    zip_path: PathLike,
    pads: Sequence[float] = (0, 0, 0, 0),
    size: int = CROP_SIZE,
    quality: int = JPEG_QUALITY,
    long_side: int | None = None,
) -> CropStats:
    """`write_track_crops` of one track, cut as boxes."""
    return write_track_crops(
        video_path, [track], [zip_path], CropSpec(pads=pads), size, quality, long_side
    )[0]


def write_track_crops(
    video_path: PathLike,
    tracks: Sequence[Track],
    zip_paths: Sequence[PathLike],
    style: CropSpec | None = None,
    size: int = CROP_SIZE,
    quality: int = JPEG_QUALITY,
    long_side: int | None = None,
    picture: tuple[int, int] | None = None,
) -> list[CropStats]:
    """Read a video (or still) once more and store the crops of each track in its archive.

    Parameters
    ----------
    size: crops with a longer side above this are scaled down to it; none is scaled up.
    quality: of the JPEG pictures, 1 to 100.
    long_side: read the video scaled down to this, faster where faces are large.
    picture: width and height of its pictures, where they are known; saves looking.

    Each archive is written atomically, the first one first. Equal inputs give equal bytes. An empty
    track gives an empty archive. Decoder, cutting and encoder run at once; memory does not grow
    with the length beyond a hundred bytes a crop.
    Raises ClipError when the video cannot be read; LipsyncError as `iter_crops`.
    """
    sides: list[list[float]] = [[] for _ in tracks]
    waiting: deque[tuple[int, int, Future[bytes]]] = deque()
    with contextlib.ExitStack() as stack:
        # The last one entered is the first to be left, and to appear.
        writers = [
            stack.enter_context(write_archive(path, track.cuts))
            for path, track in reversed(list(zip(zip_paths, tracks, strict=True)))
        ][::-1]
        encoder = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="jpeg"))

        def store(most: int) -> None:
            while len(waiting) > most:
                number, frame, job = waiting.popleft()
                writers[number].add(frame, job.result())

        for number, row, crop in iter_crops(video_path, tracks, style, size, long_side, picture):
            frame = int(tracks[number].frames[row])
            waiting.append((number, frame, encoder.submit(_encode_jpeg, crop, size, quality)))
            x1, y1, x2, y2 = tracks[number].boxes[row].tolist()
            sides[number].append(max(x2 - x1, y2 - y1))
            store(MAX_PENDING_CROPS)
        store(0)
    return [CropStats(len(own), float(np.median(own)) if own else 0.0) for own in sides]


def iter_crops(
    video_path: PathLike,
    tracks: Sequence[Track],
    style: CropSpec | None = None,
    size: int = CROP_SIZE,
    long_side: int | None = None,
    picture: tuple[int, int] | None = None,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """The crops of all tracks, frame by frame: number of the track, its row, uint8 (h, w, 3) BGR.

    A crop is an array of its own. Boxes and squares come as large as they are; aligned crops, which
    are sampled anew anyway, have at most `size` pixels a side. There is none where the box lies
    outside of the picture. `picture` as for `write_track_crops`.

    Raises ClipError when the video cannot be read, LipsyncError for an unknown mode, and when
    faces without landmarks are to be aligned.
    """
    style = style or CropSpec()
    ends = [int(track.frames[-1]) + 1 if len(track) else 0 for track in tracks]
    if not any(ends):
        return
    seen = np.array([_required_region(track, style, size) for track in tracks if len(track)])
    around = (*seen[:, :2].min(axis=0), *seen[:, 2:].max(axis=0))
    part = open_region(video_path, around, long_side, picture)
    croppers = [_make_cropper(_translated(track, part), style, size) for track in tracks]
    following = [0] * len(tracks)  # each track's next row
    for index, frame in enumerate(part.frames):
        x, y = frame.shape[1] / part.width, frame.shape[0] / part.height
        for number, track in enumerate(tracks):
            row = following[number]
            if index < ends[number] and track.frames[row] == index:
                following[number] += 1
                crop = croppers[number](frame, row, x, y)
                if crop.size:
                    yield number, row, crop
        if index + 1 >= max(ends):
            return


def _required_region(track: Track, style: CropSpec, size: int) -> np.ndarray:
    """What the crops of a track show, and a little more: x1, y1, x2, y2 in full-size pixels."""
    sides = track.boxes[:, 2:] - track.boxes[:, :2]
    centre = track.boxes[:, :2] + sides / 2
    longer = sides.max(axis=1, keepdims=True)
    reach = longer * (0.5 + style.margin) + max(*style.pads, 0) + 2
    if style.mode == "aligned" and track.landmarks is not None:
        turns = fit_similarity(track.landmarks.reshape(-1, 5, 2))
        middle = turns[:, 1] + turns[:, 0] * (0.5 + 0.5j)
        native = np.abs(turns[:, :1]) * (1 + 2 * style.margin)
        # Half a diagonal, and the pixels around that are read for smoothing.
        around = 0.75 * native + 4 * np.maximum(1, native / size) + 2
        centre = np.concatenate((centre, np.stack((middle.real, middle.imag), axis=1)))
        reach = np.concatenate((reach, around))
    return np.concatenate(((centre - reach).min(axis=0), (centre + reach).max(axis=0)))


def _translated(track: Track, part: Region) -> Track:
    """The track in the pixels of a part of the picture."""
    corner = np.array([part.left, part.top], np.float32)
    points = track.landmarks
    return replace(
        track,
        boxes=track.boxes - np.tile(corner, 2),
        landmarks=None if points is None else points - np.tile(corner, points.shape[1] // 2),
    )


# Takes a frame, a row of the track, and the frame's size relative to the full one in x and y.
Cropper = Callable[[np.ndarray, int, float, float], np.ndarray]


def _make_cropper(track: Track, style: CropSpec, size: int) -> Cropper:
    def near(row: int, x: float, y: float) -> tuple[np.ndarray, list[float]]:
        """The box and the pads, in pixels of the frame."""
        box = track.boxes[row]
        more = style.margin * float(max(box[2] - box[0], box[3] - box[1]))
        scales = (y, y, x, x)
        pads = [(pad + more) * scale for pad, scale in zip(style.pads, scales, strict=True)]
        return box * np.array([x, y, x, y]), pads

    def box(frame: np.ndarray, row: int, x: float, y: float) -> np.ndarray:
        return crop_box(frame, *near(row, x, y)).copy()

    def square(frame: np.ndarray, row: int, x: float, y: float) -> np.ndarray:
        return _crop_square(frame, *near(row, x, y))

    def aligned(frame: np.ndarray, row: int, x: float, y: float) -> np.ndarray:
        if not crop_box(frame, track.boxes[row] * np.array([x, y, x, y])).size:
            return frame[:0]
        scale, move = turns[row, 0], turns[row, 1]
        return _crop_aligned(frame, scale, move, np.array([x, y]), style.margin, size)

    if style.mode == "aligned" and len(track):
        if track.landmarks is None:
            raise LipsyncError(
                "crop.mode aligned: these faces have no landmarks; set `detector: centerface`, "
                "or `crop.mode: box` or `square`, in config/config.yaml"
            )
        turns = fit_similarity(track.landmarks.reshape(-1, 5, 2))
    modes = {"box": box, "square": square, "aligned": aligned}
    if style.mode not in modes:
        raise LipsyncError(f"crop.mode: {style.mode!r} is not known; use {' | '.join(modes)}")
    return modes[style.mode]


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
    """The turns, scalings and shifts that bring LAYOUT nearest to each face's points.

    points: (n, 5, 2), x and y. Returns complex128 (n, 2): factors f and shifts s such that
    f * (x + iy of the layout) + s are least squares fits of the points (Umeyama, 1991, in complex
    numbers). abs(f) is the side of an aligned crop in pixels.
    """
    layout = ALIGNED_LANDMARKS[:, 0] + 1j * ALIGNED_LANDMARKS[:, 1]
    spots = points[..., 0].astype(np.float64) + 1j * points[..., 1]
    centred = layout - layout.mean()
    factor = (spots - spots.mean(axis=1, keepdims=True)) @ centred.conj()
    factor = factor / np.sum(np.abs(centred) ** 2)
    return np.stack((factor, spots.mean(axis=1) - factor * layout.mean()), axis=1)


def _crop_aligned(
    frame: np.ndarray, factor: complex, shift: complex, scales: np.ndarray, margin: float, size: int
) -> np.ndarray:
    """An aligned crop: the layout's unit square, and `margin` around it, seen in the frame."""
    whole = 1 + 2 * margin
    native = abs(factor) * whole * float(scales.mean())  # pixels of the frame
    side = int(np.clip(round(native), 1, size))
    step = factor * whole / side
    start = shift - factor * (1 + 1j) * margin + step * (0.5 + 0.5j)  # centre of the first pixel
    # Pixel (column, row) of the crop is seen at step * (column + i row) + start at full size, and
    # in the frame at `turn` of it, in indices.
    turn = np.array([[step.real, -step.imag, start.real], [step.imag, step.real, start.imag]])
    turn *= scales[:, None]
    turn[:, 2] -= 0.5
    # Large faces are halved before they are sampled, so that no detail turns into a pattern.
    halvings = int(np.log2(max(1.0, native / side)))
    edge = 4 << halvings
    corners = turn @ np.array([[0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]])
    low = np.maximum(np.floor(corners.min(axis=1)).astype(int) - edge, 0)
    high = np.ceil(corners.max(axis=1)).astype(int) + edge
    part = frame[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]
    if not part.size:
        return part
    turn[:, 2] -= low
    for _ in range(halvings):
        part = cv2.pyrDown(part)
    turn /= 2**halvings
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, turn, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _encode_jpeg(crop: np.ndarray, size: int, quality: int) -> bytes:
    height, width = crop.shape[:2]
    scale = size / max(height, width)
    if scale < 1:
        smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
        crop = cv2.resize(crop, smaller, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
