"""The summary of the report: headline figures, and a verdict on each part with its thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lipsync_core.corpus.layouts.items import SPLITS
from lipsync_core.report.blocks import THIN, count, decimal, duration, percent, plural
from lipsync_core.report.corpus import Account, by_split, is_kept
from lipsync_core.report.results import numbers
from lipsync_core.report.timings import Timing, total_seconds
from lipsync_core.runtime.tables import Row
from lipsync_core.training import thresholds
from lipsync_core.training.diagnosis import Diagnosis
from lipsync_core.training.thresholds import AUC_CHANCE, AUC_USABLE, CHANCE_LOSS, MAX_DISC_LOSS

Metrics = Mapping[str, float]
KEPT_GOOD, KEPT_FAIR = 0.9, 0.5
PUBLIC_SYNC_LOSS = 0.2  # of the ground truth by the public SyncNet; used where it is not measured
MIN_DISC_LOSS = 0.05
SYNC_WORDS = {"good": "in sync", "fair": "partly in sync", "bad": "not in sync"}


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


def data_verdicts(result: Account, clips: Sequence[Row]) -> list[Diagnosis]:
    """Verdicts on the fraction of clips kept and on the hours of video."""
    kept = result.kept / result.found if result.found else 0.0
    if kept >= KEPT_GOOD:
        level, word = "good", "nearly all kept"
    else:
        level, word = ("fair", "some dropped") if kept >= KEPT_FAIR else ("bad", "most dropped")
    figures = f"{count(result.kept)} of {count(result.found)} kept"
    note = (
        f"Good from {percent(KEPT_GOOD)} kept; under {percent(KEPT_FAIR)} look for a fault in the "
        "videos or in the thresholds."
    )
    verdicts = [Diagnosis("Clips", level, word, figures, note)]
    if clips:
        verdicts.append(_hours_verdict([row for row in clips if is_kept(row)]))
    return verdicts


def _hours_verdict(kept: Sequence[Row]) -> Diagnosis:
    scratch, tune = thresholds.FROM_SCRATCH_HOURS, thresholds.FINETUNE_HOURS
    seconds = sum(numbers(kept, "seconds"))
    speakers = {row.get("speaker") for row in kept}
    one_speaker = len(speakers) == 1 and None not in speakers
    if seconds >= scratch * 3600:
        level, word = "good", "enough to train from scratch"
    elif seconds >= tune * 3600:
        level, word = "fair", "enough to fine-tune public weights"
    elif one_speaker and seconds >= thresholds.ONE_SPEAKER_MINUTES * 60:
        level, word = "good", "enough for one speaker"
    else:
        level, word = "fair", "enough to try the pipeline"
    note = (
        f"One speaker from about {thresholds.ONE_SPEAKER_MINUTES:.0f}{THIN}min; fine-tuning for "
        f"other speakers from about {tune:.0f}{THIN}h, training from scratch from about "
        f"{scratch:.0f}{THIN}h; the public models had {thresholds.PUBLIC_HOURS:.0f}{THIN}h."
    )
    return Diagnosis("Hours", level, word, f"{duration(seconds)} of video", note)


def syncnet_verdict(metrics: Metrics) -> Diagnosis:
    """Verdict on the SyncNet by its AUC: usable, learning, or not learned."""
    note = (
        f"Usable from AUC {AUC_USABLE}; under {AUC_CHANCE} not learned; 0.5 is chance. AUC: the "
        "probability that a pair in sync scores above one that is not."
    )
    auc, accuracy = metrics.get("auc"), metrics.get("accuracy")
    if auc is None:
        return Diagnosis("SyncNet", "none", "no figure", "no AUC was measured", note)
    figures = f"AUC {auc:.2f}"
    if accuracy is not None:
        figures += f", accuracy {percent(accuracy)}"
    if auc >= AUC_USABLE:
        return Diagnosis("SyncNet", "good", "usable", figures, note)
    if auc >= AUC_CHANCE:
        figures += "; more steps or data should help"
        return Diagnosis("SyncNet", "fair", "learning", figures, note)
    figures += "; the likely cause is below, under “How the training went”"
    return Diagnosis("SyncNet", "bad", "not learned", figures, note)


def generator_verdicts(name: str, metrics: Metrics, auc: float | None) -> list[Diagnosis]:
    """Verdicts on quality, sync and, with a GAN, the discriminator. auc: of the SyncNet."""
    verdicts = [_quality(name, metrics), _sync(name, metrics, auc)]
    if {"train_disc_real", "train_disc_fake"} <= metrics.keys():
        verdicts.append(_discriminator(name, metrics))
    return verdicts


def _quality(name: str, metrics: Metrics) -> Diagnosis:
    part, note = f"{name}: quality", "Good if the L1 is below that of the reference frames."
    l1, reference = metrics.get("l1"), metrics.get("l1_reference")
    if l1 is None or reference is None:
        return Diagnosis(part, "none", "no comparison", f"L1 {decimal(l1, 4)}", note)
    figures = f"L1 {l1:.4f}, reference frames {reference:.4f}"
    if l1 < reference:
        figures += f" ({percent(1 - l1 / reference)} less)"
        return Diagnosis(part, "good", "better than the reference", figures, note)
    return Diagnosis(part, "bad", "not learned", f"{figures}; train longer", note)


def _sync(name: str, metrics: Metrics, auc: float | None) -> Diagnosis:
    """Verdict relative to the sync losses of the ground truth with the right and other audio."""
    part = f"{name}: sync"
    loss, out_of_sync = metrics.get("sync_loss"), metrics.get("sync_loss_out_of_sync")
    gt = metrics.get("sync_loss_gt", PUBLIC_SYNC_LOSS)
    bound = thresholds.sync_bound(gt)
    note = (
        f"By the SyncNet: not in sync from 0.69 (chance); in sync under {bound:.2f}, half of the "
        f"way from there to the ground truth, if its AUC is {AUC_USABLE} or more; partly between."
    )
    if loss is None:
        return Diagnosis(part, "none", "no figure", "no sync loss was measured", note)
    figures = f"sync loss {loss:.2f}"
    if "sync_loss_gt" in metrics:
        figures += f"; ground truth {gt:.2f}"
    if out_of_sync is not None:
        figures += f", with shuffled audio {out_of_sync:.2f}"
    if not thresholds.can_rate_sync(auc, gt, out_of_sync):
        if auc is not None and auc < AUC_CHANCE:
            why = "the SyncNet has not learned yet"
        elif gt >= CHANCE_LOSS:
            why = "for the SyncNet the ground truth is not in sync"
        else:
            why = "for the SyncNet shuffled audio is in sync"
        return Diagnosis(part, "none", "cannot be rated", f"{figures}; {why}", note)
    level = thresholds.sync_level(loss, gt, auc)
    if level != "good" and loss <= bound:
        figures += f"; a SyncNet with AUC {auc:.2f} is not good enough for more"
    return Diagnosis(part, level, SYNC_WORDS[level], figures, note)


def _discriminator(name: str, metrics: Metrics) -> Diagnosis:
    real, fake = metrics["train_disc_real"], metrics["train_disc_fake"]
    part = f"{name}: discriminator"
    figures = f"loss on real frames {real:.2f}, on generated frames {fake:.2f}"
    note = (
        f"Collapsed if a loss is above {MAX_DISC_LOSS:.0f}; too strong to train a generator if "
        f"both are under {MIN_DISC_LOSS}; chance is 0.69."
    )
    if max(real, fake) > MAX_DISC_LOSS:
        return Diagnosis(part, "bad", "collapsed", f"{figures}; resume from before", note)
    if max(real, fake) < MIN_DISC_LOSS:
        return Diagnosis(part, "fair", "too strong", figures, note)
    return Diagnosis(part, "good", "working", figures, note)


def headlines(
    result: Account | None,
    clips: Sequence[Row],
    syncnet: Metrics,
    generators: Mapping[str, Metrics],
    timings: Sequence[Timing],
    evaluated_on: str,
) -> list[TileRow]:
    """Headline figures, a row for each part of the run that there is."""
    rows = [
        ("Data", _data_tiles(result, clips)),
        ("SyncNet", _syncnet_tiles(syncnet, evaluated_on)),
        *((name, _generator_tiles(metrics, evaluated_on)) for name, metrics in generators.items()),
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
        found.append(Tile("Video", hours, duration(seconds) if seconds < 6000 else ""))
        homes = {(row["split"], row.get("speaker")) for row in by_split(clips)}
        parts = " + ".join(str(sum(split == s for split, _ in homes)) for s in SPLITS)
        speakers = len({speaker for _, speaker in homes})
        found.append(Tile("Speakers", count(speakers), f"{parts} in train, val, test"))
    return found


def _syncnet_tiles(metrics: Metrics, evaluated_on: str) -> list[Tile]:
    tiles = (
        ("auc", "AUC", "{:.2f}".format, "0.5"),
        ("accuracy", "Accuracy", percent, f"50{THIN}%"),
        ("loss", "Loss", "{:.2f}".format, "0.69"),
    )
    return [
        Tile(label, write(metrics[name]), f"{evaluated_on}; chance {chance}")
        for name, label, write, chance in tiles
        if name in metrics
    ]


def _generator_tiles(metrics: Metrics, evaluated_on: str) -> list[Tile]:
    gt = metrics.get("sync_loss_gt")
    note = "chance 0.69" if gt is None else f"ground truth {gt:.2f}, chance 0.69"
    tiles = (
        ("l1", "L1", 4, evaluated_on),
        ("l1_reference", "L1 of the reference", 4, "the baseline"),
        ("sync_loss", "Sync loss", 2, note),
    )
    return [
        Tile(label, decimal(metrics[name], digits), text)
        for name, label, digits, text in tiles
        if name in metrics
    ]


def _time_tiles(timings: Sequence[Timing]) -> list[Tile]:
    if not timings:
        return []
    jobs = plural(sum(timing.jobs for timing in timings), "job")
    longest = max(timings, key=lambda timing: timing.seconds)
    return [
        Tile("Total", duration(total_seconds(timings)), f"summed over {jobs}"),
        Tile("Longest", duration(longest.seconds), longest.rule),
    ]
