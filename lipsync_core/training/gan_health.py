"""Detection of a collapsed GAN from the rows of its evaluations (`GeneratorTask.evaluate`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lipsync_core.training.diagnosis import Row, value_of
from lipsync_core.training.generator_diagnosis import COLORS
from lipsync_core.training.generator_diagnosis import color_drift as describe_colors
from lipsync_core.training.thresholds import MAX_DISC_LOSS

METRICS = {"l1": "L1", "sync_loss": "sync loss"}  # of the generated frames; lower is better
MAX_LEAD_LOSS = 0.75  # fraction of the best lead over the reference frames that may be lost
MAX_RATIO_TO_BEST = 1.5
MIN_RELATIVE_STD = 0.1  # of the standard deviation of the ground truth
SATURATED_ACCURACY = 0.99  # of the discriminator
MIN_DISC_LOSS = 0.01  # of a discriminator that has nothing left to learn, whatever its loss
MAX_FALL = 0.95  # of the adversarial loss over PATIENCE evaluations that is still no fall
MAX_SYNC_RISE = 2.0  # of the sync loss above its best: most windows are worse than undecided
# Levels of 255; a GAN that was not stopped drifted by 6.9 and is still to be named, not undone.
MAX_COLOR_DRIFT, MAX_COLOR_RATIO = 8.0, 2.0
PATIENCE = 3  # evaluations in a row


def collapse(rows: Sequence[Row]) -> str:
    """Why the GAN has collapsed by the last of `rows`, as a message; "" if it has not.

    Holds for adversarial losses on probabilities and on unbounded outputs (hinge, least squares).

    Columns, all optional: val_l1, val_sync_loss and both with _reference, val_output_std,
    val_output_std_gt, val_color_shift_b, _g, _r, train_adv_loss, train_disc_real, train_disc_fake,
    both with _accuracy, sync_weight, rollbacks.
    """
    if not rows:
        return ""
    return (
        quality_regressed(rows)
        or mode_collapse(rows)
        or color_drift(rows)
        or discriminator_saturated(rows[-1])
        or discriminator_wins(rows)
    )


def quality_regressed(rows: Sequence[Row]) -> str:
    """A metric of the generated frames is back near that of the reference frames."""
    *before, now = rows
    for metric, name in METRICS.items():
        # The sync loss may rise while it is not part of the training loss.
        past = [row for row in before if metric == "l1" or value_of(row, "sync_weight") > 0]
        values = [value_of(row, f"val_{metric}") for row in past]
        best = min(filter(math.isfinite, values), default=math.nan)
        value = value_of(now, f"val_{metric}")
        reference = value_of(now, f"val_{metric}_reference")
        limit = MAX_RATIO_TO_BEST * best
        if reference > best:
            limit = max(limit, best + MAX_LEAD_LOSS * (reference - best))
        if metric == "sync_loss":
            limit = min(limit, max(MAX_RATIO_TO_BEST * best, best + MAX_SYNC_RISE))
        if value > limit:
            known = f" (reference frames {reference:.3g})" if math.isfinite(reference) else ""
            return f"the {name} of the generated frames is {value:.3g}, it was {best:.3g}{known}"
    return ""


def mode_collapse(rows: Sequence[Row]) -> str:
    """All outputs are equal, and have not always been."""
    *before, now = (
        value_of(row, "val_output_std") / (value_of(row, "val_output_std_gt") or math.nan)
        for row in rows
    )
    if now < MIN_RELATIVE_STD <= max(filter(math.isfinite, before), default=1.0):
        return f"mode collapse: the outputs vary {now:.0%} as much as the ground truth"
    return ""


def discriminator_saturated(now: Row) -> str:
    """The discriminator is certain and wrong about all real or about all generated frames."""
    for of, kind in (("real", "real"), ("fake", "generated")):
        loss = value_of(now, f"train_disc_{of}")
        if loss > MAX_DISC_LOSS and value_of(now, f"train_disc_{of}_accuracy") < 0.5:
            return f"the discriminator is certain and wrong on {kind} frames: loss {loss:.3g}"
    return ""


def color_drift(rows: Sequence[Row]) -> str:
    """The mean color of the mouths has drifted far from the ground truth's."""
    shifts = [
        max(abs(value_of(row, f"val_color_shift_{channel}")) for channel in COLORS) for row in rows
    ]
    best = min(filter(math.isfinite, shifts[:-1]), default=0.0)
    if shifts[-1] > max(MAX_COLOR_DRIFT, MAX_COLOR_RATIO * best):
        return describe_colors(rows[-1])
    return ""


def discriminator_wins(rows: Sequence[Row]) -> str:
    """The discriminator is always right, and the adversarial loss of the generator does not fall.

    With a loss above `MAX_DISC_LOSS` that grows, or with a discriminator whose own losses are 0:
    beyond the margin of a hinge loss, or at the targets of least squares.
    """
    since = [row for row in rows if row.get("rollbacks") == rows[-1].get("rollbacks")][-PATIENCE:]
    values = [value_of(row, "train_adv_loss") for row in since]
    saturated = all(
        value_of(row, f"train_disc_{of}_accuracy") >= SATURATED_ACCURACY
        for row in since
        for of in ("real", "fake")
    )
    growing = min(values) > MAX_DISC_LOSS and values[-1] > values[0]
    own = [value_of(row, f"train_disc_{of}") for row in since for of in ("real", "fake")]
    idle = all(loss < MIN_DISC_LOSS for loss in own) and values[-1] >= MAX_FALL * values[0]
    if len(since) == PATIENCE and saturated and (growing or idle):
        return (
            f"the discriminator has been right about every frame for {PATIENCE} evaluations and "
            f"the adversarial loss {'grows' if growing else 'does not fall'} "
            f"({values[0]:.3g} to {values[-1]:.3g})"
        )
    return ""
