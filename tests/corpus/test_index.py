from __future__ import annotations

import pytest

from lipsync_core.corpus import clips, index
from lipsync_core.corpus.journal import journal_path, lock_path, read_journal
from lipsync_core.errors import LipsyncError
from lipsync_core.preparation.runner import per_clip, run_shard
from lipsync_core.preparation.stages import AUDIO, Stage
from lipsync_core.runtime import files
from lipsync_core.runtime.tables import read_by_clip
from tests.corpus.test_clips import put


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
    assert left == set(summary.members) == {clips.shard_of("a/1", 8)}
    assert first.is_file()


FACES = Stage("crop_faces", "faces", ".zip", version=1, reads=(AUDIO,))


def by_speaker(clip: clips.Clip, shards: int) -> clips.Clip:
    return clip._replace(shard=clips.shard_of(clip.speaker, shards))


def prepare(results, found, stage=AUDIO, interrupt_at="") -> list[str]:
    """Run a stage over all shards; which clips were worked on? `p/3` gives two clips."""

    def work(job):
        if job.clip.id == interrupt_at:
            raise KeyboardInterrupt
        asked.append(job.clip.id)
        count = 2 if stage is FACES and job.clip.id == "p/3" else 1
        for number in range(count):
            job.part(number).parent.mkdir(parents=True, exist_ok=True)
            job.part(number).write_text(f"{stage.folder} of {job.clip.id}, {number}")
        return [{"length": number} for number in range(count)]

    asked: list[str] = []
    for shard, members in clips.by_shard(found).items():
        run_shard(stage, members, results, shard, {}, per_clip(work))
    return asked


def made(results) -> dict[str, int]:
    """File -> time of all that was made of the clips."""
    return {
        str(path.relative_to(results)): path.stat().st_mtime_ns
        for folder in ("audio/p", "faces/p")
        for path in (results / folder).iterdir()
    }


@pytest.mark.parametrize(("before", "shards"), [("clip", 3), ("clip", 16), ("speaker", 8)])
def test_clips_that_change_their_shard_are_not_redone(tmp_path, before, shards):
    for number in range(20):
        put(tmp_path, f"data/p/{number}.mp4")
    old = clips.discover(tmp_path / "data", 8)
    if before == "speaker":
        old = [by_speaker(clip, 8) for clip in old]
    index.write_index(tmp_path, old)
    assert len(prepare(tmp_path, old)) == len(prepare(tmp_path, old, FACES)) == 20
    files_before = made(tmp_path)
    assert len(files_before) == 41
    new = clips.discover(tmp_path / "data", shards)
    assert [clip.shard for clip in new] != [clip.shard for clip in old]
    index.write_index(tmp_path, new)
    assert prepare(tmp_path, new) == prepare(tmp_path, new, FACES) == []
    assert made(tmp_path) == files_before
    rows = {}
    for shard in clips.by_shard(new):
        rows |= read_by_clip(tmp_path / f"faces/{shard}.csv")
    assert len(rows) == 21
    assert {row["outcome"] for row in rows.values()} == {"kept"}
    assert prepare(tmp_path, [clip for clip in new if clip.id != "p/3"], FACES) == []
    assert len(made(tmp_path)) == 39  # what no shard has any more is removed


def test_clips_change_their_shard_after_an_interrupt(tmp_path):
    for number in range(20):
        put(tmp_path, f"data/p/{number}.mp4")
    old = clips.discover(tmp_path / "data", 2)
    index.write_index(tmp_path, old)
    last = clips.by_shard(old)[1][-1].id
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, old, interrupt_at=last)
    new = clips.discover(tmp_path / "data", 5)
    index.write_index(tmp_path, new)
    assert prepare(tmp_path, new) == [last]


def test_a_kill_while_records_move_loses_none(tmp_path, monkeypatch):
    """Whatever is written last: a second call ends with the same journals."""
    for number in range(20):
        put(tmp_path, f"data/p/{number}.mp4")
    old = clips.discover(tmp_path / "data", 4)
    new = clips.discover(tmp_path / "data", 6)
    index.write_index(tmp_path, old)
    prepare(tmp_path, old)
    whole = {path.name: path.read_text() for path in (tmp_path / "audio/.journal").glob("*.jsonl")}
    real, written = files.write_text, []

    def write(path, text):
        if len(written) == cut:
            raise KeyboardInterrupt
        written.append(path)
        real(path, text)

    monkeypatch.setattr("lipsync_core.corpus.journal.write_text", write)
    for cut in (*range(12), 1000):
        for name, text in whole.items():
            (tmp_path / "audio/.journal" / name).write_text(text)
        written.clear()
        if cut < 1000:
            with pytest.raises(KeyboardInterrupt):
                index.write_index(tmp_path, new)
        written.clear()
        cut = 1000
        index.write_index(tmp_path, new)
        for shard, members in clips.by_shard(new).items():
            found = read_journal(journal_path(tmp_path / "audio", shard))
            assert set(found) == {clip.id for clip in members}
        index.write_index(tmp_path, old)


def test_shards_cannot_change_under_a_process_at_work(tmp_path):
    pytest.importorskip("fcntl")
    for number in range(9):
        put(tmp_path, f"data/p/{number}.mp4")
    old = clips.discover(tmp_path / "data", 2)
    index.write_index(tmp_path, old)
    prepare(tmp_path, old)
    with files.exclusive_lock(lock_path(journal_path(tmp_path / "audio", 0))):
        with pytest.raises(LipsyncError, match=r"audio/.*0.jsonl.*being prepared.*run again"):
            index.write_index(tmp_path, clips.discover(tmp_path / "data", 3))
        # Nothing of it is done: the run that is on goes on.
        assert index.read_index(index.index_path(tmp_path)) == old
