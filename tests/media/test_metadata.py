from __future__ import annotations

import numpy as np
import pytest

from lipsync_core.errors import ClipError
from lipsync_core.media import metadata
from lipsync_core.media.metadata import parse_ffmetadata, read_tags
from lipsync_core.media.video import VideoWriter

pytestmark = pytest.mark.media


def test_tags_come_back_as_they_were_written(tmp_path):
    comment = 'a = "b"; c #1 \\ d\nsecond line\nlast = é 人'
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, (32, 32), metadata={"comment": comment, "title": "x"}) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    tags = read_tags(path)
    assert tags["comment"] == comment and tags["title"] == "x"


def test_tags_of_streams_are_left_out():
    text = ";FFMETADATA1\nCOMMENT=ours\n[STREAM]\ncomment=of a stream\ntitle=y\n"
    assert parse_ffmetadata(text) == {"comment": "ours"}


def test_more_tags_than_anybody_needs_are_cut(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, (32, 32), metadata={"title": "x", "comment": "y" * 50_000}) as writer:
        writer.write(np.zeros((32, 32, 3), np.uint8))
    monkeypatch.setattr(metadata, "MAX_BYTES", 20_000)
    tags = read_tags(path)
    assert tags["title"] == "x" and len(tags["comment"]) < 20_000


def test_no_media(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(ClipError, match=r"unreadable: .*text\.mp4"):
        read_tags(text)
