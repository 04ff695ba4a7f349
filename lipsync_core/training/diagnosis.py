"""Diagnosis of a training run from its metrics: what is wrong, the likely cause and the remedy.

Pure functions of the rows of metrics.csv and of what is known about the run. All thresholds come
from recorded runs (benchmarks/diagnosis.py) and are stated in the texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lipsync_core.training.causes import (
    FINETUNE,
    SOME_OUT_OF_SYNC_SHARE,
    RunInfo,
    causes,
    out_of_sync,
    rate_amount,
    too_little,
    unmeasured_sync,
    unproven_rate,
)
from lipsync_core.training.data_facts import DataFacts, duration
from lipsync_core.training.thresholds import AUC_CHANCE, AUC_USABLE, CHANCE_LOSS, MIN_MINUTES

Row = Mapping[str, float | str]
DATA_AMOUNT = "amount of data"
MIN_ROWS = 3  # evaluations needed for a diagnosis
RECENT_ROWS = 4  # evaluations that are compared with the earlier ones
MIN_STEPS = 400  # good runs are above chance by then
CHANCE_MARGIN = 0.04  # fraction of the chance loss
MAX_AUC_DROP = 0.03  # below the best
MAX_LOSS_RISE = 0.1  # fraction of the best
MIN_AUC_GAIN = 0.01  # of the recent evaluations, or the run has plateaued


@dataclass(frozen=True)
class Diagnosis:
    """A rating with its reasons: of a training run, of a data check or of a result.

    name: what is rated. level: "good", "fair", "bad" or "none" (cannot be told). word: the rating
    in a word or two. figures: what was measured. note: the cause and what to do, or how it is
    rated.
    """

    name: str
    level: str
    word: str
    figures: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """Figures and note as sentences."""
        return ". ".join(filter(None, (self.figures, self.note)))

    @property
    def advice(self) -> str:
        """Rating and text as a line of the log; "" unless there is something to do."""
        return f"{self.word}: {self.text}" if self.level in ("bad", "fair") else ""


def diagnose(rows: Sequence[Row], run: RunInfo) -> Diagnosis:
    """Diagnosis of a SyncNet run. rows: its metrics so far, in order of step."""
    found = _progress(rows, run)
    if run.constant_offset and found.level in ("good", "fair"):
        seen = f"{found.text}, but the audio-visual offset that it learns is wrong"
        return diagnosis("bad", "learns a wrong offset", seen, [run.data_faults])
    return found


def _progress(rows: Sequence[Row], run: RunInfo) -> Diagnosis:
    """As `diagnose`, without the check for a constant offset."""
    if len(rows) < MIN_ROWS:
        return diagnosis("none", "too early to tell")
    recent, last = rows[-RECENT_ROWS:], rows[-1]
    step, auc = int(value_of(last, "step")), value_of(last, "val_auc")
    if all(value_of(row, "val_auc") < AUC_CHANCE for row in recent):
        if step < min(MIN_STEPS, run.config.steps):
            return diagnosis("none", "too early to tell")
        train = [value_of(row, "train_loss") for row in _same_phase(recent)]
        contrastive = str(last.get("phase") or run.config.loss).startswith("contrastive")
        chance = math.log(run.config.windows_per_clip) if contrastive else CHANCE_LOSS
        if min(train) > (1 - CHANCE_MARGIN) * chance:
            seen = f"after {step} steps the loss is {train[-1]:.2f}, chance is {chance:.2f}"
            return diagnosis("bad", "stuck at chance", f"{seen} (AUC {auc:.2f})", causes(run))
        return _memorizing(step, train[-1], chance, auc, run)
    if (found := _overfitting(rows, run)) is not None:
        return found
    if auc >= AUC_USABLE:
        return diagnosis("good", "learned", f"AUC {auc:.2f} at step {step}")
    return _still_learning(rows, step, auc, run)


def diagnosis(
    level: str, word: str, figures: str = "", found: Sequence[str] = (), remedy: str = ""
) -> Diagnosis:
    """A diagnosis with the likeliest of the causes `found`, the next one and a remedy."""
    parts = [f"Likely cause: {found[0]}"] if found else []
    if len(found) > 1:
        parts.append(f"If that is not it: {found[1]}")
    return Diagnosis("training", level, word, figures, ". ".join(filter(None, [*parts, remedy])))


def data_amount(facts: DataFacts) -> Diagnosis:
    """Whether the training data is enough to train from scratch; `note`: what would be enough."""
    level, word, enough = rate_amount(facts)
    figures = facts.text
    if facts.speech_minutes is not None:
        figures += f" ({duration(facts.minutes)} of video)"
    if facts.speakers > 1:
        figures += f", {duration(facts.amount / facts.speakers)} a speaker"
    return Diagnosis(DATA_AMOUNT, level, word, figures, f"{enough}, {FINETUNE}" if enough else "")


def _memorizing(step: int, train: float, chance: float, auc: float, run: RunInfo) -> Diagnosis:
    seen = (
        f"after {step} steps the training loss is down to {train:.2f} (chance {chance:.2f}), but "
        f"on the validation clips AUC is {auc:.2f}, which is chance"
    )
    facts = run.facts
    found = [run.data_faults, out_of_sync(facts), too_little(facts), unmeasured_sync(facts)]
    found = [cause for cause in found if cause] or [
        f"what {facts.text} teach does not hold for other clips: the audio of many may not match "
        "the frames; play some clips of filelists/train.txt"
    ]
    remedy = f"{run.more} help most; then `augment.hflip`, fewer steps, a smaller `width`"
    return diagnosis("bad", "memorizes", seen, found, remedy)


def _overfitting(rows: Sequence[Row], run: RunInfo) -> Diagnosis | None:
    """Overfitting: training loss falls, validation has been getting worse since its best."""
    same = _same_phase(rows)
    if len(same) < MIN_ROWS:
        return None
    train = [value_of(row, "train_loss") for row in same]
    # In the contrastive phase the cosines are no probabilities: val_loss has no meaning there.
    name, sign = ("val_auc", -1) if same[-1].get("phase") == "contrastive" else ("val_loss", 1)
    values = [value_of(row, name) for row in same]
    best = min(range(len(values)), key=lambda index: sign * values[index])
    since = values[best + 1 :]
    if len(since) < MIN_ROWS or train[-1] >= train[best]:
        return None
    bound = values[best] * (1 + MAX_LOSS_RISE) if sign > 0 else values[best] - MAX_AUC_DROP
    if not all(sign * value > sign * bound for value in since[-2:]):
        return None
    step = int(value_of(same[best], "step"))
    seen = (
        f"since step {step} the training loss fell from {train[best]:.2f} to {train[-1]:.2f} while "
        f"{name} went from {values[best]:.2f} to {values[-1]:.2f}"
    )
    cause = f"{run.facts.text}, {'too little' if too_little(run.facts) else 'no longer enough'}"
    remedy = (
        f"The weights of step {step} are kept (`export: best`). {run.more} give better ones; "
        "`augment.hflip`, a smaller `width` or fewer steps help a little"
    )
    return diagnosis("fair", "overfits", f"{seen}: {cause}", remedy=remedy)


def _still_learning(rows: Sequence[Row], step: int, auc: float, run: RunInfo) -> Diagnosis:
    values = [value_of(row, "val_auc") for row in rows]
    recent, earlier = values[-RECENT_ROWS:], values[:-RECENT_ROWS]
    if earlier and max(recent) - max(earlier) < MIN_AUC_GAIN:
        seen = (
            f"AUC has been about {max(values):.2f} for {RECENT_ROWS} evaluations; a generator "
            f"needs {AUC_USABLE}"
        )
        shifted = out_of_sync(run.facts, SOME_OUT_OF_SYNC_SHARE)
        cause = run.data_faults or shifted or unproven_rate(run) or too_little(run.facts)
        remedy = (
            "More data, a larger `width` or, if the learning rate is constant, `lr_schedule: "
            "cosine` can help"
        )
        found = [cause or f"{run.facts.text} teach no more than this"]
        return diagnosis("fair", "plateaued", seen, found, remedy)
    if step >= run.config.steps:
        seen = f"AUC {auc:.2f} is still rising at the last step ({step}): increase `steps`"
        hardly_any = 0 < run.facts.amount < MIN_MINUTES
        cause = unproven_rate(run) or (too_little(run.facts) if hardly_any else "")
        return diagnosis("fair", "too few steps", seen, [cause] if cause else [])
    return diagnosis("good", "learning", f"AUC {auc:.2f} at step {step}, still rising")


def _same_phase(rows: Sequence[Row]) -> list[Row]:
    """The rows at the end that have the same phase as the last one."""
    phases = [row.get("phase") == rows[-1].get("phase") for row in rows]
    first = max((index + 1 for index, same in enumerate(phases) if not same), default=0)
    return list(rows[first:])


def value_of(row: Row, name: str) -> float:
    """A number of a row, nan if it is missing; rows of a CSV file hold strings."""
    try:
        return float(row.get(name, "nan"))
    except (TypeError, ValueError):
        return math.nan
