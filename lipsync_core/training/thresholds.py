"""The figures that judge a training, in its log and in the report alike: one place for both."""

from __future__ import annotations

import math

CHANCE_LOSS = math.log(2)  # the binary cross entropy of an expert that is undecided
AUC_CHANCE = 0.6  # below: as good as chance, which is 0.5
AUC_USABLE = 0.85  # an expert of this AUC can teach a generator

# Of the way from an undecided expert (0) to its loss of ground truth (1): where a generated mouth
# counts as in sync. Measured on held-out clips of a GRID speaker (expert of AUC 0.90): ground truth
# has a sync loss of 0.33, 0.39 with the audio 1 frame off, 0.54 with 2, 0.73 with 3, 0.89 with 4.
# So 1 frame (40 ms, which nobody sees) is in sync, 2 are partly, and 3 (120 ms, which people see:
# ITU-R BT.1359) are not.
IN_SYNC = 0.5


def sync_bound(in_sync: float) -> float:
    """The largest sync loss that is called in sync, by the expert's loss of ground truth."""
    return CHANCE_LOSS - IN_SYNC * (CHANCE_LOSS - in_sync)


def can_judge_sync(auc: float | None, in_sync: float, out_of_sync: float | None) -> bool:
    """Whether an expert tells ground truth from wrong sound: one on each side of undecided.

    auc: of the expert; in_sync, out_of_sync: its sync loss of ground truth and of the same frames
    with other sound. None: not measured.
    """
    knows = auc is None or auc >= AUC_CHANCE
    return knows and in_sync < CHANCE_LOSS and (out_of_sync is None or out_of_sync > CHANCE_LOSS)


def sync_level(loss: float, in_sync: float, auc: float | None = None) -> str:
    """How far a generator's sync loss is in sync: "good", "fair" or "bad".

    Never better than the expert's own words: what it finds less in sync than undecided is bad, and
    an expert of little AUC calls nothing good. Monotone in `loss`.
    """
    if loss >= CHANCE_LOSS:
        return "bad"
    sure = auc is None or auc >= AUC_USABLE
    return "good" if sure and loss <= sync_bound(in_sync) else "fair"
