from __future__ import annotations

from lipsync_core import clips, index
from tests.test_clips import put


def write(tmp_path, **options):
    found = clips.discover(tmp_path / "data", 8)
    return found, index.write_index(tmp_path, found, **options)


def test_round_trip_and_untouched_when_equal(tmp_path):
    put(tmp_path, "data/s p/é\t1.mp4")
    put(tmp_path, "data/b/1.mp4")
    found, summary = write(tmp_path, demo=True)
    files = [path for path in (tmp_path / "index").rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    assert index.read_index(index.index_path(tmp_path)) == found
    assert index.read_summary(tmp_path) == summary
    assert (summary.clips, summary.demo) == (2, True)
    parts = [clip for shard in summary.members for clip in index.read_shard(tmp_path, shard)]
    assert parts == sorted(found, key=lambda clip: clip.shard)
    write(tmp_path, demo=True)
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_only_the_changed_shard_is_written(tmp_path):
    for speaker in "abcdefgh":
        put(tmp_path, f"data/{speaker}/1.mp4")
    found, old = write(tmp_path)
    changed = next(clip for clip in found if clip.speaker == "c")
    put(tmp_path, "data/c/1.mp4", "longer")
    _, new = write(tmp_path)
    assert {n for n in new.members if new.members[n] != old.members[n]} == {changed.shard}
    assert old.text != new.text


def test_shards_without_clips_leave_no_list(tmp_path):
    first, second = (put(tmp_path, f"data/{name}/1.mp4") for name in "ab")
    write(tmp_path)
    second.unlink()
    _, summary = write(tmp_path)
    left = {int(path.stem) for path in (tmp_path / "index/shards").iterdir()}
    assert left == set(summary.members) == {clips.shard_of("a", 8)}
    assert first.is_file()
