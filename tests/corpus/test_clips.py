from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lipsync_core.corpus import clips
from lipsync_core.corpus.layouts.items import part_id, source_id
from lipsync_core.errors import LipsyncError
from lipsync_core.preparation.stages import BOXES
from lipsync_core.runtime.files import file_sha


def put(root: Path, name: str, text: str = "x") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def ids(root: Path) -> list[str]:
    return [clip.id for clip in clips.discover(root, 8)]


def test_layouts_with_and_without_main(tmp_path):
    for name in ("main/a/1.mp4", "b/2.MOV", "c/deep/3.mkv", "lonely.webm"):
        put(tmp_path, name)
    put(tmp_path, "a/notes.txt")
    put(tmp_path, "a/._1.mp4")
    put(tmp_path, ".hidden/1.mp4")
    assert ids(tmp_path) == ["a/1", "b/2", "c/deep/3", "lonely/lonely"]


def test_any_file_name(tmp_path):
    names = ["-rf.mp4", "a 'b' \"c\".mp4", "é 漢.mp4", "new\nline.mp4", "100%.mp4", "$(x).mp4"]
    for name in names:
        put(tmp_path, f"s p/{name}")
    found = clips.discover(tmp_path, 8)
    assert sorted(clip.source(tmp_path).name for clip in found) == sorted(names)
    assert all(clip.source(tmp_path).is_file() for clip in found)
    assert len({clip.id for clip in found}) == len(names)
    assert all(clip.id.isprintable() and len(clip.id.splitlines()) == 1 for clip in found)


def test_undecodable_name_round_trips(tmp_path):
    raw = os.fsencode(tmp_path) + b"/s/\xff.mp4"
    (tmp_path / "s").mkdir()
    Path(os.fsdecode(raw)).write_text("x")
    (clip,) = clips.discover(tmp_path, 8)
    assert clip.id == "s/%FF"
    assert os.fsencode(clip.source(tmp_path)) == raw


def test_names_that_differ_in_extension_do_not_collide(tmp_path):
    put(tmp_path, "s/a.mp4")
    put(tmp_path, "s/a.mov")
    assert ids(tmp_path) == ["s/a.mov", "s/a.mp4"]


def test_shards_follow_the_clip_alone(tmp_path):
    put(tmp_path, "a/1.mp4")
    (before,) = clips.discover(tmp_path, 64)
    for number in range(2, 52):
        put(tmp_path, f"a/{number}.mp4")
        put(tmp_path, f"b{number}/1.mp4")
    after = clips.discover(tmp_path, 64)
    assert before in after
    assert sum(len(members) for members in clips.by_shard(after).values()) == 101


def test_clips_of_one_speaker_are_spread_over_all_shards(tmp_path):
    for number in range(240):
        put(tmp_path, f"me/{number}.mp4")
    sizes = [len(members) for members in clips.by_shard(clips.discover(tmp_path, 8)).values()]
    assert len(sizes) == 8
    assert max(sizes) < 2 * 240 / 8


def test_clips_that_are_split_off_have_the_same_shard():
    for name in ("s/a", "s/b+c", "s/%2B1"):
        assert {clips.shard_of(part_id(name, n), 4096) for n in range(5)} == {
            clips.shard_of(name, 4096)
        }


def test_digest_changes_with_one_clip(tmp_path):
    put(tmp_path, "a/1.mp4")
    put(tmp_path, "a/2.mp4")
    first = clips.members_digest(clips.discover(tmp_path, 8))
    assert clips.members_digest(clips.discover(tmp_path, 8)) == first
    put(tmp_path, "a/2.mp4", "longer")
    assert clips.members_digest(clips.discover(tmp_path, 8)) != first


def test_content_signature_survives_a_touch(tmp_path):
    path = put(tmp_path, "a/1.mp4")
    first = clips.discover(tmp_path, 8, "content")
    os.utime(path, (1, 1))
    touched = clips.discover(tmp_path, 8, "content", previous=first)
    assert touched[0].signature == first[0].signature
    assert clips.discover(tmp_path, 8)[0].signature != first[0].signature
    put(tmp_path, "a/1.mp4", "y")
    assert (
        clips.discover(tmp_path, 8, "content", previous=touched)[0].signature != first[0].signature
    )


def test_content_is_not_hashed_twice(tmp_path, monkeypatch):
    put(tmp_path, "a/1.mp4")
    first = clips.discover(tmp_path, 8, "content")
    monkeypatch.setattr(clips, "file_sha", lambda *_: pytest.fail("hashed again"))
    assert clips.discover(tmp_path, 8, "content", previous=first) == first


def test_content_signature_after_one_by_time(tmp_path):
    """Unchanged files get hashes too, so that a touch or a copy changes nothing afterwards."""
    path = put(tmp_path, "a/1.mp4")
    by_time = clips.discover(tmp_path, 8, "mtime")
    (by_content,) = clips.discover(tmp_path, 8, "content", previous=by_time)
    assert by_content.signature == file_sha(path, "sha1")
    os.utime(path, (1, 1))
    (touched,) = clips.discover(tmp_path, 8, "content", previous=[by_content])
    assert touched.signature == by_content.signature


def test_parts_of_a_video_share_one_hash(tmp_path, monkeypatch):
    put(tmp_path, "data/abcdefghijk.mp4")
    lines = "".join(f"abcdefghijk,{start},{start + 3},0.5,0.5\n" for start in range(9))
    put(tmp_path, "data/avspeech_train.csv", lines)
    hashed = []
    monkeypatch.setattr(clips, "file_sha", lambda path, _: hashed.append(path) or "f" * 40)
    options = {"signature": "content", "layout": "avspeech", "segments": tmp_path / "cuts"}
    first = clips.discover(tmp_path / "data", 8, **options)
    assert len(first) == 9
    assert hashed == [tmp_path / "data/abcdefghijk.mp4"]
    assert clips.discover(tmp_path / "data", 8, previous=first, **options) == first
    assert len(hashed) == 1


def test_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(LipsyncError, match=r"holds no video.*data_root"):
        clips.discover(tmp_path, 8)
    with pytest.raises(LipsyncError, match="holds no video"):
        clips.discover(tmp_path / "missing", 8)
    file = put(tmp_path, "file")
    with pytest.raises(LipsyncError, match="not a folder"):
        clips.discover(file, 8)


def test_symbolic_link_loop_ends(tmp_path):
    put(tmp_path, "s/1.mp4")
    (tmp_path / "s" / "loop").symlink_to(tmp_path / "s", target_is_directory=True)
    assert ids(tmp_path) == ["s/1"]


DEMO = {"main/00001/00001.mp4": "plan1", "main/00002/00001.mp4": "plan2"}


def write_demo(root: Path) -> None:
    entries = {}
    for name in DEMO:
        stat = put(root, name).stat()
        entries[name[5:-4]] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    (root / "demo.json").write_text(json.dumps({"clips": entries}))


def signatures(root: Path) -> dict[str, str]:
    return {clip.id: clip.signature for clip in clips.discover(root, 8, demo=DEMO)}


def test_demo_is_listed_alike_before_and_after_it_is_written(tmp_path):
    planned = clips.discover(tmp_path, 8, demo=DEMO)
    write_demo(tmp_path)
    assert clips.discover(tmp_path, 8, demo=DEMO) == planned


def test_demo_clip_edited_or_removed(tmp_path):
    write_demo(tmp_path)
    before = signatures(tmp_path)
    put(tmp_path, "main/00001/00001.mp4", "edited")
    after = signatures(tmp_path)
    assert after["00001/00001"] != before["00001/00001"]
    assert after["00002/00001"] == before["00002/00001"]
    (tmp_path / "main/00001/00001.mp4").unlink()
    assert list(signatures(tmp_path)) == ["00002/00001"]


def test_own_videos_replace_the_demo(tmp_path):
    write_demo(tmp_path)
    put(tmp_path, "main/me/1.mp4")
    assert list(signatures(tmp_path)) == ["me/1"]


def test_snakefile_modules_are_light(root):
    code = (
        "import sys; from lipsync_core import config, pretrained;"
        "from lipsync_core.corpus import clips, index, journal;"
        "from lipsync_core.demo import plan; from lipsync_core.media import ffmpeg_binary;"
        "from lipsync_core.preparation import stages; from lipsync_core.runtime import slurm;"
        "print([m for m in ('torch', 'cv2', 'numpy', 'pandas', 'librosa') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_names_too_long_for_our_suffixes_are_cut(tmp_path):
    names = ["x" * 251 + ".mp4", "x" * 250 + "y.mp4", "漢" * 80 + ".mp4"]
    for name in names:
        put(tmp_path, f"s/{name}")
    found = clips.discover(tmp_path, 8)
    assert len({clip.id for clip in found}) == 3
    for clip in found:
        target = BOXES.path(tmp_path, clip.id)
        assert len(os.fsencode(target.name)) <= 255
        assert clip.source(tmp_path).is_file()


def test_official_lists_are_read_with_the_clips(tmp_path):
    for name in ("a b/1.mp4", "c/1.mp4", "d/1.mp4"):
        put(tmp_path, name)
    before = clips.discover(tmp_path, 8)
    (tmp_path / "val.txt").write_text("a b/1 NF\n")
    (tmp_path / "test.txt").write_text("c/1 MV\n")
    after = clips.discover(tmp_path, 8)
    # A name with a space is a clip id as a whole; its line has a second token here.
    assert {clip.id: clip.split for clip in after} == {"a b/1": "val", "c/1": "test", "d/1": ""}
    # A list prepares nothing again, but the splits must be made again.
    assert clips.members_digest(after) == clips.members_digest(before)
    assert clips.splits_digest(after) != clips.splits_digest(before)


def test_demo_has_its_planned_splits(tmp_path):
    planned = clips.discover(tmp_path, 8, demo=DEMO, demo_splits={"00001/00001": "val"})
    assert [clip.split for clip in planned] == ["val", ""]


def test_files_named_like_the_people_of_a_video_do_not_collide(tmp_path):
    for name in ("a.mp4", "a+1.mp4", "b+2.x.mp4", "c+.mp4"):
        (tmp_path / "s").mkdir(exist_ok=True)
        (tmp_path / "s" / name).write_bytes(b"")
    found = {clip.id: clip for clip in clips.discover(tmp_path, 1)}
    assert set(found) == {"s/a", "s/a%2B1", "s/b+2.x", "s/c+"}
    assert found["s/a%2B1"].source(tmp_path) == tmp_path / "s" / "a+1.mp4"
    assert part_id("s/a", 0) == "s/a"
    assert [source_id(part_id("s/a+b", number)) for number in (0, 1, 12)] == ["s/a+b"] * 3
    assert part_id("s/a", 1) not in found
