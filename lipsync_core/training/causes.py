"""Likely causes of a SyncNet run that does not learn, ranked, each with its figures and a remedy.

Measured causes come before assumed ones: what the data check found, clips out of sync, a learning
rate that never worked, too little speech, faces turned away; then what nobody has measured; last
the loss and the learning rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from lipsync_core.config import SyncNetConfig
from lipsync_core.training import thresholds
from lipsync_core.training.data_facts import MEASURED, NOT_MEASURED, UNTRUSTED, DataFacts, duration

# Peak learning rates that are known to work: those of the presets with a margin; for Muon 0.3 as
# measured (AUC 0.88 on a GRID speaker, 0.90 with the default 3e-3): benchmarks/diagnosis.py.
PROVEN_LEARNING_RATES = {"muon": (3e-4, 0.3), "adam": (1e-5, 2e-3)}
FINETUNE = "or start from pretrained weights (`preset: finetune`)"
# Share of the clips within one frame below which sync is the first cause: of a run at chance, and
# of one that learns too little (SyncNet still learns with 30 % of the clips shifted).
OUT_OF_SYNC_SHARE, SOME_OUT_OF_SYNC_SHARE = 0.5, 0.8
MOST = 0.5  # share of the clips from which their pose or sharpness can be the cause


@dataclass(frozen=True)
class RunInfo:
    """What is known about a SyncNet run besides its metrics.

    facts: what is measured of the training clips. data_faults: what the data check found wrong with
    audio and frames, "" for nothing; constant_offset: among them is a constant audio-visual offset,
    which a SyncNet can learn.
    """

    config: SyncNetConfig
    facts: DataFacts = field(default_factory=DataFacts)
    data_faults: str = ""
    constant_offset: bool = False

    @property
    def more(self) -> str:
        """What more training data should consist of."""
        return "More minutes of this speaker" if self.facts.alone else "More speakers"


class Amount(NamedTuple):
    """Rating of the amount of data: level and word as in `Diagnosis`; enough: what would be."""

    level: str
    word: str
    enough: str = ""


def rate_amount(facts: DataFacts) -> Amount:
    """Whether the speech is enough to train from scratch; only for known `minutes`."""
    minutes = facts.amount
    for_one = thresholds.ONE_SPEAKER_SPEECH
    if facts.speech_minutes is None:
        for_one = thresholds.ONE_SPEAKER_MINUTES
    if facts.alone and minutes >= for_one:
        return Amount("good", "enough for one speaker")
    if (
        minutes >= 60 * thresholds.FINETUNE_HOURS
        and facts.speakers >= thresholds.MIN_SPEAKERS
        and not facts.alone
    ):
        return Amount("good", "enough")
    if facts.alone:
        enough = f"{for_one:.0f} minutes or more of this speaker, for a model of this speaker only"
    else:
        enough = (
            f"about {thresholds.FINETUNE_HOURS:.0f} hour of {thresholds.MIN_SPEAKERS} speakers or "
            f"more for a start, {thresholds.FROM_SCRATCH_HOURS:.0f} hours for all kinds of speakers"
        )
    hardly_any = minutes < thresholds.MIN_MINUTES
    return Amount(*(("bad", "too little") if hardly_any else ("fair", "little")), enough)


def causes(run: RunInfo) -> list[str]:
    """Possible causes of a run at chance with their remedies, the likeliest first."""
    rate, facts = unproven_rate(run), run.facts
    found = [run.data_faults, out_of_sync(facts), rate, too_little(facts), poor_view(facts)]
    found = list(filter(None, found))
    if run.config.loss == "bce":
        found.append(
            "the classic loss alone often stays at chance for days; set "
            "`syncnet.loss: contrastive+bce` (or start from public weights: `syncnet.pretrained`)"
        )
    if not run.data_faults:
        found += list(filter(None, [unmeasured_sync(facts)]))
        if not rate and run.config.loss != "bce":
            found.append(_learning_rate(facts))
    return found


def out_of_sync(facts: DataFacts, below: float = OUT_OF_SYNC_SHARE) -> str:
    """Clips that were measured and are out of sync, as a cause; "" below none."""
    if facts.sync != MEASURED:
        return ""
    if facts.in_sync < below:
        return f"clips out of sync: only {facts.sync_text}. Set `sync.correct: correct`"
    if facts.drifting > 1 - below:
        return (
            f"audio that drifts in {facts.drifting:.0%} of the clips. Set `sync.correct: correct`, "
            "which drops them"
        )
    return ""


def unmeasured_sync(facts: DataFacts) -> str:
    """Sync that nobody could measure as a possible cause; "" if it is measured or unknown."""
    if facts.sync == NOT_MEASURED:
        return f"{facts.sync_text}. Measure it: `sync.correct: measure`"
    if facts.sync == UNTRUSTED:
        return (
            f"{facts.sync_text}. Give `sync.model`, such as syncnet_v2.model, or more "
            "`sync.bootstrap_steps`"
        )
    return ""


def unproven_rate(run: RunInfo) -> str:
    """A learning rate outside the range of all runs that learned, as a cause; else ""."""
    lr, optimizer = run.config.lr, run.config.optimizer
    lowest, highest = PROVEN_LEARNING_RATES[optimizer]
    if lowest <= lr <= highest:
        return ""
    return (
        f"the learning rate is too {'low' if lr < lowest else 'high'}: `syncnet.lr` is {lr:g}; "
        f"with `{optimizer}` {lowest:g} to {highest:g} work"
    )


def too_little(facts: DataFacts) -> str:
    """Too little speech as a cause, with what would be enough; "" if it is enough or unknown."""
    enough = rate_amount(facts).enough if facts.minutes else ""
    if not enough:
        return ""
    kind = "video" if facts.speech_minutes is None else "speech"
    known = f" ({facts.sync_text})" if facts.sync == MEASURED else ""
    return (
        f"too little {kind}: {duration(facts.amount)} of {facts.people}{known}; real recordings "
        f"need {enough}. Add some, {FINETUNE}"
    )


def poor_view(facts: DataFacts) -> str:
    """Faces turned away or blurred in most clips, as a cause; else ""."""
    for share, seen, remedy in (
        (facts.turned, "the face is turned away by more than 45 degrees", "check: talkvid"),
        (facts.blurred, "the face is too blurred to show lips", "check.min_sharpness"),
    ):
        if share > MOST:
            return f"in {share:.0%} of the clips {seen}. Set `{remedy}`, or use other videos"
    return ""


def _learning_rate(facts: DataFacts) -> str:
    if facts.sync == MEASURED:
        return f"the learning rate, as {facts.sync_text}: try a third of `syncnet.lr`"
    if facts.sync in (NOT_MEASURED, UNTRUSTED):
        return "the learning rate: try a third of `syncnet.lr`"
    return (
        "the learning rate, or audio that does not match the frames: try a third of "
        "`syncnet.lr`, and play some clips of filelists/train.txt"
    )
