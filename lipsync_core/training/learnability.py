"""The gate before the expert's long run: can this data be learned at all?

Minutes instead of days: is there enough of it, can a copy of the network learn 32 windows by heart,
and do mouths move with the sound, without a constant offset. Draws no numbers from torch's stream
and leaves the network that is to be trained as it is.
"""

from __future__ import annotations

import copy
import csv
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lipsync_core.errors import LipsyncError
from lipsync_core.files import write_text
from lipsync_core.models import SyncNet
from lipsync_core.training import link, losses, precision
from lipsync_core.training.judging import clip_offset
from lipsync_core.training.optimise import adam, descend
from lipsync_core.training.tensors import stack_window, to_device
from lipsync_core.video import FPS
from lipsync_core.windows import WINDOW, Clip, Corpus

log = logging.getLogger(__name__)
CHOICES = ("warn", "stop", "off")
ORDER = ("good", "none", "fair", "bad")
STREAM = 103  # of random numbers, apart from the training's

DATA = "enough data"
LEAST_MINUTES, LEAST_SPEAKERS = 1.0, 2
MODEST_MINUTES, MODEST_SPEAKERS = 60.0, 10

GROUPS, GROUP = 4, 8  # 32 windows: so many of each of so many clips
STEPS, SECONDS = 30, 8.0  # seconds of this thread's work, however busy the machine; usual: 5 steps
LEARNT, LEARNING = 0.9, 0.5  # share of the 32 windows that find their own sound among eight
CPU_WIDTH = 0.25  # a processor needs seconds a step for a wider one
RATE = 1e-3

CLIPS, FRAMES, LOOK_SECONDS = 40, 250, 8.0  # looked at for the offset: at most
JUDGED = 20  # clips whose offset a trained network measures
STILL = 0.6  # grey levels from frame to frame; noise of the encoding stays below, speech is above 2
EVEN = 0.05  # spread of the sound's level, 0.6 dB: speech has 0.5 or more
CENTRED = 2  # frames
FEW = 8  # clips, below which their measured offsets are no histogram


@dataclass(frozen=True)
class Check:
    """One question to the data. level: "good", "fair", "bad", or "none" when nothing can be told.

    figures: what was found; remedy: what to do about it, "" when there is nothing to do.
    """

    name: str
    level: str
    word: str
    figures: str
    remedy: str = ""


def gate(
    choice: str | bool,
    results: str | Path,
    model: SyncNet,
    corpus: Corpus,
    run_dir: Path,
    out: str | Path,
    kind: str = "float32",
    seed: int = 0,
    knows: bool = False,
) -> dict[str, Any]:
    """Judge the training data, say so, and write the judgement to `out` as JSON.

    Parameters
    ----------
    choice: "warn" logs what is wrong, "stop" raises it, "off" does not look.
    results: folder of the prepared data; its clips.csv may hold measured offsets.
    model: the network about to be trained, on its device; it is not changed. kind: its precision.
    corpus: the training clips. run_dir: where the judgement is kept for the run that continues.
    knows: the network begins with weights that were trained before, and can measure offsets.

    Raises LipsyncError for `choice` "stop" when a check is "bad".
    """
    if choice is False:  # what YAML makes of a bare off
        choice = "off"
    if choice not in CHOICES:
        raise LipsyncError(f"gate {choice!r}: choose one of {', '.join(CHOICES)}")
    kept = run_dir / "learnability.json"
    if choice == "off":
        found: dict[str, Any] = {"verdict": "off", "checks": []}
    elif kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
    else:
        began = time.perf_counter()
        found = judge(results, model, corpus, kind, seed, knows)
        log.info("learnability: looked at in %.1f s", time.perf_counter() - began)
        write_text(kept, json.dumps(found, indent=2) + "\n")
    write_text(out, json.dumps(found, indent=2) + "\n")
    for check in found["checks"]:
        loud = log.warning if check["level"] == "bad" else log.info
        remedy = f"; {check['remedy']}" if check["remedy"] else ""
        loud("learnability: %s: %s (%s)%s", check["name"], check["word"], check["figures"], remedy)
    wrong = [check for check in found["checks"] if check["level"] == "bad"]
    if wrong and choice == "stop":
        raise LipsyncError(
            f"this data cannot be learned: {_said(wrong)}. `syncnet.gate: warn` tries it"
        )
    return found


def blame(found: Mapping[str, Any]) -> str:
    """What a judgement holds against sound and pictures, in words; "" for nothing."""
    wrong = [check for check in found["checks"] if check["level"] == "bad"]
    return _said([check for check in wrong if check["name"] != DATA])


def _said(checks: Sequence[Mapping[str, str]]) -> str:
    return "; ".join(f"{c['name']}: {c['word']} ({c['figures']}): {c['remedy']}" for c in checks)


def size(corpus: Corpus) -> tuple[float, int]:
    """Minutes of pictures and number of speakers."""
    frames = sum(len(clip.starts) + WINDOW - 1 for clip in corpus.clips)
    return frames / FPS / 60, len({clip.id.partition("/")[0] for clip in corpus.clips})


def judge(
    results: str | Path,
    model: SyncNet,
    corpus: Corpus,
    kind: str = "float32",
    seed: int = 0,
    knows: bool = False,
) -> dict[str, Any]:
    """The judgement as a dict for JSON: verdict (the worst level), checks, offsets.

    offsets: {"correlations": at -15 .. 15 frames, "offset", "clips": {offset: clips} where clips
    were measured by a network}.
    """
    runs = look(corpus, seed)
    measured = measured_offsets(results, corpus)
    if knows and sum(measured.values()) < FEW:
        measured = network_offsets(model, corpus, seed)
    together, found = judge_sync(runs, measured)
    checks = [enough(corpus), learnt(*by_heart(model, corpus, kind, seed)), together]
    worst = max((check.level for check in checks), key=ORDER.index)
    return {"verdict": worst, "checks": [asdict(check) for check in checks], "offsets": found}


def enough(corpus: Corpus) -> Check:
    """Minutes, clips and speakers of the training clips against what learning takes."""
    minutes, speakers = size(corpus)
    clips, name = len(corpus.clips), DATA
    figures = (
        f"{_minutes(minutes)} of {speakers} speaker{'s' * (speakers != 1)}, "
        f"{clips} clip{'s' * (clips != 1)}"
    )
    if minutes < LEAST_MINUTES or speakers < LEAST_SPEAKERS:
        remedy = (
            f"give it {LEAST_MINUTES:.0f} minute of speech and {LEAST_SPEAKERS} speakers at the "
            "least, or fine-tune public weights (`syncnet.init`)"
        )
        return Check(name, "bad", "too little", figures, remedy)
    if minutes < MODEST_MINUTES or speakers < MODEST_SPEAKERS:
        remedy = (
            f"enough to try; for speakers that it has not seen count on {MODEST_MINUTES / 60:.0f} "
            f"hour and {MODEST_SPEAKERS} speakers or more, from scratch on 20 hours"
        )
        return Check(name, "fair", "little", figures, remedy)
    return Check(name, "good", "enough", figures)


def _minutes(minutes: float) -> str:
    return f"{minutes / 60:.1f} h" if minutes >= 100 else f"{minutes:.1f} min"


def by_heart(
    model: SyncNet, corpus: Corpus, kind: str = "float32", seed: int = 0, seconds: float = 0.0
) -> tuple[int, float, bool]:
    """Let a copy of the network learn 32 windows by heart.

    Returns the steps taken, the share of windows that then found their own sound among the eight of
    their clip, and whether it was given all its `STEPS` (or did not need them).
    """
    device = next(model.parameters()).device
    seconds = seconds or SECONDS
    net = _copy_of(model, device, seed)
    frames, mels = _few_windows(corpus, seed)
    faces = stack_window(to_device(frames, device))
    sounds = to_device(mels, device)
    scale = torch.nn.Parameter(torch.tensor(10.0, device=device).log())
    optimizer = adam([*net.parameters(), scale])
    own = torch.eye(GROUP, dtype=torch.bool, device=device).expand(GROUPS, GROUP, GROUP)
    began, share, step = time.thread_time(), 0.0, 0
    net.train()
    while step < STEPS and share < LEARNT and time.thread_time() - began < seconds:
        with precision.autocast(kind, device):
            audio, face = net(sounds, faces)
        groups = (GROUPS, GROUP, -1)
        cosines = losses.similarities(audio.reshape(groups), face.reshape(groups))
        others = cosines.masked_fill(own, -1).amax(1)
        share = float((cosines.diagonal(dim1=1, dim2=2) > others).float().mean())
        descend(losses.contrastive(cosines, own, scale), optimizer, RATE, clip=1.0)
        step += 1
    return step, share, step == STEPS or share >= LEARNT


def _copy_of(model: SyncNet, device: torch.device, seed: int) -> SyncNet:
    """The network itself, or on a processor one narrow enough to be done in seconds."""
    if device.type != "cpu" or model.width <= CPU_WIDTH:
        return copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SyncNet(CPU_WIDTH, model.image_size).to(memory_format=torch.channels_last)


def _few_windows(corpus: Corpus, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Eight windows, far apart, of each of four clips: lower halves (32, 5, ...) and mels."""
    rng = np.random.default_rng((STREAM, seed))
    frames, mels = [], []
    for place in rng.permutation(max(GROUPS, len(corpus.clips)))[:GROUPS]:
        clip = corpus.clips[place % len(corpus.clips)]
        spread = np.linspace(0, len(clip.starts) - 1, GROUP).round().astype(int)
        starts = clip.starts[spread]
        frames += [corpus.lower_frames(clip, int(start)) for start in starts]
        mels.append(corpus.mels(clip, starts))
    return np.stack(frames), np.concatenate(mels)


def learnt(steps: int, share: float, whole: bool) -> Check:
    """What `by_heart` tells; chance is one in eight."""
    name, figures = "learns 32 windows by heart", f"{share:.0%} of them after {steps} steps"
    if share >= LEARNT:
        return Check(name, "good", "yes", figures)
    if not whole:  # a slow machine says nothing about the data
        return Check(name, "none", "not told", f"{figures}, all that {SECONDS:.0f} s allow")
    if share >= LEARNING:
        remedy = "slower than usual: give the training more steps, or a larger `lr`"
        return Check(name, "fair", "slowly", figures, remedy)
    remedy = (
        "what is within a clip looks or sounds all the same, or the pictures show no mouth: look "
        "at the crops in results/faces and listen to results/audio"
    )
    return Check(name, "bad", "no", figures, remedy)


def look(corpus: Corpus, seed: int = 0) -> list[tuple[str, link.Features]]:
    """The middle of up to 40 clips, speakers in turn, up to 10 s of each, for some seconds."""
    began, runs = time.thread_time(), []
    for clip in _in_turn(corpus.clips, seed)[:CLIPS]:
        first, count = _middle(clip)
        if count < 2 * WINDOW:
            continue
        faces = np.concatenate(
            [corpus.frames(clip, start) for start in range(first, first + count, WINDOW)]
        )
        runs.append((clip.id, link.features(faces, corpus.mel(clip), first)))
        if time.thread_time() - began > LOOK_SECONDS:
            break
    return runs


def _in_turn(clips: Sequence[Clip], seed: int) -> list[Clip]:
    """The clips, drawn, so that each speaker comes once before anybody comes twice."""
    rng = np.random.default_rng((STREAM, seed))
    queues: dict[str, list[Clip]] = {}
    for place in rng.permutation(len(clips)):
        queues.setdefault(clips[place].id.partition("/")[0], []).append(clips[place])
    ranked = [(rank, clip) for queue in queues.values() for rank, clip in enumerate(queue)]
    return [clip for _, clip in sorted(ranked, key=lambda pair: pair[0])]


def _middle(clip: Clip) -> tuple[int, int]:
    """First frame and length (a multiple of 5) of the middle of a clip's longest unbroken run.

    Not its begin: clips often begin with the same pause, which fits any face.
    """
    breaks = np.flatnonzero(np.diff(clip.starts) != 1) + 1
    run = max(np.split(clip.starts, breaks), key=len)
    frames = len(run) + WINDOW - 1
    count = min(FRAMES, frames) // WINDOW * WINDOW
    return int(run[0]) + (frames - count) // 2, count


def measured_offsets(results: str | Path, corpus: Corpus) -> dict[int, int]:
    """Clips by offset in frames, as measured by a network while cropping; {} where none was."""
    path = Path(results) / "filelists" / "clips.csv"
    if not path.is_file():
        return {}
    ids = {clip.id for clip in corpus.clips}
    with open(path, encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("clip") in ids]
    offsets = [round(float(row["sync_offset"])) for row in rows if row.get("sync_offset")]
    return {offset: offsets.count(offset) for offset in sorted(set(offsets))}


def network_offsets(model: SyncNet, corpus: Corpus, seed: int = 0) -> dict[int, int]:
    """Clips by offset in frames in the eyes of a trained network; {} when it is of no use.

    An untrained one, or one that another kind of crop was trained on, finds any offset.
    """
    began, offsets, mode = time.thread_time(), [], model.training
    model.eval()
    for clip in _in_turn(corpus.clips, seed)[:JUDGED]:
        offsets.append(clip_offset(model, corpus, clip, windows=16))
        if time.thread_time() - began > LOOK_SECONDS:
            break
    model.train(mode)
    agree = np.mean(np.abs(np.array(offsets) - np.median(offsets)) <= 1)
    if agree < 0.5:
        return {}
    return {offset: offsets.count(offset) for offset in sorted(set(offsets))}


def judge_sync(
    runs: Sequence[tuple[str, link.Features]], measured: dict[int, int]
) -> tuple[Check, dict[str, Any]]:
    """Do mouths move with the sound, and is the offset's histogram centred?"""
    name = "mouth and sound belong together"
    still = [clip for clip, run in runs if run.motion < STILL]
    silent = [clip for clip, run in runs if run.level < EVEN]
    offsets: dict[str, Any] = {"clips": {str(key): value for key, value in measured.items()}}
    for few, word, remedy in (
        (still, "faces do not move", "videos of still pictures teach nothing: leave them out"),
        (silent, "no sound", "the sound tracks are empty or steady noise: see `check.max_silence`"),
    ):
        if len(few) > len(runs) / 2:
            figures = f"{len(few)} of {len(runs)} clips, such as {few[0]}"
            return Check(name, "bad", word, figures, remedy), offsets
    runs = [pair for pair in runs if pair[0] not in {*still, *silent}]
    frames = sum(len(run.mouth) for _, run in runs)
    if frames < 4 * link.MOST:
        return Check(name, "none", "not enough to tell", f"{frames} frames"), offsets
    found = link.measure([run for _, run in runs])
    offsets |= {
        "correlations": list(found.correlations),
        "offset": found.offset,
        "found": found.certain,
    }
    if sum(measured.values()) >= FEW:
        return judge_offsets(name, measured), offsets
    return _by_link(name, found, frames), offsets


def judge_offsets(name: str, measured: dict[int, int]) -> Check:
    """Is the histogram of clips by offset (frames), measured by a network, centred?"""
    every = np.repeat(list(measured), list(measured.values()))
    middle = int(np.median(every))
    near = float(np.mean(np.abs(every - middle) <= 1))
    figures = f"offset {middle} frames, {near:.0%} of {len(every)} clips within one frame of it"
    if abs(middle) > CENTRED:
        return Check(name, "bad", "out of sync", figures, shift_remedy(middle))
    if near < 0.5:
        remedy = "the clips' offsets differ: set `check.max_offset` and `check.min_confidence`"
        return Check(name, "fair", "offsets differ", figures, remedy)
    return Check(name, "good", "in sync", figures)


def _by_link(name: str, found: link.Link, frames: int) -> Check:
    seconds, (mean, deviation) = frames / FPS, found.chance
    figures = (
        f"correlation {found.peak:.2f} at offset {found.offset} frames, by chance up to "
        f"{mean + link.SURE * deviation:.2f}, in {seconds:.0f} s"
    )
    if found.certain and abs(found.offset) > CENTRED:
        return Check(name, "bad", "out of sync", figures, shift_remedy(found.offset))
    if found.certain:
        return Check(name, "good", "in sync", figures)
    if found.found:
        remedy = "other offsets fit nearly as well: measure clip by clip with `check.sync_model`"
        return Check(name, "fair", "linked, offset unsure", figures, remedy)
    if found.enough:
        remedy = (
            "play a few clips: does each have its own sound, less than half a second off, and is "
            "the mouth seen? Then the expert can only learn its clips by heart"
        )
        return Check(name, "bad", "no link found", figures, remedy)
    return Check(name, "none", "not enough to tell", figures)


def shift_remedy(offset: int) -> str:
    """What to do about sound and picture that are `offset` frames apart."""
    seconds = offset / FPS
    late = "late" if offset > 0 else "early"
    return (
        f"the picture comes {abs(seconds):.2f} s too {late}: move the sound of your videos with "
        f"`ffmpeg -i in.mp4 -itsoffset {seconds:.2f} -i in.mp4 -map 0:v -map 1:a -c copy out.mp4`"
    )
