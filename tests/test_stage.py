from __future__ import annotations

from pathlib import Path

import pytest

from lipsync_core.clips import Clip
from lipsync_core.errors import ClipError, Reason
from lipsync_core.stage import one_by_one, read_table, run_shard
from lipsync_core.stages import AUDIO, MELS, Stage, _lookup


def clip(name: str, signature: str = "1") -> Clip:
    return Clip(f"s/{name}", "s", 0, signature, signature, f"s/{name}.mp4")


class Work:
    """Writes a file a clip and remembers for which it was asked."""

    def __init__(self, bad: tuple[str, ...] = (), stop_at: str = "") -> None:
        self.bad, self.stop_at, self.asked = bad, stop_at, []

    def __call__(self, task) -> dict:
        if task.clip.id == self.stop_at:
            raise KeyboardInterrupt
        self.asked.append(task.clip.id)
        if task.clip.id in self.bad:
            raise ClipError(Reason.NO_AUDIO, "nothing to hear", {"fps_in": 25})
        task.target.parent.mkdir(parents=True, exist_ok=True)
        task.target.write_text(f"made for {task.clip.signature}")
        return {"length": 3}


def run(results: Path, clips, stage: Stage = AUDIO, params=None, **options) -> list[str]:
    work = Work(**options)
    run_shard(stage, clips, results, 0, params or {}, one_by_one(work))
    return work.asked


def test_in_equals_kept_plus_dropped(tmp_path):
    run(tmp_path, [clip("a"), clip("b"), clip("c")], bad=("s/b",))
    table = read_table(tmp_path / "audio/0.csv")
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
    def work(task) -> dict:
        asked.append(task.clip.id)
        raise ClipError(Reason.TIMED_OUT, "slow")

    asked: list[str] = []
    for _ in range(2):
        run_shard(AUDIO, [clip("a")], tmp_path, 0, {}, one_by_one(work))
    assert asked == ["s/a", "s/a"]
    assert read_table(tmp_path / "audio/0.csv")["s/a"]["reason"] == "timed_out"


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
    row = read_table(tmp_path / "mels/0.csv")["s/b"]
    assert (row["reason"], row["dropped_by"], row["fps_in"]) == ("no_audio", "extract_audio", "25")


def test_file_of_a_clip_that_became_bad_or_left_is_removed(tmp_path):
    run(tmp_path, [clip("a"), clip("b")])
    run(tmp_path, [clip("a", "2")], bad=("s/a",))
    assert not (tmp_path / "audio/s/a.wav").exists()
    assert not (tmp_path / "audio/s/b.wav").exists()
    assert list(read_table(tmp_path / "audio/0.csv")) == ["s/a"]


def test_key_follows_the_stage_read(tmp_path):
    run(tmp_path, [clip("a")], params={"x": 1})
    run(tmp_path, [clip("a")], stage=MELS)
    run(tmp_path, [clip("a")], params={"x": 2})
    assert run(tmp_path, [clip("a")], stage=MELS) == ["s/a"]


def test_worker_that_forgets_a_clip_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="no result"):
        run_shard(AUDIO, [clip("a")], tmp_path, 0, {}, lambda tasks: iter(()))


def test_any_name_in_the_table(tmp_path):
    run(tmp_path, [clip("é \"quoted\", 'name' -x")])
    assert list(read_table(tmp_path / "audio/0.csv")) == ["s/é \"quoted\", 'name' -x"]


def test_settings_are_exactly_those_named():
    stage = Stage("r", "f", "", 1, settings=("a.b", "c"))
    assert stage.params({"a": {"b": 1, "x": 2}, "c": 3, "d": 4}) == {"a.b": 1, "c": 3}
    with pytest.raises(KeyError):
        _lookup({}, "missing")
