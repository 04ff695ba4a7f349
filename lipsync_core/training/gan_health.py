"""Has a GAN collapsed? From the rows of its evaluations to a sentence.

Knows rows only (`generator.GeneratorTask.evaluate`). Four ways to collapse: a figure of the
drawings that falls back to where copying the reference frame is, drawings that are all alike, a
discriminator that is always right while the generator gets ever further from deceiving it, and one
that is sure of the same answer whatever it sees, and teaches nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Row = Mapping[str, float | str]
METRICS = {"l1": "L1", "sync_loss": "sync loss"}  # of the drawings; lower is better
MAX_LEAD_LOSS = 0.75  # share of the best lead over copying that a healthy GAN does not lose at once
MAX_RATIO_TO_BEST = 1.5  # times the best so far: below this nothing has collapsed
MIN_RELATIVE_STD = 0.1  # of the variety of the true frames
SATURATED_ACCURACY = 0.99  # accuracy of the discriminator
MAX_DISC_LOSS = (
    6.0  # a discriminator's loss, or the loss by it: what is so has probability 1 in 400
)
PATIENCE = 3  # evaluations in a row


def diagnose_gan(rows: Sequence[Row]) -> str:
    """Why the GAN is ill after the last of `rows`, in words; "" for a healthy one.

    The columns read, each where it is there: val_l1, val_sync_loss and both with _reference,
    val_output_std, val_output_std_gt, train_adv_loss, train_disc_real, train_disc_fake, both with
    _accuracy, sync_weight, rollbacks.
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
    """A figure of the drawings is back near that of copying."""
    *before, now = rows
    for figure, name in METRICS.items():
        # Nothing holds the sync loss down before it counts in the training.
        past = [row for row in before if figure == "l1" or _value(row, "sync_weight") > 0]
        values = [_value(row, f"val_{figure}") for row in past]
        best = min((value for value in values if math.isfinite(value)), default=math.nan)
        value, copy = _value(now, f"val_{figure}"), _value(now, f"val_{figure}_reference")
        if not math.isfinite(best):
            continue
        limit = MAX_RATIO_TO_BEST * best
        if copy > best:
            limit = max(limit, best + MAX_LEAD_LOSS * (copy - best))
        if value > limit:
            of_copy = f" ({copy:.3g} by copying the reference)" if math.isfinite(copy) else ""
            return f"the {name} of the drawings is {value:.3g}, it was {best:.3g}{of_copy}"
    return ""


def mode_collapse(rows: Sequence[Row]) -> str:
    """Whatever the face and the sound, the drawing is the same, and was not always."""
    *before, now = map(_relative_std, rows)
    varied = [share for share in before if math.isfinite(share)]
    if now < MIN_RELATIVE_STD and max(varied, default=1.0) >= MIN_RELATIVE_STD:
        return f"the drawings are all alike: they vary {now:.0%} as much as true frames"
    return ""


def _relative_std(row: Row) -> float:
    """How much the drawings vary, relative to the true frames; nan where that is not known."""
    return _value(row, "val_output_std") / (_value(row, "val_output_std_gt") or math.nan)


def discriminator_saturated(now: Row) -> str:
    """The discriminator is sure, and wrong, about all true frames or about all drawn ones."""
    for of, kind in (("real", "true"), ("fake", "drawn")):
        loss = _value(now, f"train_disc_{of}")
        if loss > MAX_DISC_LOSS and _value(now, f"train_disc_{of}_accuracy") < 0.5:
            return (
                f"the discriminator is sure and wrong about {kind} frames: its loss is {loss:.3g}"
            )
    return ""


def discriminator_wins(rows: Sequence[Row]) -> str:
    """The discriminator is always right, and the generator's loss by it grows."""
    since = [row for row in rows if row.get("rollbacks") == rows[-1].get("rollbacks")][-PATIENCE:]
    losses = [_value(row, "train_adv_loss") for row in since]
    right = all(
        _value(row, f"train_disc_{of}_accuracy") >= SATURATED_ACCURACY
        for row in since
        for of in ("real", "fake")
    )
    if len(since) == PATIENCE and right and min(losses) > MAX_DISC_LOSS and losses[-1] > losses[0]:
        return (
            f"the discriminator has been right about every frame for {PATIENCE} evaluations and "
            f"the adversarial loss grows ({losses[0]:.3g} to {losses[-1]:.3g})"
        )
    return ""


def _value(row: Row, name: str) -> float:
    """A number of a row; nan where it is none."""
    value = row.get(name, math.nan)
    return float(value) if isinstance(value, float | int) else math.nan
