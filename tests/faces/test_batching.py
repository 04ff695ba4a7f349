"""Batches that fit into memory: sizes, halving, and memory that does not grow with length."""

import tracemalloc

import numpy as np
import pytest
import torch

from lipsync_core.errors import LipsyncError
from lipsync_core.faces import decoding
from lipsync_core.faces.batching import CPU_BATCH, BatchedDetector, max_batch_size
from lipsync_core.faces.detection import detect_videos
from lipsync_core.faces.detectors.base import Faces


class Small:
    """Has memory for `room` frames; says of each frame where its first pixel's value is."""

    name = "small"

    def __init__(self, room, error=torch.OutOfMemoryError):
        self.room, self.error, self.batches = room, error, []

    def detect_faces(self, frames):
        if len(frames) > self.room:
            raise self.error("no room")
        self.batches.append(len(frames))
        boxes = [np.array([[v, v, v + 9, v + 9, 0.9]], np.float32) for v in frames[:, 0, 0, 0]]
        return [Faces(box, np.zeros((1, 0), np.float32)) for box in boxes]


@pytest.fixture
def frames():
    return np.arange(20, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_out_of_memory_halves_the_batch_and_loses_nothing(frames, error):
    detector = Small(5, error)
    batches = BatchedDetector(detector, 16)
    found = batches.detect_faces(frames)
    assert [faces.boxes[0, 0] for faces in found] == list(range(20))
    assert detector.batches == [4] * 5
    assert batches.size == 4


def test_other_errors_are_not_taken_for_it(frames):
    detector = Small(5, RuntimeError)
    batches = BatchedDetector(detector, 16)
    with pytest.raises(RuntimeError, match="no room"):
        batches.detect_faces(frames)
    assert batches.size == 16 and detector.batches == []


def test_no_memory_for_one_frame_names_the_remedy(frames):
    with pytest.raises(LipsyncError, match=r"small: no memory.*detect\.long_side"):
        BatchedDetector(Small(0), 16).detect_faces(frames)


def test_size_follows_free_memory(monkeypatch):
    assert max_batch_size("cpu", 480) == CPU_BATCH
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    sizes = []
    for gigabytes in (0.001, 4, 16, 1000):
        free = int(gigabytes * 2**30)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, free))
        sizes.append(max_batch_size("cuda", 480))
    assert sizes == [1, 9, 36, 64]


def test_memory_does_not_grow_with_length(monkeypatch):
    def peak(count):
        def source(path, long_side, size, threads):
            return 96, 96, (np.full((96, 96, 3), index % 7, np.uint8) for index in range(count))

        monkeypatch.setattr(decoding, "open_frames", source)
        tracemalloc.start()
        [(_, found)] = detect_videos([(0, "a")], Small(64), batch_size=4, stride=5)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert found.frames == count
        return peak

    peak(50)  # imports and caches
    # How full the queues get depends on the threads' timing: the bound is what they may hold (40
    # frames of 27 kB decoded ahead, and a few batches), with the boxes; a tenth of all frames.
    assert peak(2000) < 200 * 96 * 96 * 3
