"""Thresholds of training and report: of AUC, sync loss and the amount of data."""

from __future__ import annotations

import math

CHANCE_LOSS = math.log(2)  # binary cross entropy of an undecided classifier
AUC_CHANCE = 0.6  # below: not better than chance (0.5)
AUC_USABLE = 0.85  # a SyncNet with this AUC can train a generator
MAX_DISC_LOSS = 6.0  # loss of or by a discriminator: a probability of 1 in 400

# Training data. 5 minutes of one GRID speaker gave AUC 0.89 on held-out clips of that speaker after
# 400 steps of a narrow SyncNet, 14 minutes 0.90 (benchmarks/diagnosis.py); GRID has only 51 words.
# 6 minutes of 53 speakers and 10 of 109 stayed at chance for 400 steps. Half of GRID's video is
# speech (24 clips: 0.49), of lectures and interviews nine tenths.
MIN_MINUTES = 1.0
ONE_SPEAKER_MINUTES, ONE_SPEAKER_SPEECH = 12.0, 6.0  # of video; of speech where it is measured
FINETUNE_HOURS, MIN_SPEAKERS = 1.0, 10
FROM_SCRATCH_HOURS = 20.0
PUBLIC_HOURS = 29.0  # training data of the public models (LRS2)

# Position between an undecided SyncNet (0) and its loss of the ground truth (1) from which
# generated frames are in sync. Measured on held-out clips of a GRID speaker (AUC 0.90): the ground
# truth has a sync loss of 0.33; 0.39 with the audio 1 frame off, 0.54 with 2, 0.73 with 3, 0.89
# with 4. So 1 frame (40 ms, not noticeable) is in sync, 2 are partly, 3 (120 ms, noticeable: ITU-R
# BT.1359) not.
IN_SYNC_FRACTION = 0.5


def sync_bound(in_sync: float) -> float:
    """Largest sync loss that is rated in sync. in_sync: sync loss of the ground truth."""
    return CHANCE_LOSS - IN_SYNC_FRACTION * (CHANCE_LOSS - in_sync)


def can_rate_sync(auc: float | None, in_sync: float, out_of_sync: float | None) -> bool:
    """Whether a SyncNet tells the ground truth from shuffled audio.

    auc: of the SyncNet; in_sync, out_of_sync: its sync loss of the ground truth and of the same
    frames with other audio. None: not measured.
    """
    learned = auc is None or auc >= AUC_CHANCE
    return learned and in_sync < CHANCE_LOSS and (out_of_sync is None or out_of_sync > CHANCE_LOSS)


def sync_level(loss: float, in_sync: float, auc: float | None = None) -> str:
    """Rate the sync loss of a generator: "good", "fair" or "bad". Monotone in `loss`.

    A loss above that of an undecided SyncNet is bad; with a SyncNet of low AUC nothing is good.
    """
    if loss >= CHANCE_LOSS:
        return "bad"
    usable = auc is None or auc >= AUC_USABLE
    return "good" if usable and loss <= sync_bound(in_sync) else "fair"
