from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.journal import report_damage, reported_damage
from lipsync_core.errors import ClipError, DamagedFile, LipsyncError, Reason
from lipsync_core.preparation.runner import per_clip, run_shard
from lipsync_core.preparation.stages import AUDIO, MELS, Stage
from lipsync_core.runtime.files import atomic_path
from lipsync_core.runtime.tables import read_by_clip, write_table


def clip(name: str, signature: str = "1") -> Clip:
    return Clip(f"s/{name}", "s", 0, signature, signature, f"s/{name}.mp4")


class Work:
    """Writes a file a clip and remembers for which it was asked."""

    def __init__(self, bad: tuple[str, ...] = (), stop_at: str = "") -> None:
        self.bad, self.stop_at, self.asked = bad, stop_at, []

    def __call__(self, job) -> dict:
        if job.clip.id == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append(job.clip.id)
        if job.clip.id in self.bad:
            raise ClipError(Reason.NO_AUDIO, "nothing to hear", {"fps_in": 25})
        job.target.parent.mkdir(parents=True, exist_ok=True)
        job.target.write_text(f"made for {job.clip.signature}")
        return {"length": 3}


def run(results: Path, clips, stage: Stage = AUDIO, params=None, **options) -> list[str]:
    work = Work(**options)
    run_shard(stage, clips, results, 0, params or {}, per_clip(work))
    return work.asked


def test_in_equals_kept_plus_dropped(tmp_path):
    run(tmp_path, [clip("a"), clip("b"), clip("c")], bad=("s/b",))
    table = read_by_clip(tmp_path / "audio/0.csv")
    assert {name: row["outcome"] for name, row in table.items()} == {
        "s/a": "kept",
        "s/b": "dropped",
        "s/c": "kept",
    }
    assert table["s/b"]["reason"] == "no_audio"
    assert table["s/b"]["dropped_by"] == "extract_audio"
    assert table["s/b"]["fps_in"] == "25"
    assert table["s/a"]["length"] == "3"
    assert not (tmp_path / "audio/s/b.wav").exists()


def test_what_took_too_long_is_tried_again(tmp_path):
    def work(job) -> dict:
        asked.append(job.clip.id)
        raise ClipError(Reason.TIMED_OUT, "slow")

    asked: list[str] = []
    for _ in range(2):
        run_shard(AUDIO, [clip("a")], tmp_path, 0, {}, per_clip(work))
    assert asked == ["s/a", "s/a"]
    assert read_by_clip(tmp_path / "audio/0.csv")["s/a"]["reason"] == "timed_out"


def test_nothing_is_redone(tmp_path):
    members = [clip("a"), clip("b")]
    run(tmp_path, members, bad=("s/b",))
    before = (tmp_path / "audio/0.csv").read_bytes()
    # Snakemake deletes the declared table before it reruns a job.
    (tmp_path / "audio/0.csv").unlink()
    assert run(tmp_path, members, bad=("s/b",)) == []
    assert (tmp_path / "audio/0.csv").read_bytes() == before


def test_one_changed_clip_is_redone_alone(tmp_path):
    run(tmp_path, [clip("a"), clip("b")])
    assert run(tmp_path, [clip("a"), clip("b", "2")]) == ["s/b"]
    assert (tmp_path / "audio/s/b.wav").read_text() == "made for 2"


def test_changed_settings_or_version_redo_all(tmp_path):
    members = [clip("a"), clip("b")]
    run(tmp_path, members, params={"x": 1})
    assert run(tmp_path, members, params={"x": 2}) == ["s/a", "s/b"]
    newer = Stage("extract_audio", "audio", ".wav", version=AUDIO.version + 1)
    assert run(tmp_path, members, stage=newer, params={"x": 2}) == ["s/a", "s/b"]


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damaged_file_is_noticed(tmp_path, damage):
    run(tmp_path, [clip("a"), clip("b")])
    path = tmp_path / "audio/s/a.wav"
    path.unlink() if damage == "missing" else path.write_text("mad")
    assert run(tmp_path, [clip("a"), clip("b")]) == ["s/a"]


def test_interrupt_loses_only_the_clip_in_hand(tmp_path):
    members = [clip(name) for name in "abcd"]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, members, stop_at="s/c")
    assert not (tmp_path / "audio/0.csv").exists()
    assert run(tmp_path, members) == ["s/c", "s/d"]


def test_journal_line_cut_short(tmp_path):
    members = [clip(name) for name in "abc"]
    run(tmp_path, members)
    journal = tmp_path / "audio/.journal/0.jsonl"
    journal.write_text(journal.read_text()[:-20])
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, [*members, clip("d"), clip("e")], stop_at="s/e")
    assert run(tmp_path, [*members, clip("d"), clip("e")]) == ["s/e"]


def test_dropped_clip_stays_dropped_downstream(tmp_path):
    members = [clip("a"), clip("b")]
    run(tmp_path, members, bad=("s/b",))
    assert run(tmp_path, members, stage=MELS) == ["s/a"]
    row = read_by_clip(tmp_path / "mels/0.csv")["s/b"]
    assert (row["reason"], row["dropped_by"], row["fps_in"]) == ("no_audio", "extract_audio", "25")


def test_file_of_a_clip_that_became_bad_or_left_is_removed(tmp_path):
    run(tmp_path, [clip("a"), clip("b")])
    run(tmp_path, [clip("a", "2")], bad=("s/a",))
    assert not (tmp_path / "audio/s/a.wav").exists()
    assert not (tmp_path / "audio/s/b.wav").exists()
    assert list(read_by_clip(tmp_path / "audio/0.csv")) == ["s/a"]


def test_key_follows_the_stage_read(tmp_path):
    run(tmp_path, [clip("a")], params={"x": 1})
    run(tmp_path, [clip("a")], stage=MELS)
    run(tmp_path, [clip("a")], params={"x": 2})
    assert run(tmp_path, [clip("a")], stage=MELS) == ["s/a"]


def test_worker_that_forgets_a_clip_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="no result"):
        run_shard(AUDIO, [clip("a")], tmp_path, 0, {}, lambda jobs: iter(()))


def test_any_name_in_the_table(tmp_path):
    run(tmp_path, [clip("é \"quoted\", 'name' -x")])
    assert list(read_by_clip(tmp_path / "audio/0.csv")) == ["s/é \"quoted\", 'name' -x"]


def test_settings_are_exactly_those_named():
    stage = Stage("r", "f", "", 1, settings=("a.b", "c"))
    assert stage.params({"a": {"b": 1, "x": 2}, "c": 3, "d": 4}) == {"a.b": 1, "c": 3}
    with pytest.raises(KeyError):
        stage.params({"a": {}, "c": 3})


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    run(tmp_path, [clip("a")])
    folder = tmp_path / "audio"
    mine = [
        _temporary(folder / "s" / "b.wav"),
        _temporary(folder / "s" / "b+12.wav"),
        _temporary(folder / "0.csv"),
        _temporary(folder / ".journal" / "0.jsonl"),
    ]
    # Clips of one speaker are in several shards, which may be at work in its folder now.
    others = [_temporary(folder / "1.csv"), _temporary(folder / "s" / "c.wav")]
    others += [folder / "s" / ".hidden"]
    for path in (*mine, *others):
        path.touch()
    assert run(tmp_path, [clip("a"), clip("b")]) == ["s/b"]
    assert not any(path.exists() for path in mine)
    assert all(path.exists() for path in others)


def _temporary(path: Path) -> Path:
    """The name that a process 77 would have given to the temporary file of `path`."""
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        raise KeyboardInterrupt
    return path.with_name(temporary.name.replace(f".{os.getpid()}.", ".77."))


def test_measures_of_the_stages_before_stay_fresh(tmp_path):
    """A clip that is not redone still shows what an earlier stage measures now."""
    boxes = Stage("detect_faces", "boxes", ".parquet", 1, after=(AUDIO,))
    run(tmp_path, [clip("a")])
    assert run(tmp_path, [clip("a")], stage=boxes) == ["s/a"]
    table = tmp_path / "audio/0.csv"
    write_table(table, [row | {"loudness": "-9"} for row in read_by_clip(table).values()])
    assert run(tmp_path, [clip("a")], stage=boxes) == []
    assert read_by_clip(tmp_path / "boxes/0.csv")["s/a"]["loudness"] == "-9"


def test_table_without_a_clip_says_to_run_again(tmp_path):
    run(tmp_path, [clip("a")])
    with pytest.raises(LipsyncError, match=r"s/b: a table of shard 0 has no row.*run again"):
        run(tmp_path, [clip("a"), clip("b")], stage=MELS)


def test_second_process_waits_for_the_first(tmp_path):
    """What a killed run left behind finishes first, and then nothing is left to do."""
    pytest.importorskip("fcntl")
    inside, go_on, asked = threading.Event(), threading.Event(), []

    def slow(job) -> dict:
        inside.set()
        go_on.wait(10)
        return Work()(job)

    first = threading.Thread(
        target=run_shard, args=(AUDIO, [clip("a")], tmp_path, 0, {}, per_clip(slow))
    )
    second = threading.Thread(target=lambda: asked.extend(run(tmp_path, [clip("a")])))
    first.start()
    inside.wait(10)
    second.start()
    second.join(0.2)
    assert second.is_alive()
    go_on.set()
    first.join(10)
    second.join(10)
    assert not second.is_alive()
    assert asked == []


class Several(Work):
    """Makes `counts[id]` clips of one."""

    def __init__(self, counts: dict[str, int], **options) -> None:
        super().__init__(**options)
        self.counts = counts

    def __call__(self, job) -> list[dict]:
        first = super().__call__(job)
        count = self.counts.get(job.clip.id, 1)
        for number in range(1, count):
            job.part(number).write_text(f"part {number}")
        return [first | {"person": number} for number in range(count)]


FACES = Stage("crop_faces", "faces", ".zip", version=1, reads=(AUDIO,))
CHECKS = Stage("check_clips", "checks", "", version=1, reads=(AUDIO, FACES))


def split(results: Path, clips, counts: dict[str, int], params=None, **options) -> list[str]:
    work = Several(counts, **options)
    run_shard(FACES, clips, results, 0, params or {}, per_clip(work))
    return work.asked


def faces(results: Path) -> set[str]:
    return {path.name for path in (results / "faces/s").iterdir()}


def test_one_clip_becomes_several(tmp_path):
    members = [clip("a"), clip("b.c")]
    run(tmp_path, members)
    split(tmp_path, members, {"s/a": 3})
    table = read_by_clip(tmp_path / "faces/0.csv")
    assert list(table) == ["s/a", "s/a+1", "s/a+2", "s/b.c"]
    assert [row["person"] for row in table.values()] == ["0", "1", "2", "0"]
    assert table["s/a+2"]["bytes"] == "6"
    assert table["s/a+2"]["length"] == "3"  # measures of the video are handed on
    assert faces(tmp_path) == {"a.zip", "a+1.zip", "a+2.zip", "b.c.zip"}
    assert split(tmp_path, members, {}) == []
    assert list(read_by_clip(tmp_path / "faces/0.csv")) == list(table)


def test_stages_after_take_each_of_them(tmp_path):
    members = [clip("a"), clip("b")]
    run(tmp_path, members)
    split(tmp_path, members, {"s/a": 2})
    asked = []

    def check(job):
        asked.append((job.clip.id, job.upstream["faces"]["person"], job.upstream["audio"]["clip"]))
        if job.clip.id == "s/a":
            raise ClipError(Reason.SMALL_FACE, "tiny")
        return {}

    for _ in range(2):
        run_shard(CHECKS, members, tmp_path, 0, {}, per_clip(check))
        table = read_by_clip(tmp_path / "checks/0.csv")
        assert {name: row["reason"] for name, row in table.items()} == {
            "s/a": "small_face",
            "s/a+1": "",
            "s/b": "",
        }
    assert asked == [("s/a", "0", "s/a"), ("s/a+1", "1", "s/a"), ("s/b", "0", "s/b")]


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_damage_to_one_of_several_is_noticed(tmp_path, damage):
    run(tmp_path, [clip("a"), clip("b")])
    split(tmp_path, [clip("a"), clip("b")], {"s/a": 3})
    path = tmp_path / "faces/s/a+1.zip"
    path.unlink() if damage == "missing" else path.write_text("p")
    assert split(tmp_path, [clip("a"), clip("b")], {"s/a": 3}) == ["s/a"]
    assert path.read_text() == "part 1"


def test_files_of_clips_that_are_no_more_are_removed(tmp_path):
    members = [clip("a"), clip("b"), clip("c")]
    run(tmp_path, members)
    split(tmp_path, members, {"s/a": 4, "s/b": 3, "s/c": 2})
    split(tmp_path, members[:2], {"s/a": 2}, params={"x": 1}, bad=("s/b",))
    assert faces(tmp_path) == {"a.zip", "a+1.zip"}
    assert list(read_by_clip(tmp_path / "faces/0.csv")) == ["s/a", "s/a+1", "s/b"]
    run(tmp_path, members[:1], params={"x": 1}, bad=("s/a",))
    split(tmp_path, members[:1], {})
    assert faces(tmp_path) == set()


def test_interrupt_between_clips_that_become_several(tmp_path):
    members = [clip("a"), clip("b")]
    run(tmp_path, members)
    with pytest.raises(KeyboardInterrupt):
        split(tmp_path, members, {"s/a": 2}, stop_at="s/b")
    assert split(tmp_path, members, {"s/a": 2}) == ["s/b"]
    assert list(read_by_clip(tmp_path / "faces/0.csv")) == ["s/a", "s/a+1", "s/b"]


UNDECODABLE = os.fsdecode(b"/data/bo\xefris/01.mp4: bad\nheader")


def test_a_detail_with_a_name_that_is_not_utf_8(tmp_path):
    def work(job) -> dict:
        if job.clip.id == "s/a":
            raise ClipError(Reason.UNREADABLE, UNDECODABLE)
        return Work()(job)

    for _ in range(2):
        run_shard(AUDIO, [clip("a"), clip("b")], tmp_path, 0, {}, per_clip(work))
        table = read_by_clip(tmp_path / "audio/0.csv")
        assert [row["outcome"] for row in table.values()] == ["dropped", "kept"]
        assert table["s/a"]["detail"] == r"/data/bo\xefris/01.mp4: bad\x0aheader"


def test_a_journal_that_holds_such_a_detail_already(tmp_path):
    run(tmp_path, [clip("a"), clip("b")], bad=("s/a",))
    journal = tmp_path / "audio/.journal/0.jsonl"
    journal.write_text(journal.read_text().replace("nothing to hear", r"bo\udcefris"))
    assert run(tmp_path, [clip("a"), clip("b")]) == []
    assert "bo" in read_by_clip(tmp_path / "audio/0.csv")["s/a"]["detail"]


def test_a_damaged_file_costs_one_clip_and_is_made_again(tmp_path):
    """Found by the stage that reads it: that drops the clip, and the next run mends both."""

    def read(job) -> dict:
        source = tmp_path / "audio" / f"{job.clip.id}.wav"
        if source.read_text() != "made for 1":
            raise DamagedFile(source, "garbage")
        return Work()(job)

    def run_mels() -> dict[str, str]:
        run_shard(MELS, members, tmp_path, 0, {}, per_clip(read))
        rows = read_by_clip(tmp_path / "mels/0.csv")
        return {name: row["reason"] for name, row in rows.items()}

    members = [clip("a"), clip("b")]
    run(tmp_path, members)
    assert reported_damage(tmp_path / "audio") == {}
    (tmp_path / "audio/s/a.wav").write_text("mad6 for 1")
    assert run(tmp_path, members) == []  # of the right size
    assert run_mels() == {"s/a": "unreadable", "s/b": ""}
    first = reported_damage(tmp_path / "audio")
    assert list(first) == [0]  # the rule's parameter: its job runs again
    assert run(tmp_path, members) == ["s/a"]
    assert run_mels() == {"s/a": "", "s/b": ""}
    assert reported_damage(tmp_path / "audio") == first
    (tmp_path / "audio/s/b.wav").unlink()
    report_damage(tmp_path / "audio/s/b.wav")
    assert reported_damage(tmp_path / "audio") != first


def test_damage_to_a_further_clip_is_that_of_its_video(tmp_path):
    members = [clip("a"), clip("b")]
    run(tmp_path, members)
    split(tmp_path, members, {"s/a": 3})
    report_damage(tmp_path / "faces/s/a+2.zip")
    assert list(reported_damage(tmp_path / "faces")) == [0]
    assert split(tmp_path, members, {"s/a": 3}) == ["s/a"]


def test_a_foreign_file_is_not_removed(tmp_path):
    path = tmp_path / "mine.npy"
    path.touch()
    report_damage(path)
    assert path.exists()
