"""How much speech a training needs, in words: for the look at the data and for the diagnosis.

What is enough depends on whom the expert is to judge: one speaker that it has heard, or strangers.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_MINUTES = 1.0  # less holds too few windows to learn anything from
# 5 minutes of a GRID speaker gave AUC 0.89 on that speaker's held-out clips after 400 steps of a
# narrow expert, 14 minutes 0.90 (benchmarks/diagnosis.py). GRID has 51 words, other speech more.
ONE_SPEAKER_MINUTES = 12.0
# 6 minutes of 53 speakers and 10 of 109, all real, stayed at chance for 400 steps; how much is just
# enough for strangers is not measured. 20 and 29 hours: what the public models had (LRS2).
MANY_MINUTES, MANY_SPEAKERS = 60.0, 10


@dataclass(frozen=True)
class Amount:
    """level, word: as of a `check.Check`. enough: what would be enough, "" where there is."""

    level: str
    word: str
    enough: str = ""


def rate_amount(minutes: float, speakers: int, seen: bool = True) -> Amount:
    """Whether so many minutes of so many training speakers are enough to learn from scratch.

    seen: the validation speakers are among them; it matters to one speaker alone.
    """
    alone = speakers == 1 and seen
    if minutes < MIN_MINUTES:
        return Amount("bad", "too little", what_is_enough(speakers, seen))
    if alone and minutes >= ONE_SPEAKER_MINUTES:
        return Amount("good", "enough for one speaker")
    if minutes >= MANY_MINUTES and speakers >= MANY_SPEAKERS:
        return Amount("good", "enough")
    return Amount("fair", "little", what_is_enough(speakers, seen))


def what_is_enough(speakers: int, seen: bool = True) -> str:
    """In words what a training from scratch needs, with what real runs had."""
    tune = "or fine-tune public weights (`syncnet.pretrained`)"
    if speakers == 1 and seen:
        return (
            f"{ONE_SPEAKER_MINUTES:.0f} minutes or more of this speaker, who is then the only one "
            "that it knows (14 minutes of one GRID speaker gave AUC 0.90 in 400 steps), "
            f"{tune}"
        )
    return (
        f"{MANY_MINUTES / 60:.0f} hour of {MANY_SPEAKERS} speakers or more for a beginning, "
        f"20 hours for speakers of all kinds (the public models saw 29 hours, LRS2), {tune}"
    )


def amount_text(minutes: float, speakers: int) -> str:
    """ "44.1 min of 1 speaker" """
    length = f"{minutes / 60:.1f} h" if minutes >= 100 else f"{minutes:.1f} min"
    return f"{length} of {speakers} speaker{'s' * (speakers != 1)}"
