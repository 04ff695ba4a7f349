"""A made-up corpus whose "lips" follow its sound, small enough to train on in a test."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

SIZE = 96


def moving_face(seed: int, opening: np.ndarray) -> np.ndarray:
    """A face-like blob whose mouth opens by `opening` (n,) in [0, 1]: uint8 (n, 96, 96, 3)."""
    rng = np.random.default_rng(seed)
    face = np.full((SIZE, SIZE, 3), rng.integers(60, 120, 3), np.uint8)
    cv2.ellipse(face, (48, 48), (34, 44), 0, 0, 360, rng.integers(120, 220, 3).tolist(), -1)
    frames = np.repeat(face[None], len(opening), axis=0)
    for frame, width in zip(frames, opening, strict=True):
        cv2.ellipse(frame, (48, 72), (14, int(1 + 12 * width)), 0, 0, 360, (40, 20, 60), -1)
    return frames


def write_clip(
    results: Path,
    clip_id: str,
    seed: int = 0,
    frames: int = 40,
    missing: Sequence[int] = (),
    cuts: Sequence[int] = (),
) -> None:
    """Write faces/<id>.zip and mels/<id>.npy of a clip of `frames` frames at 25 fps."""
    rng = np.random.default_rng((7, seed))
    opening = np.repeat(rng.random(-(-frames // 3)), 3)[:frames]
    rows = np.repeat(opening, 4)[: int(frames * 3.2) + 1]
    columns = int(frames * 3.2) + 1
    loudness = np.interp(np.arange(columns) / 3.2, np.arange(frames), opening)
    mel = (8 * loudness[:, None] * np.linspace(1, 0.2, 80) - 4 + 0 * rows[:1]).astype(np.float32)
    target = results / "mels" / f"{clip_id}.npy"
    target.parent.mkdir(parents=True, exist_ok=True)
    np.save(target, mel)
    target = results / "faces" / f"{clip_id}.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = " ".join(("cuts", *map(str, cuts))).encode() if cuts else b""
        for index, picture in enumerate(moving_face(seed, opening)):
            if index not in missing:
                data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
                archive.writestr(f"{index}.jpg", data.tobytes())


def write_corpus(results: Path, splits: Mapping[str, Sequence[str]], frames: int = 40) -> Path:
    """Clips and filelists; returns `results`. splits: clip ids by "train", "val", "test"."""
    lists = results / "filelists"
    lists.mkdir(parents=True, exist_ok=True)
    seed = 0
    with open(lists / "clips.csv", "w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, ["clip", "split", "key"])
        table.writeheader()
        for split in ("train", "val", "test"):
            ids = splits.get(split, [])
            (lists / f"{split}.txt").write_text("".join(f"{i}\n" for i in ids), encoding="utf-8")
            for clip_id in ids:
                write_clip(results, clip_id, seed, frames)
                table.writerow({"clip": clip_id, "split": split, "key": f"key{seed}"})
                seed += 1
    return results


def small_corpus(results: Path) -> Path:
    """Three training, one validation and one test clip."""
    return write_corpus(results, {"train": ["a/1", "a/2", "b/1"], "val": ["c/1"], "test": ["d/1"]})
