"""A stream of raw I420 video in Matroska (RFC 9559): frames with time stamps through a pipe.

The simplest container that ffmpeg reads from a pipe and that carries a time stamp for each frame.
Times are in nanoseconds.
"""

from __future__ import annotations

import struct

UNKNOWN_SIZE = b"\x01" + b"\xff" * 7


def header(width: int, height: int, duration: int) -> bytes:
    """Head of a stream with one track. duration: mean time between two frames in ns.

    ffmpeg takes the average frame rate from it, by which x264 chooses the level of the stream.
    """
    video = _element(0xB0, _uint(width)) + _element(0xBA, _uint(height))
    video += _element(0x2EB524, b"I420")  # UncompressedFourCC
    track = _element(0xD7, _uint(1)) + _element(0x73C5, _uint(1)) + _element(0x83, _uint(1))
    track += _element(0x86, b"V_UNCOMPRESSED") + _element(0xE0, video)
    track += _element(0x23E383, _uint(duration))  # DefaultDuration
    ebml = _element(0x1A45DFA3, _element(0x4282, b"matroska") + _element(0x4287, _uint(4)))
    info = _element(0x1549A966, _element(0x2AD7B1, _uint(1)))  # TimestampScale: 1 ns
    tracks = _element(0x1654AE6B, _element(0xAE, track))
    return ebml + _name(0x18538067) + UNKNOWN_SIZE + info + tracks


def frame_head(begin: int, duration: int, size: int) -> bytes:
    """Head of a cluster with one frame of `size` bytes, which follow: begin and duration in ns."""
    timestamp = _element(0xE7, _uint(begin))
    length = _element(0x9B, _uint(duration))  # BlockDuration
    place = b"\x81\x00\x00\x00"  # track 1, 0 ns after the cluster's time stamp
    block = _name(0xA1) + _size(len(place) + size) + place
    group = _name(0xA0) + _size(len(length) + len(block) + size) + length + block
    return _name(0x1F43B675) + _size(len(timestamp) + len(group) + size) + timestamp + group


def _element(identifier: int, data: bytes) -> bytes:
    return _name(identifier) + _size(len(data)) + data


def _name(identifier: int) -> bytes:
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big")


def _size(count: int) -> bytes:
    return struct.pack(">Q", count | 1 << 56)


def _uint(value: int) -> bytes:
    return struct.pack(">Q", value)
