"""Diagnosis of a generator's training from its metrics: what is wrong, the cause and the remedy.

Pure functions of the rows of metrics.csv, as `training.diagnosis` for SyncNet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from lipsync_core.training.causes import FINETUNE
from lipsync_core.training.diagnosis import MIN_ROWS, Diagnosis, Row, diagnosis, value_of
from lipsync_core.training.thresholds import CHANCE_LOSS

MIN_GENERATOR_STEPS = 2000
MAX_L1_RATIO = 1.2  # to the best L1: more than its noise
MAX_SYNC_RATIO, MIN_SYNC_RISE = 1.5, 0.5  # to the best sync loss, and above it

# Of the mouth region against the ground truth. Reference frames, other moments of the same clips,
# differ by up to 1.3 levels in a mean color (real clips 0.9), and have stripes of 1.00 to 1.05.
COLORS = {"b": "blue", "g": "green", "r": "red"}
TINTS = {
    **{("b", 1): "blue", ("g", 1): "green", ("r", 1): "red"},
    **{("b", -1): "yellow", ("g", -1): "magenta", ("r", -1): "cyan"},
}
MAX_COLOR_SHIFT = 2.0  # levels of 255
MIN_SHARPNESS_RATIO = 0.4
MAX_STRIPES = 1.5  # visible when enlarged
MAX_SILENT_LIP_MOTION = 0.35  # relative to speech; of real people 0.12 to 0.31
MIN_SHUFFLED_RATIO = 1.05  # of L1 with other audio to L1 with the right one


def diagnose_generator(rows: Sequence[Row], steps: int) -> Diagnosis:
    """Diagnosis of a generator run. rows: its metrics so far; steps: planned.

    What the mouths look like is told as well, from half of the steps on.
    """
    found = _progress(rows, steps)
    if found.level in ("none", "bad") or value_of(rows[-1], "step") < steps / 2:
        return found
    flaws = appearance_flaws(rows[-1])
    if not flaws:
        return found
    words, seen, remedies = zip(*flaws, strict=True)
    if found.level == "fair":
        words, seen = (found.word, *words), (found.figures, *seen)
        remedies = (found.note, *remedies)
    return diagnosis("fair", words[0], "; ".join(seen), remedy=". ".join(dict.fromkeys(remedies)))


def appearance_flaws(row: Row) -> list[tuple[str, str, str]]:
    """Flaws of the generated mouths: (word, what is seen, remedy), the gravest first.

    Columns, all optional: val_color_shift_b, _g, _r, val_l1_shuffled_ratio,
    val_silent_lip_motion_ratio, val_stripes, val_sharpness_ratio, train_adv_loss.
    """
    gan = not math.isnan(value_of(row, "train_adv_loss"))
    flaws = []
    if seen := color_drift(row):
        remedy = "Lower `adv_weight` or `lr`" if gan else "Train for more steps, or lower `lr`"
        flaws.append(("wrong colors", seen, remedy))
    if (ratio := value_of(row, "val_l1_shuffled_ratio")) < MIN_SHUFFLED_RATIO:
        seen = f"with the audio of other windows L1 is only {ratio - 1:.1%} higher"
        remedy = "Raise `sync_weight` or train SyncNet further; more data of the speaker helps"
        flaws.append(("hardly uses the audio", seen, f"{remedy}, {FINETUNE}"))
    if (ratio := value_of(row, "val_silent_lip_motion_ratio")) > MAX_SILENT_LIP_MOTION:
        seen = f"in silence the lips move {ratio:.0%} as much as in speech"
        flaws.append(("moves in silence", seen, "The motion comes from the reference frames"))
    if (value := value_of(row, "val_stripes")) > MAX_STRIPES:
        seen = f"stripes of 2 or 4 pixels have {value - 1:.1f} times the energy of the true detail"
        remedy = "Stripes fade with more steps and a falling `lr` (`lr_schedule: cosine`)"
        flaws.append(("stripes", seen, remedy))
    if (ratio := value_of(row, "val_sharpness_ratio")) < MIN_SHARPNESS_RATIO:
        seen = f"the mouths are blurred: {ratio:.0%} of the sharpness of the ground truth"
        remedy = "More steps with GAN" if gan else "The variant with GAN sharpens them"
        flaws.append(("blurred", seen, remedy))
    return flaws


def color_drift(row: Row) -> str:
    """A wrong mean color of the mouths in words, "" for none.

    "the mouths are tinted magenta: mean green is 6.0 of 255 too low"
    """
    shifts = {channel: value_of(row, f"val_color_shift_{channel}") for channel in COLORS}
    wrong = {channel: shift for channel, shift in shifts.items() if abs(shift) > MAX_COLOR_SHIFT}
    if not wrong:
        return ""
    mean = sum(shifts.values()) / len(shifts)
    channel = max(shifts, key=lambda name: abs(shifts[name] - mean))
    if abs(shifts[channel] - mean) > abs(mean) / 2:
        word = f"tinted {TINTS[channel, 1 if shifts[channel] > mean else -1]}"
    else:
        word = "too bright" if mean > 0 else "too dark"
    told = ", ".join(
        f"mean {COLORS[name]} is {abs(shift):.1f} of 255 too {'high' if shift > 0 else 'low'}"
        for name, shift in sorted(wrong.items(), key=lambda item: -abs(item[1]))
    )
    return f"the mouths are {word}: {told}"


def _progress(rows: Sequence[Row], steps: int) -> Diagnosis:
    """As `diagnose_generator`, without the look of the mouths."""
    if not rows or (len(rows) < MIN_ROWS and value_of(rows[-1], "step") < steps):
        return diagnosis("none", "too early to tell")
    last = rows[-1]
    step, l1, reference_l1, weight, sync, gt = (
        value_of(last, name)
        for name in (
            *("step", "val_l1", "val_l1_reference"),
            *("sync_weight", "val_sync_loss", "val_sync_loss_gt"),
        )
    )
    after = f"after {step:.0f} steps"
    if (found := _l1_regressed(rows) or _sync_regressed(rows)) is not None:
        return found
    late = step >= min(steps, MIN_GENERATOR_STEPS)
    if late and l1 >= reference_l1:
        seen = f"{after} L1 is {l1:.3f}; that of the reference frames is {reference_l1:.3f}"
        cause = "too few steps, or a learning rate that is too low or too high (public: 1e-4)"
        return diagnosis("bad", "no better than the reference", seen, [cause])
    if late and weight > 0 and gt > CHANCE_LOSS:
        seen = f"the SyncNet has a sync loss of {gt:.2f} on the ground truth, worse than chance"
        return diagnosis("bad", "SyncNet too weak", f"{seen} (0.69)", remedy="Train it further")
    if late and weight == 0 and sync > CHANCE_LOSS:
        seen = f"{after} the sync loss ({sync:.2f}) is above `sync_threshold` and is not used yet"
        cause = "too few steps so far, or a weak SyncNet"
        return diagnosis("fair", "sync loss not used yet", seen, [cause])
    if step >= steps and weight > 0 and sync > CHANCE_LOSS:
        seen = f"the sync loss is {sync:.2f} (chance 0.69, ground truth {gt:.2f})"
        cause = "too few steps with the sync loss, or a `sync_weight` that is too small"
        return diagnosis("fair", "not in sync yet", seen, [f"{cause} (public: 0.03)"])
    word = "learning" if step < steps else "done"
    return diagnosis("good", word, f"L1 {l1:.3f} at step {step:.0f}")


def _l1_regressed(rows: Sequence[Row]) -> Diagnosis | None:
    """The L1 of a generator is clearly above its best."""
    last, best = rows[-1], min(rows, key=lambda row: value_of(row, "val_l1"))
    l1, best_l1 = value_of(last, "val_l1"), value_of(best, "val_l1")
    if not l1 > MAX_L1_RATIO * best_l1:
        return None
    cause = "steps that are too large; set a lower `lr` or `grad_clip`"
    if value_of(last, "sync_weight") > value_of(best, "sync_weight"):
        cause = "the sync loss was used too early; set a lower `sync_weight` or a higher "
        cause += "`sync_ramp_steps`"
    seen = f"L1 is {l1:.3f}; at step {best['step']} it was {best_l1:.3f}"
    return diagnosis("bad", "regressed", seen, [cause], "`export: best` exports the better weights")


def _sync_regressed(rows: Sequence[Row]) -> Diagnosis | None:
    """The sync loss is clearly above its best while it is part of the training loss."""
    used = [row for row in rows if value_of(row, "sync_weight") > 0]
    if not used:
        return None
    best = min(used, key=lambda row: value_of(row, "val_sync_loss"))
    lowest, loss = value_of(best, "val_sync_loss"), value_of(rows[-1], "val_sync_loss")
    if not loss > max(MAX_SYNC_RATIO * lowest, lowest + MIN_SYNC_RISE):
        return None
    before, now = (value_of(row, "sync_weight") for row in (best, rows[-1]))
    seen = f"the sync loss is {loss:.2f}; at step {best['step']} it was {lowest:.2f}"
    cause = "steps that are too large; set a lower `lr` or `grad_clip`"
    if now > before:
        cause = f"a `sync_weight` that is too large: it grew from {before:.3g} to {now:.3g}"
    return diagnosis("bad", "loses sync", seen, [cause])
