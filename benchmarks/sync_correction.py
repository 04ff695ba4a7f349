"""Does the correction of sync work? Shifts the audio of prepared clips and undoes it.

    python benchmarks/sync_correction.py results [--seeds 0 1 2] [--preset demo] [--steps 1000]

`results` is a prepared corpus whose clips are in sync; it is only read. For each seed, 30 % of the
clips get a constant shift of 1 to 12 frames. Three SyncNets are trained: on the clips as they were,
on the shifted ones, and on those that `sync.correct: correct` (without weights: bootstrap)
repaired. The table has their AUC on the test clips as they were, and on those of their own corpus;
how many shifted clips were found within one frame, and how many clips were dropped.

--recover: with the first network, shifts of -15..15 frames of each held-out clip: the share that is
found within one frame, by length of the clip; and the drift that is found in up to twelve held-out
clips of 6 s or more whose audio is played up to 3 % too fast or too slow.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import torch

from lipsync_core.audio import write_mel
from lipsync_core.checkpoints import build_from
from lipsync_core.config import Config, SyncNetConfig
from lipsync_core.corpus.clips import Clip
from lipsync_core.corpus.filelists import parse_line
from lipsync_core.corpus.index import index_path, read_index
from lipsync_core.corpus.layouts.items import source_id
from lipsync_core.data.dataset import ClipDataset
from lipsync_core.evaluation.syncnet import clip_sync, syncnet_metrics
from lipsync_core.media.audio import read_pcm, shift_samples, write_wav
from lipsync_core.models import SyncNet
from lipsync_core.preparation import draft_split, splits, stages, steps
from lipsync_core.runtime import config_file, device, threads
from lipsync_core.runtime.tables import read_table
from lipsync_core.training import bootstrap, launch

SHARE, MAX_SHIFT = 0.3, 12  # of the clips; frames
ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--width", type=float)
    parser.add_argument("--steps", type=int, default=1000, help="of each SyncNet")
    parser.add_argument("--bootstrap-steps", type=int, default=300, help="of each round")
    parser.add_argument("--out", type=Path, default=Path("/tmp/sync_correction"))
    parser.add_argument("--recover", action="store_true")
    parser.add_argument("--clips", type=int, default=40, help="held-out clips of --recover")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="+", default=["clean", "shifted", "corrected"])
    options = parser.parse_args()
    threads.limit(options.threads)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    config = config_file.load({"preset": options.preset}, ROOT / "config/presets")
    given = config.syncnet.model_dump() | {"steps": options.steps, "data_check": "off"}
    if options.width:
        given["width"] = options.width
    syncnet = SyncNetConfig(**given)
    lines = []
    for seed in options.seeds:
        lines += [run(options, config, syncnet, seed, kind) for kind in options.only]
        print("\n".join(lines), flush=True)
    if options.recover:
        recover(options.out / f"clean_{options.seeds[0]}", options.clips)
        drifts(options.out / f"clean_{options.seeds[0]}")


def run(options: argparse.Namespace, config: Config, syncnet, seed: int, kind: str) -> str:
    """Prepare, correct and train one corpus; a line of the table."""
    work = options.out / f"{kind}_{seed}"
    clips = read_index(index_path(options.results))
    rng = np.random.default_rng(seed)
    offsets = rng.integers(1, MAX_SHIFT + 1, len(clips)) * rng.choice([-1, 1], len(clips))
    chosen = set(rng.permutation(len(clips))[: round(SHARE * len(clips))].tolist())
    injected = {
        clip.id: int(offsets[i]) if i in chosen and kind != "clean" else 0
        for i, clip in enumerate(clips)
    }
    copy(options.results, work, clips, injected)
    settings = config.model_dump() | {"detector": "centerface", "ffmpeg": "any"}
    settings["sync"] |= {"correct": "correct" if kind == "corrected" else "off"}
    shares = {"val": config.split.val, "test": config.split.test, "seed": config.seed}
    pretrained, note = None, ""
    if kind == "corrected":
        pretrained = correct(options, work, clips, settings, shares, syncnet, seed)
        note = found(work, clips, injected)
        note += f", {sum(row['kept'] == '0' for row in table(work))} dropped"
    launch.start_or_resume(
        "syncnet",
        "syncnet",
        "auto",
        options.threads,
        results=work,
        config=syncnet,
        image_size=config.image_size,
        seed=seed,
        weights=[pretrained] if pretrained else [],
        pretrained=pretrained,
        checkpoint=work / "syncnet/checkpoint.pth",
        metrics=work / "syncnet/metrics.csv",
    )
    model = build_from(work / "syncnet/checkpoint.pth", SyncNet).to(device.pick("auto")).eval()
    clean, own = auc(model, options.results), auc(model, work)
    return f"{kind:9} seed {seed}: AUC {clean:.3f} on clean test clips, {own:.3f} on its own{note}"


def correct(options, work, clips, settings, shares, syncnet, seed: int) -> str | None:
    """What the rules bootstrap_sync, measure_sync, check_clips and filelists do."""
    draft = draft_split.draft_split(work, clips, **shares)
    folder = work / "sync/bootstrap"
    bootstrap.train(
        work,
        lists={"train": draft.train, "val": draft.val},
        frames=draft.frames,
        keys=draft.keys,
        config=syncnet,
        steps=options.bootstrap_steps,
        image_size=96,
        seed=seed,
        device_name="auto",
        threads=options.threads,
        checkpoint=folder / "checkpoint.pth",
        summary=folder / "summary.json",
    )
    chain = stages.chain("correct")
    trusted = bootstrap.is_trusted(folder / "summary.json")
    for shard in sorted({clip.shard for clip in clips}):
        own = [clip for clip in clips if clip.shard == shard]
        given = steps.Shard(own, work, work, shard, chain[-2].params(settings))
        steps.measure_sync(given, folder / "checkpoint.pth", settings, trusted=trusted)
        steps.check_clips(given._replace(params=chain[-1].params(settings)))
    splits.write_filelists(work, clips, chain, **shares)
    return bootstrap.start_weights(str(folder / "checkpoint.pth"), str(work))


def copy(results: Path, work: Path, clips: list[Clip], injected: dict[str, int]) -> None:
    """A copy of prepared data; the audio of some clips is shifted by whole frames."""
    if work.exists():
        shutil.rmtree(work)
    for name in ("audio", "mels", "faces", "filelists", "boxes", "checks", "index"):
        shutil.copytree(results / name, work / name, copy_function=os.link)
    for clip in clips:
        if not injected[clip.id]:
            continue
        wav, mel = work / f"audio/{clip.id}.wav", work / f"mels/{clip.id}.npy"
        if not wav.is_file():
            continue
        # The video is late by the offset if the audio begins earlier.
        samples = shift_samples(read_pcm(wav), -640 * injected[clip.id])
        for path in (wav, mel):
            path.unlink(missing_ok=True)
        write_wav(wav, [samples])
        write_mel(wav, mel)


def found(work: Path, clips: list[Clip], injected: dict[str, int]) -> str:
    """How many shifts were found within one frame."""
    right, shifted, total, zero = 0, 0, 0, 0
    for row in table(work):
        truth = injected[source_id(row["clip"])]
        if not row.get("sync_offset"):
            continue
        total += 1
        before = int(row.get("sync_offset_before") or row["sync_offset"])
        if truth:
            shifted += 1
            right += abs(before - truth) <= 1
        zero += abs(int(row["sync_offset"])) <= 1
    return (
        f"; {right} of {shifted} shifts found within 1 frame; "
        f"{zero} of {total} measure 0 within 1 afterwards"
    )


def table(work: Path) -> list[dict[str, str]]:
    return read_table(work / "filelists/clips.csv")


def auc(model: SyncNet, results: Path) -> float:
    """AUC on the test clips (else validation) of a prepared corpus."""
    text = (results / "filelists/test.txt").read_text().strip()
    dataset = ClipDataset.load(results, "test" if text else "val", model.image_size)
    return syncnet_metrics(model, dataset, per_clip=96)["auc"]


@torch.no_grad()
def recover(work: Path, count: int) -> None:
    """Share of injected shifts that are found within a frame, by length."""
    model = build_from(work / "syncnet/checkpoint.pth", SyncNet).eval()
    scratch = work.with_name("recover")
    rows = []
    for clip in held_out(work)[:count]:
        for seconds in (3, 8):
            for shift in range(-15, 16):
                rows.append(one(model, work, scratch, clip, shift, seconds))
    out = work.with_name("recovered.csv")
    with out.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("clip", "seconds", "shift", "offset", "agreement"))
        writer.writerows(row for row in rows if row)
    for seconds in (3, 8):
        errors = [abs(row[3] - row[2]) for row in rows if row and row[1] == seconds]
        if errors:
            share = np.mean(np.array(errors) <= 1)
            print(f"{seconds} s: {share:.1%} of {len(errors)} shifts found within 1 frame")


def held_out(work: Path) -> list[str]:
    """The ids of the validation and test clips."""
    texts = ((work / f"filelists/{name}.txt").read_text() for name in ("val", "test"))
    return [parse_line(line).id for text in texts for line in text.splitlines()]


@torch.no_grad()
def drifts(work: Path) -> None:
    """The drift that is measured where the audio is faster or slower than the video."""
    model = build_from(work / "syncnet/checkpoint.pth", SyncNet).eval()
    scratch = work.with_name("drift")
    for percent in (0, 0.5, 1, 2, 3, -2):
        errors, found_, missed = [], 0, 0
        for clip in held_out(work)[:12]:
            pcm = read_pcm(work / f"audio/{clip}.wav").astype(np.float64)
            at = np.arange(0, len(pcm) - 1, 1 + percent / 100)
            samples = np.interp(at, np.arange(len(pcm)), pcm).astype("<i2")
            dataset = opened(work, scratch, clip, samples, clip, model.image_size)
            length = int(np.ptp(dataset.clips[0].starts))
            measured = clip_sync(model, dataset, dataset.clips[0], 200).drift
            if measured:
                found_ += 1
                errors.append(abs(measured - percent / 100 * length))
            else:
                missed += 1
        worst = f", error at most {max(errors):.1f} frames" if errors else ""
        print(f"audio {percent:+} %: drift found in {found_} of {found_ + missed} clips{worst}")


def opened(
    work: Path, scratch: Path, clip: str, samples: np.ndarray, line: str, side: int
) -> ClipDataset:
    """A clip of `work` with other audio."""
    for folder in ("faces", "audio", "mels"):
        (scratch / folder / clip).parent.mkdir(parents=True, exist_ok=True)
    faces = scratch / f"faces/{clip}.zip"
    if not faces.exists():
        os.link(work / f"faces/{clip}.zip", faces)
    wav = scratch / f"audio/{clip}.wav"
    write_wav(wav, [samples])
    write_mel(wav, scratch / f"mels/{clip}.npy")
    return ClipDataset.load(scratch, [line], side)


def one(model, work: Path, scratch: Path, clip: str, shift: int, seconds: int):
    """The offset that is measured in the middle of a clip with a shift; None if it is shorter."""
    pcm = read_pcm(work / f"audio/{clip}.wav")
    needed = min(seconds * 25, len(pcm) // 640)
    if needed < seconds * 25 - 2:  # a clip of 3 s may lack a frame of audio
        return None
    first = (len(pcm) // 640 - needed) // 2
    last = first + needed - 1
    # Only the audio of these seconds is known, as in a clip of that length.
    part = pcm[640 * first : 640 * (last + 1)]
    moved = shift_samples(part, -640 * shift)
    whole = np.concatenate([np.zeros(640 * first, pcm.dtype), moved])
    dataset = opened(work, scratch, clip, whole, f"{clip}\t{first}-{last}", model.image_size)
    found = clip_sync(model, dataset, dataset.clips[0], 200)
    return clip, seconds, shift, found.offset, round(found.agreement, 3)


if __name__ == "__main__":
    main()
