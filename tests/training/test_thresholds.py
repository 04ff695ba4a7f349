"""Rating of the sync loss, relative to the losses of the SyncNet in sync and out of sync."""

import numpy as np
import pytest

from lipsync_core.report import verdicts
from lipsync_core.training import thresholds
from lipsync_core.training.thresholds import AUC_CHANCE, AUC_USABLE, CHANCE_LOSS

ORDER = ("bad", "fair", "good")


@pytest.mark.parametrize("in_sync", [0.05, 0.19, 0.4, 0.69])
@pytest.mark.parametrize("auc", [None, 0.7, 0.96])
def test_sync_level_is_monotone_in_the_loss(in_sync: float, auc: float | None) -> None:
    losses = np.linspace(0, 8, 4001)
    levels = [ORDER.index(thresholds.sync_level(loss, in_sync, auc)) for loss in losses]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == 0 and all(
        level == 0 for loss, level in zip(losses, levels, strict=True) if loss >= CHANCE_LOSS
    )


def test_sync_levels_at_their_thresholds() -> None:
    bound = thresholds.sync_bound(0.19)
    assert 0.19 < bound < CHANCE_LOSS
    level = thresholds.sync_level
    assert (level(bound, 0.19), level(bound + 1e-6, 0.19)) == ("good", "fair")
    assert (level(CHANCE_LOSS - 1e-6, 0.19), level(CHANCE_LOSS, 0.19)) == ("fair", "bad")
    assert level(0.1, 0.19, AUC_USABLE) == "good" and level(0.1, 0.19, AUC_USABLE - 0.01) == "fair"


def test_sync_levels_match_audio_offsets_in_frames() -> None:
    """Sync losses of ground truth with the audio 0 to 4 frames off, by a SyncNet of AUC 0.90."""
    losses = (0.328, 0.394, 0.555, 0.737, 0.901)
    words = [thresholds.sync_level(loss, losses[0], 0.9) for loss in losses]
    assert words == ["good", "good", "fair", "bad", "bad"]


def test_a_syncnet_rates_only_what_it_distinguishes() -> None:
    can = thresholds.can_rate_sync
    assert can(None, 0.19, None) and can(0.96, 0.19, 4.0) and can(AUC_CHANCE, 0.19, 4.0)
    assert not can(AUC_CHANCE - 0.01, 0.19, 4.0)
    assert not can(0.96, CHANCE_LOSS, 4.0), "ground truth is not in sync for it"
    assert not can(0.96, 0.19, CHANCE_LOSS), "shuffled audio is in sync for it"


def test_better_than_the_reference_is_not_in_sync() -> None:
    """One speaker: the generator is worse than undecided, and copying far worse than that."""
    metrics = {"l1": 0.03, "l1_reference": 0.05, "sync_loss": 1.43, "sync_loss_gt": 0.19}
    metrics |= {"sync_loss_reference": 7.07, "sync_loss_out_of_sync": 4.0}
    sync = verdicts.generator_verdicts("g", metrics, 0.96)[1]
    assert (sync.level, sync.word) == ("bad", "not in sync")
    assert "ground truth 0.19, with shuffled audio 4.00" in sync.figures
    assert "7.07" not in sync.figures + sync.note
    words = [
        verdicts.generator_verdicts("g", metrics | {"sync_loss": 0.3}, auc)[1].word
        for auc in (0.96, 0.7, 0.5)
    ]
    assert words == ["in sync", "partly in sync", "cannot be rated"]


@pytest.mark.parametrize(
    ("in_sync", "out_of_sync", "words"),
    [(0.8, 4.0, "ground truth is not in sync"), (0.2, 0.5, "shuffled audio is in sync")],
)
def test_why_sync_cannot_be_rated(in_sync: float, out_of_sync: float, words: str) -> None:
    metrics = {"sync_loss": 0.3, "sync_loss_gt": in_sync, "sync_loss_out_of_sync": out_of_sync}
    sync = verdicts.generator_verdicts("g", metrics, 0.9)[1]
    assert sync.level == "none" and words in sync.figures


def test_without_reference_losses_those_of_the_public_syncnet_are_used() -> None:
    def word(loss: float) -> str:
        return verdicts.generator_verdicts("g", {"sync_loss": loss}, None)[1].word

    assert [word(0.3), word(0.6), word(0.7)] == ["in sync", "partly in sync", "not in sync"]
