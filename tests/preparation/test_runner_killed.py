"""SIGKILL in the middle of a shard: the rerun goes on, and ends with the bytes of a quiet run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CLIPS = 8
# Writes a file a clip in two steps, and rests between them at one clip; says which it works on.
WORK = """
import sys, time
from pathlib import Path
from lipsync_core.corpus.clips import Clip
from lipsync_core.runtime.files import atomic_path
from lipsync_core.preparation.runner import per_clip, run_shard
from lipsync_core.preparation.stages import AUDIO

def work(job):
    with atomic_path(job.target) as temporary:
        temporary.write_text("half")
        print(job.clip.id, flush=True)
        time.sleep(60 * (job.clip.id == "s/" + sys.argv[2]))
        temporary.write_text("whole " + job.clip.id)
    return {"length": 3}

clips = [Clip(f"s/{n}", "s", 0, "1", "1", f"s/{n}.mp4") for n in range(int(sys.argv[3]))]
run_shard(AUDIO, clips, Path(sys.argv[1]), 0, {}, per_clip(work))
"""


def start(results: Path, rest_at: str = "none") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORK, str(results), rest_at, str(CLIPS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def contents(results: Path) -> dict[str, bytes]:
    files = (path for path in results.rglob("*") if path.is_file())
    return {str(path.relative_to(results)): path.read_bytes() for path in files}


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups here")
@pytest.mark.parametrize("moment", [0, 3])
def test_killed_in_the_middle_of_a_clip(tmp_path, moment):
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    assert start(quiet).wait(60) == 0
    process = start(killed, str(moment))
    begun = [process.stdout.readline().strip() for _ in range(moment + 1)]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)
    assert not (killed / "audio/0.csv").exists()
    assert any(".tmp" in name for name in contents(killed))
    again = start(killed)
    said, _ = again.communicate(timeout=60)
    assert said.split()[0] == begun[-1]
    assert len(said.split()) == CLIPS - moment
    assert contents(killed) == contents(quiet)
