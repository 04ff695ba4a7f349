"""Detection of a collapsed GAN from the rows of its evaluations (`GeneratorTask.evaluate`)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lipsync_core.training.diagnosis import Row, value_of
from lipsync_core.training.thresholds import MAX_DISC_LOSS

METRICS = {"l1": "L1", "sync_loss": "sync loss"}  # of the generated frames; lower is better
MAX_LEAD_LOSS = 0.75  # fraction of the best lead over the reference frames that may be lost
MAX_RATIO_TO_BEST = 1.5
MIN_RELATIVE_STD = 0.1  # of the standard deviation of the ground truth
SATURATED_ACCURACY = 0.99  # of the discriminator
PATIENCE = 3  # evaluations in a row


def collapse(rows: Sequence[Row]) -> str:
    """Why the GAN has collapsed by the last of `rows`, as a message; "" if it has not.

    Columns, all optional: val_l1, val_sync_loss and both with _reference, val_output_std,
    val_output_std_gt, train_adv_loss, train_disc_real, train_disc_fake, both with _accuracy,
    sync_weight, rollbacks.
    """
    if not rows:
        return ""
    return (
        quality_regressed(rows)
        or mode_collapse(rows)
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


def discriminator_wins(rows: Sequence[Row]) -> str:
    """The discriminator is always right, and the adversarial loss of the generator grows."""
    since = [row for row in rows if row.get("rollbacks") == rows[-1].get("rollbacks")][-PATIENCE:]
    losses = [value_of(row, "train_adv_loss") for row in since]
    saturated = all(
        value_of(row, f"train_disc_{of}_accuracy") >= SATURATED_ACCURACY
        for row in since
        for of in ("real", "fake")
    )
    growing = min(losses) > MAX_DISC_LOSS and losses[-1] > losses[0]
    if len(since) == PATIENCE and saturated and growing:
        return (
            f"the discriminator has been right about every frame for {PATIENCE} evaluations and "
            f"the adversarial loss grows ({losses[0]:.3g} to {losses[-1]:.3g})"
        )
    return ""
