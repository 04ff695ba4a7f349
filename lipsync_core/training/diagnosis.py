"""How a training is going, in words: why it stands still, and what to do about it.

Pure functions of the rows of metrics.csv and of what is known about the run. The thresholds are
where the figures of many runs begin to differ; they are stated in the text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lipsync_core.training.data_check.amount import MIN_MINUTES, judge_amount
from lipsync_core.training.thresholds import AUC_CHANCE, AUC_USABLE, CHANCE_LOSS

Row = Mapping[str, float | str]
LEAST_ROWS = 3  # evaluations, before which nothing is said
RECENT = 4  # evaluations that a judgement rests on
LEAST_STEPS = 400  # a good run has left chance by then
NEAR = 0.04  # share of the chance loss: as near as this is at chance
FALLEN = 0.03  # of the AUC under its best
RISEN = 0.1  # share of the loss above its best
LOST = 1.2  # times the best L1 of a generator: more than it varies
GAINED = 0.01  # AUC that the last evaluations must bring, or the run stands still
# Peak learning rates that are known to work: those of the presets with room on both sides, Muon's
# 0.3 as measured (AUC 0.88 on a GRID speaker, 0.90 with the shipped 3e-3): benchmarks/diagnosis.py.
USUAL_RATES = {"muon": (3e-4, 0.3), "adam": (1e-5, 2e-3)}


@dataclass(frozen=True)
class Facts:
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
class Course:
    """level: "good", "fair", "bad" or "none" (too early to tell). text: what is seen, the likely
    cause, what to do."""

    level: str
    word: str
    text: str


def verdict(rows: Sequence[Row], facts: Facts) -> Course:
    """How the expert's training is going. rows: its metrics so far, in order of step."""
    course = _course(rows, facts)
    if facts.out_of_sync and course.level in ("good", "fair"):
        text = f"{course.text}; but what it learns is wrong. Likely cause: {facts.found}"
        return Course("bad", "learns a wrong offset", text)
    return course


def _course(rows: Sequence[Row], facts: Facts) -> Course:
    """As `verdict`, but for an offset that the expert learns."""
    if len(rows) < LEAST_ROWS:
        return Course("none", "too early to tell", "")
    recent = rows[-RECENT:]
    step, auc = int(_number(rows[-1], "step")), _number(rows[-1], "val_auc")
    chance = _chance(rows[-1], facts)
    train = [_number(row, "train_loss") for row in _same_phase(recent)]
    if all(_number(row, "val_auc") < AUC_CHANCE for row in recent):
        if step < min(LEAST_STEPS, facts.steps):
            return Course("none", "too early to tell", "")
        if min(train) > (1 - NEAR) * chance:
            return _stuck(step, train[-1], chance, auc, facts)
        return _by_heart(step, train[-1], chance, auc, facts)
    if (found := _overfitting(rows, facts)) is not None:
        return found
    if auc >= AUC_USABLE:
        return Course("good", "learned", f"AUC {auc:.2f} at step {step}")
    return _going_on(rows, step, auc, facts)


def advice(course: Course) -> str:
    """The course as a line of the log; "" when there is nothing to be done."""
    return f"{course.word}: {course.text}" if course.level in ("bad", "fair") else ""


def _stuck(step: int, train: float, chance: float, auc: float, facts: Facts) -> Course:
    seen = f"after {step} steps the loss is {train:.2f}, chance is {chance:.2f} (AUC {auc:.2f})"
    return Course("bad", "stands still at chance", f"{seen}. {_named(causes(facts))}")


def causes(facts: Facts) -> list[str]:
    """What may hold a training at chance, the likeliest first; each with its remedy.

    What was measured goes before what is supposed: what the data check found wrong, a learning rate
    with which no run has learned, too little data; then the loss, and last the learning rate.
    """
    found = [facts.found] if facts.found else []
    if rate := _odd_rate(facts):
        found.append(rate)
    if little := _too_little(facts):
        found.append(little)
    if facts.loss == "bce":
        found.append(
            "the classic loss alone often stands here for days; set `syncnet.loss: contrastive+bce`"
            " (or start from public weights with `syncnet.init`)"
        )
    elif not facts.found and not rate:
        found.append(
            "the learning rate, or audio and frames that do not belong together: try `syncnet.lr` "
            "at a third of what it is, and play some clips of filelists/train.txt"
        )
    return found


def _named(found: Sequence[str]) -> str:
    """The likeliest cause, and the next one where there is another."""
    text = f"Likely cause: {found[0]}"
    return f"{text}. If that is not it: {found[1]}" if len(found) > 1 else text


def _odd_rate(facts: Facts) -> str:
    """A learning rate with which no measured run has learned, in words; else ""."""
    lowest, highest = USUAL_RATES.get(facts.optimizer, (0.0, math.inf))
    if not facts.lr or lowest <= facts.lr <= highest:
        return ""
    word = "low" if facts.lr < lowest else "high"
    return (
        f"the learning rate is too {word}: `syncnet.lr` is {facts.lr:g}, with `{facts.optimizer}` "
        f"{lowest:g} to {highest:g} have worked"
    )


def _too_little(facts: Facts) -> str:
    """Too little data in words, with what would be enough; "" where it is enough or not known."""
    if not facts.minutes:
        return ""
    amount = judge_amount(facts.minutes, facts.speakers, facts.seen)
    if not amount.enough:
        return ""
    return f"too little data, {_data(facts)}. Enough would be {amount.enough}"


def _by_heart(step: int, train: float, chance: float, auc: float, facts: Facts) -> Course:
    seen = (
        f"after {step} steps the training loss is down to {train:.2f} (chance {chance:.2f}), but "
        f"on the validation clips AUC is {auc:.2f}, which is chance"
    )
    found = [cause for cause in (facts.found, _too_little(facts)) if cause] or [
        f"{_data(facts)} do not teach what holds for other clips: audio and frames of many may not "
        "belong together; play some clips of filelists/train.txt"
    ]
    remedy = f"{_more(facts)} help most; then `flip`, fewer steps, a smaller `width`"
    return Course("bad", "learns by heart", f"{seen}. {_named(found)}. {remedy}")


def _overfitting(rows: Sequence[Row], facts: Facts) -> Course | None:
    """Training goes on falling while validation has been getting worse since its best."""
    same = _same_phase(rows)
    if len(same) < LEAST_ROWS:
        return None
    train = [_number(row, "train_loss") for row in same]
    # The cosines of the contrastive phase are no probabilities: their loss says nothing.
    classic = same[-1].get("phase") != "contrastive"
    name = "val_loss" if classic else "val_auc"
    values = [_number(row, name) for row in same]
    best = min(range(len(values)), key=lambda i: values[i] if classic else -values[i])
    since = values[best + 1 :]
    if len(since) < LEAST_ROWS or train[-1] >= train[best]:
        return None
    bound = values[best] * (1 + RISEN) if classic else values[best] - FALLEN
    worse = [value > bound if classic else value < bound for value in since[-2:]]
    if not all(worse):
        return None
    step = int(_number(same[best], "step"))
    seen = (
        f"since step {step} the training loss fell from {train[best]:.2f} to {train[-1]:.2f} while "
        f"{name} went from {values[best]:.2f} to {values[-1]:.2f}"
    )
    few = _data(facts) + (" are few" if _too_little(facts) else " are known by now")
    remedy = (
        f"The weights of step {step} are kept (`final: best`). {_more(facts)} make better ones; "
        "`flip`, a smaller `width` or fewer steps help a little"
    )
    return Course("fair", "overfits", f"{seen}: {few}. {remedy}")


def _going_on(rows: Sequence[Row], step: int, auc: float, facts: Facts) -> Course:
    values = [_number(row, "val_auc") for row in rows]
    if len(values) > RECENT and max(values[-RECENT:]) - max(values[:-RECENT]) < GAINED:
        cause = facts.found or _odd_rate(facts) or _too_little(facts)
        cause = cause or f"{_data(facts)} hold no more"
        text = (
            f"AUC has been about {max(values):.2f} for {RECENT} evaluations; it is of use to a "
            f"generator from {AUC_USABLE}. Likely cause: {cause}. More data, a larger `width` or, "
            "where the learning rate is constant, `schedule: cosine` can take it further"
        )
        return Course("fair", "stands still", text)
    if step >= facts.steps:
        text = f"AUC {auc:.2f} and still rising at the last step ({step}): give it more `steps`"
        hardly_any = 0 < facts.minutes < MIN_MINUTES
        if cause := _odd_rate(facts) or (_too_little(facts) if hardly_any else ""):
            text += f". Likely cause: {cause}"
        return Course("fair", "cut short", text)
    return Course("good", "learning", f"AUC {auc:.2f} at step {step}, still rising")


def generator_verdict(rows: Sequence[Row], steps: int) -> Course:
    """How a generator's training is going. rows: its metrics so far; steps: planned."""
    if len(rows) < LEAST_ROWS:
        return Course("none", "too early to tell", "")
    last, step = rows[-1], int(_number(rows[-1], "step"))
    l1, copied = _number(last, "val_l1"), _number(last, "val_l1_reference")
    late = step >= min(steps, 2000)
    best = min(rows, key=lambda row: _number(row, "val_l1"))
    if l1 > LOST * _number(best, "val_l1"):
        joined = _number(last, "sync_weight") > _number(best, "sync_weight")
        cause = (
            "the sync loss joined too early; set `sync_threshold` lower (public: 0.75), or "
            "`sync_weight`"
            if joined
            else "steps that are too large; set `lr` lower, or `clip`"
        )
        text = (
            f"L1 is {l1:.3f}; at step {best['step']} it was {_number(best, 'val_l1'):.3f}. Likely "
            f"cause: {cause}. `final: best` hands on the better weights"
        )
        return Course("bad", "worse than before", text)
    if late and l1 >= copied:
        text = (
            f"after {step} steps L1 is {l1:.3f}; showing the reference frame gives {copied:.3f}. "
            "Likely cause: too few steps, or a learning rate that is too low or too high "
            "(public: 1e-4 at full width)"
        )
        return Course("bad", "no better than copying", text)
    weight, sync = _number(last, "sync_weight"), _number(last, "val_sync_loss")
    truth = _number(last, "val_sync_loss_gt")
    if late and weight > 0 and truth > CHANCE_LOSS:
        text = (
            f"the expert gives the true frames a sync loss of {truth:.2f}, worse than undecided "
            "(0.69): train a better expert first"
        )
        return Course("bad", "the expert is no judge", text)
    if late and weight == 0 and sync > CHANCE_LOSS:
        text = (
            f"after {step} steps the sync loss ({sync:.2f}) has not come under `sync_threshold`, "
            "so it does not train yet. Likely cause: too few steps so far, or a weak expert"
        )
        return Course("fair", "sync not joined yet", text)
    if step >= steps and weight > 0 and sync > CHANCE_LOSS:
        text = (
            f"the expert finds the generated mouths out of sync (sync loss {sync:.2f}; undecided "
            f"0.69, true frames {truth:.2f}). Likely cause: too few steps since the sync loss "
            "joined, or a `sync_weight` that is too small (public: 0.03)"
        )
        return Course("fair", "not in sync yet", text)
    return Course("good", "learning" if step < steps else "done", f"L1 {l1:.3f} at step {step}")


def _same_phase(rows: Sequence[Row]) -> list[Row]:
    """The last rows that have the phase of the last one."""
    found: list[Row] = []
    for row in reversed(rows):
        if row.get("phase") != rows[-1].get("phase"):
            break
        found.insert(0, row)
    return found


def _chance(row: Row, facts: Facts) -> float:
    """The training loss of an expert that knows nothing."""
    phase = row.get("phase") or facts.loss
    return math.log(facts.windows) if str(phase).startswith("contrastive") else CHANCE_LOSS


def _more(facts: Facts) -> str:
    """What there should be more of: strangers, or speech of the one speaker to be judged."""
    return "More minutes of this speaker" if facts.speakers == 1 and facts.seen else "More speakers"


def _data(facts: Facts) -> str:
    many = f"{facts.speakers} speaker{'s' * (facts.speakers != 1)}"
    return f"{many} with {facts.minutes:.0f} minutes" if facts.minutes >= 1 else many


def _number(row: Row, name: str) -> float:
    """A figure of a row, nan when it is missing; rows of a CSV file hold texts."""
    try:
        return float(row.get(name, "nan"))
    except (TypeError, ValueError):
        return math.nan
