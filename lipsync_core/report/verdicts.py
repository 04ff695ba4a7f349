"""Headline figures and a verdict in plain words on each part, with the thresholds stated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lipsync_core.report.artefacts import SPLITS, Row, numbers
from lipsync_core.report.blocks import THIN, count, duration, figure, percent, plural
from lipsync_core.report.curves import Expert, Generator
from lipsync_core.report.data import Account, is_kept
from lipsync_core.report.timings import Timing, total_seconds
from lipsync_core.training.gan_health import HOPELESS

KEPT_WELL, KEPT_HALF = 0.9, 0.5
HOURS_SCRATCH, HOURS_TUNE = 20.0, 1.0  # the public models: about 29 hours (LRS2)
AUC_USABLE, AUC_LEARNING = 0.85, 0.65
SYNC_GOOD, SYNC_SOME = 0.75, 0.25  # of the way from copying to the true frames
LOSS_GOOD, LOSS_SOME = 0.35, 0.693  # where that way is unknown; public generators end near 0.2
DISC_EASY = 0.05
SYNC_WORDS = {"good": "in sync", "fair": "partly in sync", "bad": "not in sync yet"}


@dataclass(frozen=True)
class Verdict:
    """`level`: "good", "fair", "bad" or "none" (no figure). `rule`: how it is judged."""

    part: str
    level: str
    word: str
    figures: str
    rule: str


@dataclass(frozen=True)
class Tile:
    """A headline figure."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class TileRow:
    """The headline figures of one part of the run."""

    part: str
    tiles: Sequence[Tile]


def data_verdicts(result: Account, clips: Sequence[Row]) -> list[Verdict]:
    """Share of clips kept, and hours."""
    share = result.kept / result.found if result.found else 0.0
    if share >= KEPT_WELL:
        level, word = "good", "nearly all kept"
    elif share >= KEPT_HALF:
        level, word = "fair", "some dropped"
    else:
        level, word = "bad", "most dropped"
    kept_rule = (
        f"Good from {percent(KEPT_WELL)} kept; under {percent(KEPT_HALF)} look for a fault in the "
        "sources or the thresholds."
    )
    verdicts = [
        Verdict(
            "Clips", level, word, f"{count(result.kept)} of {count(result.found)} kept", kept_rule
        )
    ]
    if clips:
        seconds = sum(numbers([row for row in clips if is_kept(row)], "seconds"))
        if seconds >= HOURS_SCRATCH * 3600:
            level, word = "good", "enough to train from scratch"
        elif seconds >= HOURS_TUNE * 3600:
            level, word = "fair", "enough to fine-tune public weights"
        else:
            level, word = "fair", "enough to try the pipeline"
        rule = (
            f"Fine-tuning from about {HOURS_TUNE:.0f}{THIN}h, training from scratch from about "
            f"{HOURS_SCRATCH:.0f}{THIN}h; the public models saw 29{THIN}h."
        )
        verdicts.append(Verdict("Hours", level, word, f"{duration(seconds)} of speech", rule))
    return verdicts


def expert_verdict(expert: Expert) -> Verdict:
    """Usable, learning, or not learned yet, by AUC."""
    rule = (
        f"Usable from AUC {AUC_USABLE}; under {AUC_LEARNING} not learned yet; 0.5 is chance. "
        "AUC: how often a pair in sync scores above one that is not."
    )
    if expert.auc is None:
        return Verdict("Expert", "none", "no figure", "no AUC was measured", rule)
    figures = f"AUC {expert.auc:.2f}"
    if expert.accuracy is not None:
        figures += f", accuracy {percent(expert.accuracy)}"
    if expert.auc >= AUC_USABLE:
        return Verdict("Expert", "good", "usable", figures, rule)
    if expert.auc >= AUC_LEARNING:
        figures += "; more steps or data should help"
        return Verdict("Expert", "fair", "learning", figures, rule)
    figures += "; check that sound and picture are in sync, then train longer or on more data"
    return Verdict("Expert", "bad", "not learned yet", figures, rule)


def generator_verdicts(name: str, state: Generator, expert: Expert) -> list[Verdict]:
    """Picture, sync and, with a GAN, the discriminator."""
    verdicts = [_picture(name, state), _sync(name, state, expert)]
    if state.discriminator is not None:
        verdicts.append(_discriminator(name, state.discriminator))
    return verdicts


def _picture(name: str, state: Generator) -> Verdict:
    part, rule = f"{name}: picture", "Better when its L1 is below that of copying the reference."
    if state.l1 is None or state.copy_l1 is None:
        return Verdict(part, "none", "no comparison", f"L1 {figure(state.l1, 4)}", rule)
    figures = f"L1 {state.l1:.4f}, copying {state.copy_l1:.4f}"
    if state.l1 < state.copy_l1:
        less = percent(1 - state.l1 / state.copy_l1)
        return Verdict(part, "good", "better than copying", f"{figures} ({less} less)", rule)
    return Verdict(part, "bad", "not learned yet", f"{figures}; train longer", rule)


def _sync(name: str, state: Generator, expert: Expert) -> Verdict:
    part = f"{name}: sync"
    rule = (
        "Judged on the way from copying the reference (no sync) to the true frames: in sync from "
        f"{percent(SYNC_GOOD)}, partly from {percent(SYNC_SOME)}."
    )
    if state.sync_loss is None:
        return Verdict(part, "none", "no figure", "no sync loss was measured", rule)
    figures = f"sync loss {state.sync_loss:.2f}"
    if expert.auc is not None and expert.auc < AUC_LEARNING:
        figures += "; the expert that measures it has not learned yet"
        return Verdict(part, "none", "cannot be judged", figures, rule)
    if state.copy_sync_loss is None or state.true_sync_loss is None:
        rule = (
            f"In sync under {LOSS_GOOD}, partly under {LOSS_SOME}, where the expert is undecided; "
            "the public generators end near 0.2."
        )
        level = _level(-state.sync_loss, -LOSS_GOOD, -LOSS_SOME)
        return Verdict(part, level, SYNC_WORDS[level], figures, rule)
    figures += f"; copying {state.copy_sync_loss:.2f}, true frames {state.true_sync_loss:.2f}"
    way = state.copy_sync_loss - state.true_sync_loss
    if way <= 0:
        figures += "; the expert does not prefer the true frames"
        return Verdict(part, "none", "cannot be judged", figures, rule)
    share = (state.copy_sync_loss - state.sync_loss) / way
    level = _level(share, SYNC_GOOD, SYNC_SOME)
    return Verdict(part, level, SYNC_WORDS[level], f"{figures} ({100 * share:.0f}{THIN}%)", rule)


def _level(value: float, good: float, fair: float) -> str:
    return "good" if value >= good else "fair" if value >= fair else "bad"


def _discriminator(name: str, losses: tuple[float, float]) -> Verdict:
    real, fake = losses
    figures = f"loss on true frames {real:.2f}, on generated ones {fake:.2f}"
    rule = (
        f"Collapsed when either loss is above {HOPELESS:.0f}; when both are under "
        f"{DISC_EASY} it wins too easily to teach; an even contest is 0.69."
    )
    part = f"{name}: discriminator"
    if max(losses) > HOPELESS:
        return Verdict(part, "bad", "collapsed", f"{figures}; resume from before", rule)
    if max(losses) < DISC_EASY:
        return Verdict(part, "fair", "wins too easily", figures, rule)
    return Verdict(part, "good", "at work", figures, rule)


def headlines(
    result: Account | None,
    clips: Sequence[Row],
    expert: Expert,
    generators: Mapping[str, Generator],
    timings: Sequence[Timing],
) -> list[TileRow]:
    """A row of figures a part, for the parts there are."""
    rows = [
        ("Data", _data_tiles(result, clips)),
        ("Expert", _expert_tiles(expert)),
        *((name, _generator_tiles(state)) for name, state in generators.items()),
        ("Time", _time_tiles(timings)),
    ]
    return [TileRow(part, found) for part, found in rows if found]


def _data_tiles(result: Account | None, clips: Sequence[Row]) -> list[Tile]:
    if result is None:
        return []
    note = f"of {count(result.found)} found, {count(len(result.dropped))} dropped"
    found = [Tile("Clips kept", count(result.kept), note)]
    kept = [row for row in clips if is_kept(row)]
    if kept:
        seconds = sum(numbers(kept, "seconds"))
        hours = f"{seconds / 3600:.{2 if seconds < 36_000 else 0}f}{THIN}h"
        found.append(Tile("Speech", hours, duration(seconds) if seconds < 6000 else ""))
        homes = {(row.get("split"), row.get("speaker")) for row in kept}
        parts = " + ".join(str(sum(split == s for split, _ in homes)) for s in SPLITS)
        speakers = len({speaker for _, speaker in homes})
        found.append(Tile("Speakers", count(speakers), f"{parts} in train, val, test"))
    return found


def _expert_tiles(expert: Expert) -> list[Tile]:
    found = []
    if expert.auc is not None:
        found.append(Tile("AUC", figure(expert.auc, 2), "held-out speakers; chance 0.5"))
    if expert.accuracy is not None:
        note = f"held-out speakers; chance 50{THIN}%"
        found.append(Tile("Accuracy", percent(expert.accuracy), note))
    if expert.loss is not None:
        found.append(Tile("Loss", figure(expert.loss, 2), "held-out speakers; chance 0.69"))
    return found


def _generator_tiles(state: Generator) -> list[Tile]:
    found = []
    if state.l1 is not None:
        found.append(Tile("L1", figure(state.l1, 4), "held-out speakers"))
    if state.copy_l1 is not None:
        found.append(Tile("L1 of copying", figure(state.copy_l1, 4), "the reference frame"))
    if state.sync_loss is not None:
        note = "undecided 0.69"
        if state.true_sync_loss is not None:
            note = f"true frames {state.true_sync_loss:.2f}"
        found.append(Tile("Sync loss", figure(state.sync_loss, 2), note))
    return found


def _time_tiles(timings: Sequence[Timing]) -> list[Tile]:
    if not timings:
        return []
    jobs = plural(sum(timing.jobs for timing in timings), "job")
    longest = max(timings, key=lambda timing: timing.seconds)
    return [
        Tile("Total", duration(total_seconds(timings)), f"summed over {jobs}"),
        Tile("Longest", duration(longest.seconds), longest.rule),
    ]
