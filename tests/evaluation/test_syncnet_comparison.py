"""The SyncNet of a run beside the public one: same pairs, and the better one named."""

from __future__ import annotations

import csv
import json

import pytest
import torch

from lipsync_core import checkpoints
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.errors import LipsyncError
from lipsync_core.evaluation import syncnet_comparison
from lipsync_core.evaluation.syncnet import syncnet_metrics
from lipsync_core.models import SyncNet
from lipsync_core.report.syncnet import comparison_table
from tests.support.training import small_corpus

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A narrow network of a run, and one of another width in the public format."""
    folder, found = tmp_path_factory.mktemp("weights"), {}
    for seed, (name, width) in enumerate({"own": 0.0625, "public": 0.125}.items()):
        torch.manual_seed(seed)
        found[name] = folder / f"{name}.pth"
        checkpoints.save_public(found[name], SyncNet(width=width))
    return found


def test_both_see_the_same_pairs_and_the_higher_auc_is_best(results, networks):
    found = syncnet_comparison.compare_syncnets(results, networks, CPU, seed=3, windows_per_clip=24)
    rows, val = found["networks"], ClipDataset.load(results, "val")
    for name, path in networks.items():
        alone = syncnet_metrics(checkpoints.build_from(path, SyncNet).eval(), val, 3, 24)
        assert rows[name]["auc"] == pytest.approx(alone["auc"], abs=1e-6)
        assert rows[name]["loss"] == pytest.approx(alone["loss"], abs=1e-6)
    assert [row["width"] for row in rows.values()] == [0.0625, 0.125]
    assert rows[found["best"]]["auc"] == max(row["auc"] for row in rows.values())
    swapped = {"own": networks["public"], "public": networks["own"]}
    other = syncnet_comparison.compare_syncnets(results, swapped, CPU, 3, 24)
    assert other["best"] != found["best"]  # it follows the figures, not the name


def test_equal_networks_leave_the_own_one(results, networks):
    same = {"own": networks["public"], "public": networks["public"]}
    assert syncnet_comparison.compare_syncnets(results, same, CPU)["best"] == "own"


def test_other_image_sizes_are_refused(results, networks, tmp_path):
    checkpoints.save_public(tmp_path / "large.pth", SyncNet(width=0.0625, image_size=192))
    given = {"own": tmp_path / "large.pth", "public": networks["public"]}
    with pytest.raises(LipsyncError, match=r"large\.pth: 192 pixels.*public\.pth: 96"):
        syncnet_comparison.compare_syncnets(results, given, CPU)


def test_files_and_report(results, networks, tmp_path):
    found = syncnet_comparison.compare_syncnets(results, networks, CPU)
    path = tmp_path / "comparison.json"
    syncnet_comparison.write_comparison(found, path)
    with open(path.with_suffix(".csv"), newline="", encoding="utf-8") as stream:
        assert [row["network"] for row in csv.DictReader(stream)] == ["own", "public"]
    table = comparison_table(json.loads(path.read_text()))
    assert len(table.rows) == 2 and sum("better" in row[0] for row in table.rows) == 1
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert comparison_table({}) is None
