"""How a training is going, in words: why it stands still, and what to do about it.

Pure functions of the rows of metrics.csv and of what is known about the run. The thresholds are
where the figures of many runs begin to differ; they are stated in the text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lipsync_core.training.data_check.amount import MIN_MINUTES, rate_amount
from lipsync_core.training.thresholds import AUC_CHANCE, AUC_USABLE, CHANCE_LOSS

Row = Mapping[str, float | str]
MIN_ROWS = 3  # evaluations, before which nothing is said
RECENT_ROWS = 4  # evaluations that a judgement rests on
MIN_STEPS = 400  # a good run has left chance by then
CHANCE_MARGIN = 0.04  # share of the chance loss: as near as this is at chance
MAX_AUC_DROP = 0.03  # of the AUC under its best
MAX_LOSS_RISE = 0.1  # share of the loss above its best
MAX_L1_RATIO = 1.2  # times the best L1 of a generator: more than it varies
MIN_AUC_GAIN = 0.01  # AUC that the last evaluations must bring, or the run stands still
# Peak learning rates that are known to work: those of the presets with room on both sides, Muon's
# 0.3 as measured (AUC 0.88 on a GRID speaker, 0.90 with the shipped 3e-3): benchmarks/diagnosis.py.
PROVEN_LEARNING_RATES = {"muon": (3e-4, 0.3), "adam": (1e-5, 2e-3)}


@dataclass(frozen=True)
class RunInfo:
    """What is known about a run beside its metrics.

    steps: planned. loss, optimizer, lr: as in the config (lr 0: not known). windows: of each clip
    in a batch. speakers, minutes: of the training clips (minutes 0: not known). found: what the
    data check found wrong with audio and frames, in words, "" for nothing; out_of_sync: among it
    is a constant offset, which an expert can learn. seen: the validation speakers are among the
    training speakers.
    """

    steps: int
    loss: str = "contrastive+bce"
    windows: int = 12
    speakers: int = 0
    minutes: float = 0.0
    found: str = ""
    optimizer: str = "muon"
    lr: float = 0.0
    seen: bool = False
    out_of_sync: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """level: "good", "fair", "bad" or "none" (too early to tell). text: what is seen, the likely
    cause, what to do."""

    level: str
    word: str
    text: str


def diagnose(rows: Sequence[Row], run: RunInfo) -> Diagnosis:
    """How the expert's training is going. rows: its metrics so far, in order of step."""
    found = _progress(rows, run)
    if run.out_of_sync and found.level in ("good", "fair"):
        text = f"{found.text}; but what it learns is wrong. Likely cause: {run.found}"
        return Diagnosis("bad", "learns a wrong offset", text)
    return found


def _progress(rows: Sequence[Row], run: RunInfo) -> Diagnosis:
    """As `diagnose`, but for an offset that the expert learns."""
    if len(rows) < MIN_ROWS:
        return Diagnosis("none", "too early to tell", "")
    recent = rows[-RECENT_ROWS:]
    step, auc = int(_number(rows[-1], "step")), _number(rows[-1], "val_auc")
    chance = _chance(rows[-1], run)
    train = [_number(row, "train_loss") for row in _same_phase(recent)]
    if all(_number(row, "val_auc") < AUC_CHANCE for row in recent):
        if step < min(MIN_STEPS, run.steps):
            return Diagnosis("none", "too early to tell", "")
        if min(train) > (1 - CHANCE_MARGIN) * chance:
            return _at_chance(step, train[-1], chance, auc, run)
        return _memorized(step, train[-1], chance, auc, run)
    if (found := _overfitting(rows, run)) is not None:
        return found
    if auc >= AUC_USABLE:
        return Diagnosis("good", "learned", f"AUC {auc:.2f} at step {step}")
    return _still_learning(rows, step, auc, run)


def advice(found: Diagnosis) -> str:
    """The found as a line of the log; "" when there is nothing to be done."""
    return f"{found.word}: {found.text}" if found.level in ("bad", "fair") else ""


def _at_chance(step: int, train: float, chance: float, auc: float, run: RunInfo) -> Diagnosis:
    seen = f"after {step} steps the loss is {train:.2f}, chance is {chance:.2f} (AUC {auc:.2f})"
    return Diagnosis("bad", "stands still at chance", f"{seen}. {_likely_cause(causes(run))}")


def causes(run: RunInfo) -> list[str]:
    """What may hold a training at chance, the likeliest first; each with its remedy.

    What was measured goes before what is supposed: what the data check found wrong, a learning rate
    with which no run has learned, too little data; then the loss, and last the learning rate.
    """
    found = [run.found] if run.found else []
    if rate := _unproven_rate(run):
        found.append(rate)
    if little := _too_little(run):
        found.append(little)
    if run.loss == "bce":
        found.append(
            "the classic loss alone often stands here for days; set `syncnet.loss: contrastive+bce`"
            " (or start from public weights with `syncnet.pretrained`)"
        )
    elif not run.found and not rate:
        found.append(
            "the learning rate, or audio and frames that do not belong together: try `syncnet.lr` "
            "at a third of what it is, and play some clips of filelists/train.txt"
        )
    return found


def _likely_cause(found: Sequence[str]) -> str:
    """The likeliest cause, and the next one where there is another."""
    text = f"Likely cause: {found[0]}"
    return f"{text}. If that is not it: {found[1]}" if len(found) > 1 else text


def _unproven_rate(run: RunInfo) -> str:
    """A learning rate with which no measured run has learned, in words; else ""."""
    lowest, highest = PROVEN_LEARNING_RATES.get(run.optimizer, (0.0, math.inf))
    if not run.lr or lowest <= run.lr <= highest:
        return ""
    word = "low" if run.lr < lowest else "high"
    return (
        f"the learning rate is too {word}: `syncnet.lr` is {run.lr:g}, with `{run.optimizer}` "
        f"{lowest:g} to {highest:g} have worked"
    )


def _too_little(run: RunInfo) -> str:
    """Too little data in words, with what would be enough; "" where it is enough or not known."""
    if not run.minutes:
        return ""
    amount = rate_amount(run.minutes, run.speakers, run.seen)
    if not amount.enough:
        return ""
    return f"too little data, {_data(run)}. Enough would be {amount.enough}"


def _memorized(step: int, train: float, chance: float, auc: float, run: RunInfo) -> Diagnosis:
    seen = (
        f"after {step} steps the training loss is down to {train:.2f} (chance {chance:.2f}), but "
        f"on the validation clips AUC is {auc:.2f}, which is chance"
    )
    found = [cause for cause in (run.found, _too_little(run)) if cause] or [
        f"{_data(run)} do not teach what holds for other clips: audio and frames of many may not "
        "belong together; play some clips of filelists/train.txt"
    ]
    remedy = f"{_more(run)} help most; then `augment.hflip`, fewer steps, a smaller `width`"
    return Diagnosis("bad", "learns by heart", f"{seen}. {_likely_cause(found)}. {remedy}")


def _overfitting(rows: Sequence[Row], run: RunInfo) -> Diagnosis | None:
    """Training goes on falling while validation has been getting worse since its best."""
    same = _same_phase(rows)
    if len(same) < MIN_ROWS:
        return None
    train = [_number(row, "train_loss") for row in same]
    # The cosines of the contrastive phase are no probabilities: their loss says nothing.
    classic = same[-1].get("phase") != "contrastive"
    name = "val_loss" if classic else "val_auc"
    values = [_number(row, name) for row in same]
    best = min(range(len(values)), key=lambda i: values[i] if classic else -values[i])
    since = values[best + 1 :]
    if len(since) < MIN_ROWS or train[-1] >= train[best]:
        return None
    bound = values[best] * (1 + MAX_LOSS_RISE) if classic else values[best] - MAX_AUC_DROP
    worse = [value > bound if classic else value < bound for value in since[-2:]]
    if not all(worse):
        return None
    step = int(_number(same[best], "step"))
    seen = (
        f"since step {step} the training loss fell from {train[best]:.2f} to {train[-1]:.2f} while "
        f"{name} went from {values[best]:.2f} to {values[-1]:.2f}"
    )
    few = _data(run) + (" are few" if _too_little(run) else " are known by now")
    remedy = (
        f"The weights of step {step} are kept (`final: best`). {_more(run)} make better ones; "
        "`augment.hflip`, a smaller `width` or fewer steps help a little"
    )
    return Diagnosis("fair", "overfits", f"{seen}: {few}. {remedy}")


def _still_learning(rows: Sequence[Row], step: int, auc: float, run: RunInfo) -> Diagnosis:
    values = [_number(row, "val_auc") for row in rows]
    if (
        len(values) > RECENT_ROWS
        and max(values[-RECENT_ROWS:]) - max(values[:-RECENT_ROWS]) < MIN_AUC_GAIN
    ):
        cause = run.found or _unproven_rate(run) or _too_little(run)
        cause = cause or f"{_data(run)} hold no more"
        text = (
            f"AUC has been about {max(values):.2f} for {RECENT_ROWS} evaluations; it helps a "
            f"generator from {AUC_USABLE}. Likely cause: {cause}. More data, a larger `width` or, "
            "where the learning rate is constant, `schedule: cosine` can take it further"
        )
        return Diagnosis("fair", "stands still", text)
    if step >= run.steps:
        text = f"AUC {auc:.2f} and still rising at the last step ({step}): give it more `steps`"
        hardly_any = 0 < run.minutes < MIN_MINUTES
        if cause := _unproven_rate(run) or (_too_little(run) if hardly_any else ""):
            text += f". Likely cause: {cause}"
        return Diagnosis("fair", "cut short", text)
    return Diagnosis("good", "learning", f"AUC {auc:.2f} at step {step}, still rising")


def diagnose_generator(rows: Sequence[Row], steps: int) -> Diagnosis:
    """How a generator's training is going. rows: its metrics so far; steps: planned."""
    if len(rows) < MIN_ROWS:
        return Diagnosis("none", "too early to tell", "")
    last, step = rows[-1], int(_number(rows[-1], "step"))
    l1, copied = _number(last, "val_l1"), _number(last, "val_l1_reference")
    late = step >= min(steps, 2000)
    best = min(rows, key=lambda row: _number(row, "val_l1"))
    if l1 > MAX_L1_RATIO * _number(best, "val_l1"):
        joined = _number(last, "sync_weight") > _number(best, "sync_weight")
        cause = (
            "the sync loss joined too early; set `sync_threshold` lower (public: 0.75), or "
            "`sync_weight`"
            if joined
            else "steps that are too large; set `lr` lower, or `grad_clip`"
        )
        text = (
            f"L1 is {l1:.3f}; at step {best['step']} it was {_number(best, 'val_l1'):.3f}. Likely "
            f"cause: {cause}. `final: best` hands on the better weights"
        )
        return Diagnosis("bad", "worse than before", text)
    if late and l1 >= copied:
        text = (
            f"after {step} steps L1 is {l1:.3f}; showing the reference frame gives {copied:.3f}. "
            "Likely cause: too few steps, or a learning rate that is too low or too high "
            "(public: 1e-4 at full width)"
        )
        return Diagnosis("bad", "no better than copying", text)
    weight, sync = _number(last, "sync_weight"), _number(last, "val_sync_loss")
    truth = _number(last, "val_sync_loss_gt")
    if late and weight > 0 and truth > CHANCE_LOSS:
        text = (
            f"the expert gives the true frames a sync loss of {truth:.2f}, worse than undecided "
            "(0.69): train a better expert first"
        )
        return Diagnosis("bad", "the expert is no judge", text)
    if late and weight == 0 and sync > CHANCE_LOSS:
        text = (
            f"after {step} steps the sync loss ({sync:.2f}) has not come under `sync_threshold`, "
            "so it does not train yet. Likely cause: too few steps so far, or a weak expert"
        )
        return Diagnosis("fair", "sync not joined yet", text)
    if step >= steps and weight > 0 and sync > CHANCE_LOSS:
        text = (
            f"the expert finds the generated mouths out of sync (sync loss {sync:.2f}; undecided "
            f"0.69, true frames {truth:.2f}). Likely cause: too few steps since the sync loss "
            "joined, or a `sync_weight` that is too small (public: 0.03)"
        )
        return Diagnosis("fair", "not in sync yet", text)
    return Diagnosis("good", "learning" if step < steps else "done", f"L1 {l1:.3f} at step {step}")


def _same_phase(rows: Sequence[Row]) -> list[Row]:
    """The last rows that have the phase of the last one."""
    found: list[Row] = []
    for row in reversed(rows):
        if row.get("phase") != rows[-1].get("phase"):
            break
        found.insert(0, row)
    return found


def _chance(row: Row, run: RunInfo) -> float:
    """The training loss of an expert that knows nothing."""
    phase = row.get("phase") or run.loss
    return math.log(run.windows) if str(phase).startswith("contrastive") else CHANCE_LOSS


def _more(run: RunInfo) -> str:
    """What there should be more of: strangers, or speech of the one speaker to be judged."""
    return "More minutes of this speaker" if run.speakers == 1 and run.seen else "More speakers"


def _data(run: RunInfo) -> str:
    many = f"{run.speakers} speaker{'s' * (run.speakers != 1)}"
    return f"{many} with {run.minutes:.0f} minutes" if run.minutes >= 1 else many


def _number(row: Row, name: str) -> float:
    """A figure of a row, nan when it is missing; rows of a CSV file hold texts."""
    try:
        return float(row.get(name, "nan"))
    except (TypeError, ValueError):
        return math.nan
