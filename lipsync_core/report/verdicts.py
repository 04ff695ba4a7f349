"""Headline figures and a verdict in plain words on each part, with the thresholds stated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lipsync_core.corpus.layouts.items import SPLITS
from lipsync_core.report.blocks import THIN, count, duration, figure, percent, plural
from lipsync_core.report.corpus import Account, by_split, is_kept
from lipsync_core.report.curves import Expert, Generator
from lipsync_core.report.results import numbers
from lipsync_core.report.timings import Timing, total_seconds
from lipsync_core.runtime.tables import Row
from lipsync_core.training import thresholds
from lipsync_core.training.data_check.amount import ONE_SPEAKER_MINUTES
from lipsync_core.training.gan_health import MAX_DISC_LOSS
from lipsync_core.training.thresholds import AUC_CHANCE, AUC_USABLE, CHANCE_LOSS

KEPT_WELL, KEPT_HALF = 0.9, 0.5
HOURS_SCRATCH, HOURS_TUNE = 20.0, 1.0  # the public models: about 29 hours (LRS2)
USUAL_IN_SYNC = 0.2  # sync loss of ground truth where it is not measured: the public expert's
DISC_EASY = 0.05
SYNC_WORDS = {"good": "in sync", "fair": "partly in sync", "bad": "not in sync"}


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
        elif _is_one_speaker(clips) and seconds >= ONE_SPEAKER_MINUTES * 60:
            level, word = "good", "enough for one speaker"
        else:
            level, word = "fair", "enough to try the pipeline"
        rule = (
            f"One speaker from about {ONE_SPEAKER_MINUTES:.0f}{THIN}min; fine-tuning for others "
            f"from about {HOURS_TUNE:.0f}{THIN}h, training from scratch from about "
            f"{HOURS_SCRATCH:.0f}{THIN}h; the public models saw 29{THIN}h."
        )
        verdicts.append(Verdict("Hours", level, word, f"{duration(seconds)} of speech", rule))
    return verdicts


def _is_one_speaker(clips: Sequence[Row]) -> bool:
    speakers = {row.get("speaker") for row in clips if is_kept(row)}
    return len(speakers) == 1 and None not in speakers


def expert_verdict(expert: Expert) -> Verdict:
    """Usable, learning, or not learned yet, by AUC."""
    rule = (
        f"Usable from AUC {AUC_USABLE}; under {AUC_CHANCE} not learned yet; 0.5 is chance. "
        "AUC: how often a pair in sync scores above one that is not."
    )
    if expert.auc is None:
        return Verdict("Expert", "none", "no figure", "no AUC was measured", rule)
    figures = f"AUC {expert.auc:.2f}"
    if expert.accuracy is not None:
        figures += f", accuracy {percent(expert.accuracy)}"
    if expert.auc >= AUC_USABLE:
        return Verdict("Expert", "good", "usable", figures, rule)
    if expert.auc >= AUC_CHANCE:
        figures += "; more steps or data should help"
        return Verdict("Expert", "fair", "learning", figures, rule)
    figures += "; the likely cause stands below, under how the training went"
    return Verdict("Expert", "bad", "not learned yet", figures, rule)


def generator_verdicts(name: str, state: Generator, expert: Expert) -> list[Verdict]:
    """Picture, sync and, with a GAN, the discriminator."""
    verdicts = [_picture(name, state), _sync(name, state, expert)]
    if state.discriminator is not None:
        verdicts.append(_discriminator(name, state.discriminator))
    return verdicts


def _picture(name: str, state: Generator) -> Verdict:
    part, rule = f"{name}: picture", "Better when its L1 is below that of copying the reference."
    if state.l1 is None or state.reference_l1 is None:
        return Verdict(part, "none", "no comparison", f"L1 {figure(state.l1, 4)}", rule)
    figures = f"L1 {state.l1:.4f}, copying {state.reference_l1:.4f}"
    if state.l1 < state.reference_l1:
        less = percent(1 - state.l1 / state.reference_l1)
        return Verdict(part, "good", "better than copying", f"{figures} ({less} less)", rule)
    return Verdict(part, "bad", "not learned yet", f"{figures}; train longer", rule)


def _sync(name: str, state: Generator, expert: Expert) -> Verdict:
    """By the expert's own scale: its losses of ground truth in sync and out of sync."""
    part = f"{name}: sync"
    truth = USUAL_IN_SYNC if state.gt_sync_loss is None else state.gt_sync_loss
    rule = (
        "In the expert's eyes: not in sync from 0.69, where it is undecided; in sync under "
        f"{thresholds.sync_bound(truth):.2f}, half of the way from there to the true frames, if "
        f"its AUC is {AUC_USABLE} or more; partly in between."
    )
    if state.sync_loss is None:
        return Verdict(part, "none", "no figure", "no sync loss was measured", rule)
    figures = f"sync loss {state.sync_loss:.2f}"
    if state.gt_sync_loss is not None:
        figures += f"; true frames {truth:.2f}"
    if state.out_of_sync_loss is not None:
        figures += f", with other sound {state.out_of_sync_loss:.2f}"
    if why := _no_judge(expert, truth, state.out_of_sync_loss):
        return Verdict(part, "none", "cannot be judged", f"{figures}; {why}", rule)
    level = thresholds.sync_level(state.sync_loss, truth, expert.auc)
    if level != "good" and state.sync_loss <= thresholds.sync_bound(truth):
        figures += f"; an expert of AUC {expert.auc:.2f} cannot be sure of more"
    return Verdict(part, level, SYNC_WORDS[level], figures, rule)


def _no_judge(expert: Expert, in_sync: float, out_of_sync: float | None) -> str:
    """Why the expert cannot judge sync, in words; "" where it can."""
    if thresholds.can_judge_sync(expert.auc, in_sync, out_of_sync):
        return ""
    if expert.auc is not None and expert.auc < AUC_CHANCE:
        return "the expert that measures it has not learned yet"
    if in_sync >= CHANCE_LOSS:
        return "the expert does not find the true frames in sync"
    return "the expert does not hear wrong sound"


def _discriminator(name: str, losses: tuple[float, float]) -> Verdict:
    real, fake = losses
    figures = f"loss on true frames {real:.2f}, on generated ones {fake:.2f}"
    rule = (
        f"Collapsed when either loss is above {MAX_DISC_LOSS:.0f}; when both are under "
        f"{DISC_EASY} it wins too easily to teach; an even contest is 0.69."
    )
    part = f"{name}: discriminator"
    if max(losses) > MAX_DISC_LOSS:
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
        homes = {(row["split"], row.get("speaker")) for row in by_split(clips)}
        parts = " + ".join(str(sum(split == s for split, _ in homes)) for s in SPLITS)
        speakers = len({speaker for _, speaker in homes})
        found.append(Tile("Speakers", count(speakers), f"{parts} in train, val, test"))
    return found


def _expert_tiles(expert: Expert) -> list[Tile]:
    found = []
    if expert.auc is not None:
        found.append(Tile("AUC", figure(expert.auc, 2), f"{expert.judged_on}; chance 0.5"))
    if expert.accuracy is not None:
        note = f"{expert.judged_on}; chance 50{THIN}%"
        found.append(Tile("Accuracy", percent(expert.accuracy), note))
    if expert.loss is not None:
        found.append(Tile("Loss", figure(expert.loss, 2), f"{expert.judged_on}; chance 0.69"))
    return found


def _generator_tiles(state: Generator) -> list[Tile]:
    found = []
    if state.l1 is not None:
        found.append(Tile("L1", figure(state.l1, 4), state.judged_on))
    if state.reference_l1 is not None:
        found.append(Tile("L1 of copying", figure(state.reference_l1, 4), "the reference frame"))
    if state.sync_loss is not None:
        note = "undecided 0.69"
        if state.gt_sync_loss is not None:
            note = f"true frames {state.gt_sync_loss:.2f}, {note}"
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
