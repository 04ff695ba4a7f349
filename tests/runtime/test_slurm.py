from __future__ import annotations

import pytest

from lipsync_core.errors import LipsyncError
from lipsync_core.runtime import slurm


@pytest.fixture
def sinfo(tmp_path, monkeypatch):
    """Puts a `sinfo` on the path that gives the answer."""

    def answer(text: str, status: int = 0) -> None:
        program = tmp_path / "sinfo"
        program.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {status}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return answer


def test_the_largest_node_of_each_partition_counts(sinfo):
    sinfo("cpu*|16\\ncpu*|64\\ngpu|8\\nbig|32+\\n")
    cores = slurm.node_cores()
    assert cores["cpu"] == cores[""] == 64 and cores["gpu"] == 8
    assert cores["big"] >= 1000  # sinfo does not say how many


def test_without_a_cluster_nothing_is_known(sinfo, monkeypatch):
    sinfo("slurm_load_partitions: Unable to contact slurm controller\\n", status=1)
    assert slurm.node_cores() == {}
    monkeypatch.setenv("PATH", "")
    assert slurm.node_cores() == {}


def test_a_job_that_no_node_can_run_is_an_error_with_the_remedy():
    asked = [("train_syncnet", "gpu", 8), ("infer", "gpu", 8), ("crop_faces", "cpu", 1)]
    with pytest.raises(LipsyncError) as caught:
        slurm.check_cores(asked, {"cpu": 2, "gpu": 4, "": 2})
    assert str(caught.value) == (
        "infer, train_syncnet: 8 cores requested, but no node of partition gpu has more than 4: "
        "set `max-threads: 4` in profiles/slurm/profile.v9+.yaml"
    )


def test_what_fits_or_is_unknown_passes():
    slurm.check_cores([("infer", "gpu", 4), ("evaluate", "other", 99)], {"gpu": 4})
    slurm.check_cores([("infer", "", 8)], {})
